#include "smtp/lmtp_wire.h"

#include "smtp/smtp_path.h"

typedef bool lmtp_arguments(struct cur *c, struct arena *a, struct lmtp_command *out,
                            struct smtp_reply *bad);

static bool lmtp_refuse(struct smtp_reply *bad, unsigned code, const char *enhanced,
                        const char *text)
{
    *bad = (struct smtp_reply){code, enhanced, text};
    return false;
}

static bool lmtp_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool lmtp_is_not_blank(uint8_t c)
{
    return !lmtp_is_blank(c);
}

static bool lmtp_is_keyword(uint8_t c)
{
    return byte_is_alpha(c) || byte_is_digit(c) || c == '-';
}

static void lmtp_skip_blanks(struct cur *c)
{
    (void)cur_take_while(c, lmtp_is_blank);
}

static bool lmtp_arguments_none(struct cur *c, struct arena *a, struct lmtp_command *out,
                                struct smtp_reply *bad)
{
    (void)a, (void)out;
    return cur_end(c) || lmtp_refuse(bad, 501, "5.5.4", "This command takes no argument");
}

/* NOOP and HELP: whatever stands there. */
static bool lmtp_arguments_any(struct cur *c, struct arena *a, struct lmtp_command *out,
                               struct smtp_reply *bad)
{
    (void)c, (void)a, (void)out, (void)bad;
    return true;
}

static bool lmtp_arguments_some(struct cur *c, struct arena *a, struct lmtp_command *out,
                                struct smtp_reply *bad)
{
    (void)a, (void)out;
    return !cur_end(c) || lmtp_refuse(bad, 501, "5.5.4", "An argument is missing");
}

/* The name is for the log and the trace only, so anything in one piece will do. */
static bool lmtp_arguments_lhlo(struct cur *c, struct arena *a, struct lmtp_command *out,
                                struct smtp_reply *bad)
{
    (void)a;
    out->domain = cur_take_while(c, lmtp_is_not_blank);
    lmtp_skip_blanks(c);
    if (!out->domain.n || out->domain.n > SMTP_DOMAIN_MAX || !cur_end(c))
        return lmtp_refuse(bad, 501, "5.5.4", "Syntax: LHLO hostname");
    return true;
}

static bool lmtp_path(struct cur *c, struct arena *a, struct lmtp_command *out,
                      struct smtp_reply *bad)
{
    lmtp_skip_blanks(c); /* "FROM: <a@b>" is wrong and frequent */
    struct smtp_path path = {0};
    switch (smtp_path_take(c, a, &path)) {
    case SMTP_PATH_OK: break;
    case SMTP_PATH_MALFORMED:
        return lmtp_refuse(bad, 501, out->verb == LMTP_MAIL ? "5.1.7" : "5.1.3",
                           "This is not an address in angle brackets");
    case SMTP_PATH_TOO_LONG:
        return lmtp_refuse(bad, 501, out->verb == LMTP_MAIL ? "5.1.7" : "5.1.3",
                           "The address is too long");
    case SMTP_PATH_NO_ROOM:
        return lmtp_refuse(bad, 452, "4.5.3", "Too many recipients in one transaction");
    }
    out->local = path.local;
    out->address_domain = path.domain;
    return true;
}

static bool lmtp_parameter_size(struct str value, struct lmtp_command *out, struct smtp_reply *bad)
{
    if (value.n > 20 || str_to_u64(value, &out->size).code)
        return lmtp_refuse(bad, 501, "5.5.4", "SIZE is not a number");
    return true;
}

static bool lmtp_parameter_body(struct str value, struct lmtp_command *out, struct smtp_reply *bad)
{
    out->body_8bit = str_ieq(value, STR("8BITMIME"));
    if (!out->body_8bit && !str_ieq(value, STR("7BIT")))
        return lmtp_refuse(bad, 501, "5.5.4", "BODY is neither 7BIT nor 8BITMIME");
    return true;
}

/* Of MAIL; each may stand once. RCPT has none. */
static const struct {
    struct str name;
    bool (*take)(struct str value, struct lmtp_command *out, struct smtp_reply *bad);
} lmtp_parameters[] = {
    {STR_INIT("SIZE"), lmtp_parameter_size},
    {STR_INIT("BODY"), lmtp_parameter_body},
};

static bool lmtp_parameter(struct str word, unsigned *seen, struct lmtp_command *out,
                           struct smtp_reply *bad)
{
    struct cur c = cur_of(word);
    struct str name = cur_take_while(&c, lmtp_is_keyword);
    bool has_value = cur_accept(&c, '=');
    if (!name.n || (!has_value && !cur_end(&c)))
        return lmtp_refuse(bad, 501, "5.5.4", "Syntax error in the parameters");
    for (unsigned i = 0; i < ARRAY_LEN(lmtp_parameters) && out->verb == LMTP_MAIL; i++) {
        if (!str_ieq(name, lmtp_parameters[i].name))
            continue;
        if (*seen & 1U << i)
            return lmtp_refuse(bad, 501, "5.5.4", "The same parameter twice");
        *seen |= 1U << i;
        return lmtp_parameters[i].take(cur_rest(&c), out, bad);
    }
    return lmtp_refuse(bad, 555, "5.5.4", "This parameter is not known here");
}

static bool lmtp_parameter_list(struct cur *c, struct lmtp_command *out, struct smtp_reply *bad)
{
    unsigned seen = 0;
    while (!cur_end(c)) {
        if (cur_take_while(c, lmtp_is_blank).n == 0)
            return lmtp_refuse(bad, 501, "5.5.4", "Syntax error behind the address");
        if (!cur_end(c) && !lmtp_parameter(cur_take_while(c, lmtp_is_not_blank), &seen, out, bad))
            return false;
    }
    return true;
}

static bool lmtp_arguments_mail(struct cur *c, struct arena *a, struct lmtp_command *out,
                                struct smtp_reply *bad)
{
    if (!cur_accept_istr(c, STR("FROM:")))
        return lmtp_refuse(bad, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
    if (!lmtp_path(c, a, out, bad))
        return false;
    if (out->local.n && !out->address_domain.n)
        return lmtp_refuse(bad, 501, "5.1.7", "The address has no domain");
    return lmtp_parameter_list(c, out, bad);
}

static bool lmtp_arguments_rcpt(struct cur *c, struct arena *a, struct lmtp_command *out,
                                struct smtp_reply *bad)
{
    if (!cur_accept_istr(c, STR("TO:")))
        return lmtp_refuse(bad, 501, "5.5.4", "Syntax: RCPT TO:<address>");
    if (!lmtp_path(c, a, out, bad))
        return false;
    if (!out->address_domain.n && !str_ieq(out->local, STR("postmaster")))
        return lmtp_refuse(bad, 501, "5.1.3", "The address has no domain");
    return lmtp_parameter_list(c, out, bad);
}

static const struct {
    struct str name;
    lmtp_arguments *arguments;
} lmtp_commands[LMTP_VERBS] = {
    [LMTP_LHLO] = {STR_INIT("LHLO"), lmtp_arguments_lhlo},
    [LMTP_MAIL] = {STR_INIT("MAIL"), lmtp_arguments_mail},
    [LMTP_RCPT] = {STR_INIT("RCPT"), lmtp_arguments_rcpt},
    [LMTP_DATA] = {STR_INIT("DATA"), lmtp_arguments_none},
    [LMTP_RSET] = {STR_INIT("RSET"), lmtp_arguments_none},
    [LMTP_NOOP] = {STR_INIT("NOOP"), lmtp_arguments_any},
    [LMTP_VRFY] = {STR_INIT("VRFY"), lmtp_arguments_some},
    [LMTP_HELP] = {STR_INIT("HELP"), lmtp_arguments_any},
    [LMTP_QUIT] = {STR_INIT("QUIT"), lmtp_arguments_none},
};

static bool lmtp_printable(struct str line, struct smtp_reply *bad)
{
    struct cur c = cur_of(line);
    while (!cur_end(&c)) {
        uint8_t b = cur_byte(&c);
        if (b > 126)
            return lmtp_refuse(bad, 553, "5.6.7", "Only ASCII is taken: SMTPUTF8 is not offered");
        if (b < 32 && b != '\t')
            return lmtp_refuse(bad, 500, "5.5.2", "There are control characters in the line");
    }
    return true;
}

bool lmtp_parse(struct str line, struct arena *a, struct lmtp_command *out, struct smtp_reply *bad)
{
    if (!lmtp_printable(line, bad))
        return false;
    struct cur c = cur_of(line);
    struct str name = cur_take_while(&c, byte_is_alpha);
    size_t blanks = cur_take_while(&c, lmtp_is_blank).n;
    for (unsigned verb = 0; verb < LMTP_VERBS; verb++) {
        if (!str_ieq(name, lmtp_commands[verb].name) || (!blanks && !cur_end(&c)))
            continue;
        struct lmtp_command command = {.verb = (enum lmtp_verb)verb};
        if (!lmtp_commands[verb].arguments(&c, a, &command, bad))
            return false;
        *out = command;
        return true;
    }
    if (str_ieq(name, STR("HELO")) || str_ieq(name, STR("EHLO")))
        return lmtp_refuse(bad, 500, "5.5.1", "This is LMTP: say LHLO"); /* RFC 2033 section 4.1 */
    return lmtp_refuse(bad, 500, "5.5.1", "Command not known");
}
