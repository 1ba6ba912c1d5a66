#include "smtp/smtp_parameter.h"
#include "smtp/smtp_path.h"
#include "smtp/smtp_wire.h"

/* What is being parsed. */
struct smtp_parse {
    struct cur c; /* the arguments */
    enum smtp_dialect dialect;
    struct arena *a;
    struct smtp_command *out;
    struct smtp_reply *bad;
};

static bool arguments_none(struct smtp_parse *p)
{
    return cur_end(&p->c) || smtp_refuse(p->bad, 501, "5.5.4", "This command takes no argument");
}

/* NOOP and HELP: whatever stands there. */
static bool arguments_any(struct smtp_parse *p)
{
    (void)p;
    return true;
}

static bool arguments_some(struct smtp_parse *p)
{
    return !cur_end(&p->c) || smtp_refuse(p->bad, 501, "5.5.4", "An argument is missing");
}

/* The name is for the log and the trace only, so anything in one piece will do. */
static bool arguments_hello(struct smtp_parse *p)
{
    p->out->domain = cur_take_while(&p->c, smtp_is_not_blank);
    (void)cur_take_while(&p->c, smtp_is_blank);
    for (size_t i = 0; i < p->out->domain.n; i++)
        if (p->out->domain.p[i] > 126)
            return smtp_refuse(p->bad, 501, "5.5.4", "A host name is ASCII");
    if (!p->out->domain.n || p->out->domain.n > SMTP_DOMAIN_MAX || !cur_end(&p->c))
        return smtp_refuse(p->bad, 501, "5.5.4", "The client's host name is to follow");
    return true;
}

static bool argument_path(struct smtp_parse *p)
{
    const char *malformed = p->out->verb == SMTP_MAIL ? "5.1.7" : "5.1.3";
    (void)cur_take_while(&p->c, smtp_is_blank); /* "FROM: <a@b>" is wrong and frequent */
    struct smtp_path path = {0};
    switch (smtp_path_take(&p->c, p->a, &path)) {
    case SMTP_PATH_OK: break;
    case SMTP_PATH_MALFORMED:
        return smtp_refuse(p->bad, 501, malformed, "This is not an address in angle brackets");
    case SMTP_PATH_TOO_LONG: return smtp_refuse(p->bad, 501, malformed, "The address is too long");
    case SMTP_PATH_U_LABEL:
        return smtp_refuse(p->bad, 553, "5.6.7", "Write the domain with A-labels (xn--...)");
    case SMTP_PATH_NO_ROOM:
        return smtp_refuse(p->bad, 452, "4.5.3", "Too many recipients in one transaction");
    }
    p->out->local = path.local;
    p->out->address_domain = path.domain;
    for (size_t i = 0; i < path.local.n; i++)
        p->out->address_utf8 = p->out->address_utf8 || path.local.p[i] > 127;
    return true;
}

static bool arguments_mail(struct smtp_parse *p)
{
    if (!cur_accept_istr(&p->c, STR("FROM:")))
        return smtp_refuse(p->bad, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
    if (!argument_path(p))
        return false;
    if (p->out->local.n && !p->out->address_domain.n)
        return smtp_refuse(p->bad, 501, "5.1.7", "The address has no domain");
    if (!smtp_parameters_take(&p->c, p->dialect, p->out, p->bad))
        return false;
    if (p->out->address_utf8 && !p->out->smtputf8)
        return smtp_refuse(p->bad, 553, "5.6.7", "This address needs the parameter SMTPUTF8");
    return true;
}

static bool arguments_rcpt(struct smtp_parse *p)
{
    if (!cur_accept_istr(&p->c, STR("TO:")))
        return smtp_refuse(p->bad, 501, "5.5.4", "Syntax: RCPT TO:<address>");
    if (!argument_path(p))
        return false;
    if (!p->out->address_domain.n && !str_ieq(p->out->local, STR("postmaster")))
        return smtp_refuse(p->bad, 501, "5.1.3", "The address has no domain");
    return smtp_parameters_take(&p->c, p->dialect, p->out, p->bad);
}

/* Data may follow whatever is wrong: nobody could say where it ends. */
static bool bdat_refuse(struct smtp_reply *bad)
{
    return smtp_refuse(bad, 421, "4.5.0", "Syntax: BDAT size [LAST]; what follows is not read");
}

/* RFC 3030 section 2 */
static bool arguments_bdat(struct smtp_parse *p)
{
    struct str size = cur_take_while(&p->c, smtp_is_not_blank);
    bool good = size.n > 0 && size.n <= 20 && str_to_u64(size, &p->out->size).code == E_OK;
    (void)cur_take_while(&p->c, smtp_is_blank);
    struct str word = cur_take_while(&p->c, smtp_is_not_blank);
    p->out->last = str_ieq(word, STR("LAST"));
    (void)cur_take_while(&p->c, smtp_is_blank);
    if (good && cur_end(&p->c) && (!word.n || p->out->last))
        return true;
    return bdat_refuse(p->bad);
}

/* RFC 4954 section 4 */
static bool arguments_auth(struct smtp_parse *p)
{
    p->out->mechanism = cur_take_while(&p->c, smtp_is_not_blank);
    (void)cur_take_while(&p->c, smtp_is_blank);
    p->out->initial = cur_take_while(&p->c, smtp_is_not_blank);
    p->out->has_initial = p->out->initial.n > 0;
    if (str_eq(p->out->initial, STR("=")))
        p->out->initial = (struct str){0};
    (void)cur_take_while(&p->c, smtp_is_blank);
    return (p->out->mechanism.n && cur_end(&p->c)) ||
           smtp_refuse(p->bad, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
}

enum {
    SMTP_ALL = SMTP_LMTP | SMTP_MX | SMTP_SUBMISSION,
    SMTP_NOT_LMTP = SMTP_MX | SMTP_SUBMISSION
};

/* clang-format off */
static const struct {
    struct str name;
    unsigned dialects;
    bool (*arguments)(struct smtp_parse *p);
} smtp_commands[SMTP_VERBS] = {
    [SMTP_LHLO]     = {STR_INIT("LHLO"),     SMTP_LMTP,       arguments_hello},
    [SMTP_HELO]     = {STR_INIT("HELO"),     SMTP_NOT_LMTP,   arguments_hello},
    [SMTP_EHLO]     = {STR_INIT("EHLO"),     SMTP_NOT_LMTP,   arguments_hello},
    [SMTP_STARTTLS] = {STR_INIT("STARTTLS"), SMTP_NOT_LMTP,   arguments_none},
    [SMTP_AUTH]     = {STR_INIT("AUTH"),     SMTP_SUBMISSION, arguments_auth},
    [SMTP_MAIL]     = {STR_INIT("MAIL"),     SMTP_ALL,        arguments_mail},
    [SMTP_RCPT]     = {STR_INIT("RCPT"),     SMTP_ALL,        arguments_rcpt},
    [SMTP_DATA]     = {STR_INIT("DATA"),     SMTP_ALL,        arguments_none},
    [SMTP_BDAT]     = {STR_INIT("BDAT"),     SMTP_NOT_LMTP,   arguments_bdat},
    [SMTP_RSET]     = {STR_INIT("RSET"),     SMTP_ALL,        arguments_none},
    [SMTP_NOOP]     = {STR_INIT("NOOP"),     SMTP_ALL,        arguments_any},
    [SMTP_VRFY]     = {STR_INIT("VRFY"),     SMTP_ALL,        arguments_some},
    [SMTP_HELP]     = {STR_INIT("HELP"),     SMTP_ALL,        arguments_any},
    [SMTP_QUIT]     = {STR_INIT("QUIT"),     SMTP_ALL,        arguments_none},
};
/* clang-format on */

static bool line_is_clean(struct str line, enum smtp_dialect dialect, struct smtp_reply *bad)
{
    struct cur c = cur_of(line);
    bool utf8 = false;
    while (!cur_end(&c)) {
        uint8_t b = cur_byte(&c);
        utf8 = utf8 || b > 127;
        if ((b < 32 && b != '\t') || b == 127)
            return smtp_refuse(bad, 500, "5.5.2", "There are control characters in the line");
    }
    if (utf8 && dialect == SMTP_LMTP)
        return smtp_refuse(bad, 553, "5.6.7", "Only ASCII is taken: SMTPUTF8 is not offered");
    if (utf8 && !str_is_utf8(line))
        return smtp_refuse(bad, 500, "5.5.2", "The line is not UTF-8");
    return true;
}

static bool command_unknown(struct str name, enum smtp_dialect dialect, struct smtp_reply *bad)
{
    bool lmtp = str_ieq(name, STR("LHLO"));
    bool smtp = str_ieq(name, STR("HELO")) || str_ieq(name, STR("EHLO"));
    if (smtp && dialect == SMTP_LMTP) /* RFC 2033 section 4.1 */
        return smtp_refuse(bad, 500, "5.5.1", "This is LMTP: say LHLO");
    if (lmtp && dialect != SMTP_LMTP)
        return smtp_refuse(bad, 500, "5.5.1", "This is SMTP: say EHLO");
    return smtp_refuse(bad, 500, "5.5.1", "Command not known");
}

bool smtp_parse(struct str line, enum smtp_dialect dialect, struct arena *a,
                struct smtp_command *out, struct smtp_reply *bad)
{
    if (!line_is_clean(line, dialect, bad))
        return dialect != SMTP_LMTP && str_istarts(line, STR("BDAT")) ? bdat_refuse(bad) : false;
    struct smtp_command command = {0};
    struct smtp_parse p = {cur_of(line), dialect, a, &command, bad};
    struct str name = cur_take_while(&p.c, byte_is_alpha);
    size_t blanks = cur_take_while(&p.c, smtp_is_blank).n;
    for (unsigned verb = 0; verb < SMTP_VERBS; verb++) {
        if (!str_ieq(name, smtp_commands[verb].name) || !(smtp_commands[verb].dialects & dialect) ||
            (!blanks && !cur_end(&p.c)))
            continue;
        command.verb = (enum smtp_verb)verb;
        if (!smtp_commands[verb].arguments(&p))
            return false;
        *out = command;
        return true;
    }
    return command_unknown(name, dialect, bad);
}
