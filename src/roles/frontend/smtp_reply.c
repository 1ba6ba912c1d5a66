#include "base/base.h"

#include "roles/frontend/smtp_client.h"

/* Codes of RFC 5321 section 4.2.3 and RFC 3463. What is not listed means that the backend says what
 * it should not: the message is kept by the client, which tries again. */
/* clang-format off */
static const struct {
    Thurn__Code code;
    struct smtp_reply reply;
} smtp_replies[] = {
    {THURN__CODE__NOT_FOUND,      {550, "5.1.1", "There is no such mailbox"}},
    {THURN__CODE__DENIED,         {550, "5.7.1", "This address takes no mail from here"}},
    {THURN__CODE__INVALID,        {550, "5.1.3", "This address makes no sense"}},
    {THURN__CODE__LIMIT_EXCEEDED, {451, "4.7.0", "Too much for now, try again later"}},
    {THURN__CODE__OVER_QUOTA,     {452, "4.2.2", "The mailbox is full, try again later"}},
    {THURN__CODE__TEMPORARY,      {451, "4.3.0", "Temporary failure, try again later"}},
    {THURN__CODE__STORE_FULL,     {452, "4.3.1", "The store is full, try again later"}},
    {THURN__CODE__TOO_LARGE,      {552, "5.3.4", "The message is too large"}},
    {THURN__CODE__IN_USE,         {450, "4.2.1", "The mailbox takes no mail now, try again later"}},
    {THURN__CODE__DISABLED,       {550, "5.2.1", "The mailbox takes no mail"}},
    {THURN__CODE__UNSUPPORTED,    {550, "5.3.3", "This is not done here"}},
};
/* clang-format on */

struct smtp_reply smtp_reply_of(Thurn__Code code)
{
    for (size_t i = 0; i < ARRAY_LEN(smtp_replies); i++)
        if (smtp_replies[i].code == code)
            return smtp_replies[i].reply;
    return (struct smtp_reply){
        .code = 451, .enhanced = "4.3.0", .text = "Temporary failure, try again later"};
}

void smtp_say(struct smtp_client *s, unsigned code, const char *enhanced, const char *text)
{
    buf_printf(client_out(&s->c), "%u %s %s\r\n", code, enhanced, text);
    client_flush(&s->c);
}

void smtp_say_bad(struct smtp_client *s, const struct smtp_reply *r)
{
    smtp_say(s, r->code, r->enhanced, r->text);
    if (r->code == 421)
        client_end(&s->c);
    else if (r->code >= 500)
        client_bad(&s->c);
}

void smtp_wrong_order(struct smtp_client *s, const char *text)
{
    smtp_say_bad(s, &(struct smtp_reply){.code = 503, .enhanced = "5.5.1", .text = text});
}
