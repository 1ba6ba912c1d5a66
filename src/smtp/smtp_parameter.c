#include "smtp/smtp_parameter.h"

/* Longest values (RFC 3461 sections 4.2 and 4.4). */
enum { ENVID_MAX = 100, ORCPT_MAX = 500 };

bool smtp_refuse(struct smtp_reply *bad, unsigned code, const char *enhanced, const char *text)
{
    *bad = (struct smtp_reply){.code = code, .enhanced = enhanced, .text = text};
    return false;
}

bool smtp_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

bool smtp_is_not_blank(uint8_t c)
{
    return !smtp_is_blank(c);
}

static bool parameter_is_keyword(uint8_t c)
{
    return byte_is_alpha(c) || byte_is_digit(c) || c == '-';
}

/* xchar of RFC 3461 section 4; with the bytes of RFC 6533's utf-8-addr-unitext. */
static bool parameter_is_xchar(uint8_t c)
{
    return c > 32 && c != 127 && c != '+' && c != '=';
}

static bool parameter_is_hex(uint8_t c)
{
    return byte_is_digit(c) || (c >= 'A' && c <= 'F');
}

/* xtext: "+" and two hexadecimal digits stand for other bytes. */
static bool parameter_is_xtext(struct str value)
{
    struct cur c = cur_of(value);
    while (!cur_end(&c)) {
        (void)cur_take_while(&c, parameter_is_xchar);
        if (cur_end(&c))
            break;
        bool high = cur_expect(&c, '+') && parameter_is_hex(cur_byte(&c));
        if (!high || !parameter_is_hex(cur_byte(&c)))
            return false;
    }
    return !c.bad;
}

/* ---------------------------------------------------------------------------------------- values
 */

typedef bool parameter_value(struct str value, struct smtp_command *out, struct smtp_reply *bad);

static bool parameter_size(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    if (value.n > 20 || str_to_u64(value, &out->size).code)
        return smtp_refuse(bad, 501, "5.5.4", "SIZE is not a number");
    return true;
}

static bool parameter_body(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    if (str_ieq(value, STR("7BIT")))
        out->body = SMTP_7BIT;
    else if (str_ieq(value, STR("8BITMIME")))
        out->body = SMTP_8BITMIME;
    else if (str_ieq(value, STR("BINARYMIME")))
        out->body = SMTP_BINARYMIME;
    else
        return smtp_refuse(bad, 501, "5.5.4", "This value of BODY is not known");
    return true;
}

static bool parameter_smtputf8(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    out->smtputf8 = true;
    return !value.n || smtp_refuse(bad, 501, "5.5.4", "SMTPUTF8 has no value");
}

static bool parameter_ret(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    (void)out;
    return str_ieq(value, STR("FULL")) || str_ieq(value, STR("HDRS")) ||
           smtp_refuse(bad, 501, "5.5.4", "RET is neither FULL nor HDRS");
}

static bool parameter_envid(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    (void)out;
    return (value.n && value.n <= ENVID_MAX && parameter_is_xtext(value)) ||
           smtp_refuse(bad, 501, "5.5.4", "ENVID is not xtext of at most 100 characters");
}

/* Who has handed the message in, as the client says (RFC 4954 section 5). */
static bool parameter_auth(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    (void)out;
    return (value.n && parameter_is_xtext(value)) ||
           smtp_refuse(bad, 501, "5.5.4", "AUTH is not xtext");
}

static bool parameter_notify(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    (void)out;
    if (str_ieq(value, STR("NEVER")))
        return true;
    for (size_t at = 0; at <= value.n;) {
        size_t comma = str_find_byte(value, ',', at);
        struct str word = str_sub(value, at, comma);
        if (!str_ieq(word, STR("SUCCESS")) && !str_ieq(word, STR("FAILURE")) &&
            !str_ieq(word, STR("DELAY")))
            return smtp_refuse(bad, 501, "5.5.4",
                               "NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY");
        at = comma + 1;
    }
    return true;
}

static bool parameter_orcpt(struct str value, struct smtp_command *out, struct smtp_reply *bad)
{
    (void)out;
    struct cur c = cur_of(value);
    bool typed = cur_take_while(&c, parameter_is_keyword).n > 0 && cur_accept(&c, ';');
    struct str address = cur_rest(&c);
    return (typed && address.n && value.n <= ORCPT_MAX && parameter_is_xtext(address)) ||
           smtp_refuse(bad, 501, "5.5.4", "ORCPT is not \"type;xtext\"");
}

/* ----------------------------------------------------------------------------------------- table
 */

/* Each may stand once. */
/* clang-format off */
static const struct {
    struct str name;
    enum smtp_verb verb;
    unsigned dialects;
    parameter_value *take;
} parameters[] = {
    {STR_INIT("SIZE"),     SMTP_MAIL, SMTP_LMTP | SMTP_MX | SMTP_SUBMISSION, parameter_size},
    {STR_INIT("BODY"),     SMTP_MAIL, SMTP_LMTP | SMTP_MX | SMTP_SUBMISSION, parameter_body},
    {STR_INIT("SMTPUTF8"), SMTP_MAIL, SMTP_MX | SMTP_SUBMISSION,             parameter_smtputf8},
    {STR_INIT("RET"),      SMTP_MAIL, SMTP_MX | SMTP_SUBMISSION,             parameter_ret},
    {STR_INIT("ENVID"),    SMTP_MAIL, SMTP_MX | SMTP_SUBMISSION,             parameter_envid},
    {STR_INIT("AUTH"),     SMTP_MAIL, SMTP_SUBMISSION,                       parameter_auth},
    {STR_INIT("NOTIFY"),   SMTP_RCPT, SMTP_MX | SMTP_SUBMISSION,             parameter_notify},
    {STR_INIT("ORCPT"),    SMTP_RCPT, SMTP_MX | SMTP_SUBMISSION,             parameter_orcpt},
};
/* clang-format on */

static bool parameter_take(struct str word, enum smtp_dialect dialect, unsigned *seen,
                           struct smtp_command *out, struct smtp_reply *bad)
{
    struct cur c = cur_of(word);
    struct str name = cur_take_while(&c, parameter_is_keyword);
    bool has_value = cur_accept(&c, '=');
    if (!name.n || (!has_value && !cur_end(&c)))
        return smtp_refuse(bad, 501, "5.5.4", "Syntax error in the parameters");
    for (unsigned i = 0; i < ARRAY_LEN(parameters); i++) {
        if (parameters[i].verb != out->verb || !(parameters[i].dialects & dialect) ||
            !str_ieq(name, parameters[i].name))
            continue;
        if (*seen & 1U << i)
            return smtp_refuse(bad, 501, "5.5.4", "The same parameter twice");
        *seen |= 1U << i;
        return parameters[i].take(cur_rest(&c), out, bad);
    }
    return smtp_refuse(bad, 555, "5.5.4", "This parameter is not known here");
}

bool smtp_parameters_take(struct cur *c, enum smtp_dialect dialect, struct smtp_command *out,
                          struct smtp_reply *bad)
{
    unsigned seen = 0;
    while (!cur_end(c)) {
        if (cur_take_while(c, smtp_is_blank).n == 0)
            return smtp_refuse(bad, 501, "5.5.4", "Syntax error behind the address");
        if (!cur_end(c) &&
            !parameter_take(cur_take_while(c, smtp_is_not_blank), dialect, &seen, out, bad))
            return false;
    }
    if (out->body == SMTP_BINARYMIME && dialect == SMTP_LMTP)
        return smtp_refuse(bad, 501, "5.5.4", "BODY is neither 7BIT nor 8BITMIME");
    return true;
}
