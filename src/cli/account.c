/* thurn account ... */
#include "base/base.h"

#include "cli/admin.h"

#include <termios.h>

/* ---------------------------------------------------------------------------------- passwords */

static bool line_without_echo(char *out, size_t n)
{
    struct termios was, quiet;
    bool terminal = tcgetattr(STDIN_FILENO, &was) == 0;
    if (terminal) {
        quiet = was;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool got = fgets(out, (int)n, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        fprintf(stderr, "\n");
    }
    out[got ? strcspn(out, "\r\n") : 0] = 0;
    return got && out[0];
}

/* From --hash, from standard input, or asked for twice. False, with a word to the user: none. */
static bool password_get(const struct cli *c, char *out, size_t n, bool *is_hash)
{
    char again[1024];
    *is_hash = c->hash != NULL;
    if (c->hash)
        return (size_t)snprintf(out, n, "%s", c->hash) < n;
    bool ask = !c->password_stdin;
    if (ask)
        fprintf(stderr, "Password: ");
    if (!line_without_echo(out, n)) {
        fprintf(stderr, "thurn: an empty password is not taken\n");
        return false;
    }
    if (!ask)
        return true;
    fprintf(stderr, "Again: ");
    if (line_without_echo(again, sizeof again) && str_eq(str_c(out), str_c(again)))
        return true;
    fprintf(stderr, "thurn: the two passwords differ\n");
    return false;
}

/* ---------------------------------------------------------------------------- made and removed */

static int account_add_on(int fd, struct cli *c, struct str address, struct str password,
                          bool is_hash)
{
    Thurn__AdminAccountAdd m = THURN__ADMIN_ACCOUNT_ADD__INIT;
    m.address = pb_bytes(address);
    m.password = pb_bytes(password);
    m.is_hash = is_hash;
    return cli_admin_ask_on(fd, c, RPC_ADMIN_ACCOUNT_ADD, &m.base, NULL);
}

/* "ADDRESS PASSWORD-OR-HASH": all that stands behind the address. */
static int account_add_line(int fd, struct cli *c, const struct str *words, size_t n,
                            struct str text)
{
    struct str password = str_trim(str_skip(text, words[0].n));
    if (n < 2) {
        fprintf(stderr, "thurn: %.*s: wants an address and a password\n", STR_FMT(words[0]));
        return CLI_FAILED;
    }
    return account_add_on(fd, c, words[0], password, password.p[0] == '{');
}

int cli_account_add(struct cli *c)
{
    char password[1024];
    bool is_hash;
    if (c->batch)
        return cli_admin_batch(c, account_add_line);
    if (c->n_words != 1) {
        fprintf(stderr, "thurn: usage: thurn account add ADDRESS\n");
        return CLI_USAGE;
    }
    if (!password_get(c, password, sizeof password, &is_hash))
        return CLI_FAILED;
    Thurn__AdminAccountAdd m = THURN__ADMIN_ACCOUNT_ADD__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    m.password = pb_bytes(str_c(password));
    m.is_hash = is_hash;
    int status = cli_admin_change(c, RPC_ADMIN_ACCOUNT_ADD, &m.base, "can log in and get mail now.",
                                  pb_str(m.address));
    explicit_bzero(password, sizeof password);
    return status;
}

int cli_account_remove(struct cli *c)
{
    Thurn__AdminAccountRemove m = THURN__ADMIN_ACCOUNT_REMOVE__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    return cli_admin_change(c, RPC_ADMIN_ACCOUNT_REMOVE, &m.base, "is removed with all its mail.",
                            pb_str(m.address));
}

/* ---------------------------------------------------------------------------------------- shown */

static const char *const refusals[] = {"no", "temporary", "permanent"};

static const char *refusal(const Thurn__AdminRow *r)
{
    return refusals[MIN(r->refuse_mail, (uint32_t)ARRAY_LEN(refusals) - 1)];
}

static json_t *account_json(const Thurn__AdminRow *r)
{
    return json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:o, s:s, s:i, s:o}", "address",
        cli_admin_json_text(r->name), "account", (json_int_t)r->account, "created",
        (json_int_t)r->created, "messages", (json_int_t)r->messages, "bytes", (json_int_t)r->bytes,
        "quota", cli_admin_json_quota(r->quota), "quota_messages",
        cli_admin_json_quota(r->quota_messages), "limit", cli_admin_json_quota(r->limit),
        "limit_messages", cli_admin_json_quota(r->limit_messages), "locked", (int)r->locked,
        "lock_reason", cli_admin_json_text(r->lock_reason), "refuse_mail", refusal(r), "sessions",
        (int)r->sessions, "password", cli_admin_json_text(r->password_scheme));
}

static void account_line(const Thurn__AdminRow *r)
{
    (void)printf("%-40.*s %8" PRIu64 " messages %12" PRIu64 " bytes%s\n", STR_FMT(pb_str(r->name)),
                 r->messages, r->bytes, r->locked ? "  locked" : "");
}

static void limit_text(uint64_t limit)
{
    if (limit)
        (void)printf(" of %" PRIu64 "\n", limit);
    else
        (void)printf(" (no limit)\n");
}

static void account_text(const Thurn__AdminRow *r)
{
    char created[32] = "";
    time_t at = (time_t)r->created;
    struct tm tm;
    if (gmtime_r(&at, &tm))
        (void)strftime(created, sizeof created, "%Y-%m-%d %H:%M:%S UTC", &tm);
    (void)printf("address   %.*s\naccount   %" PRIu64 "\ncreated   %s\npassword  %.*s\n",
                 STR_FMT(pb_str(r->name)), r->account, created,
                 STR_FMT(pb_str(r->password_scheme)));
    (void)printf("bytes     %" PRIu64, r->bytes);
    limit_text(r->limit);
    (void)printf("messages  %" PRIu64, r->messages);
    limit_text(r->limit_messages);
    (void)printf("sessions  %u\nlocked    %s", r->sessions, r->locked ? "yes" : "no");
    if (r->lock_reason.len)
        (void)printf(", %.*s", STR_FMT(pb_str(r->lock_reason)));
    (void)printf("%s%s\n", r->refuse_mail ? "; refuses mail: " : "",
                 r->refuse_mail ? refusal(r) : "");
}

int cli_account_list(struct cli *c)
{
    static const struct admin_view view = {.json = account_json, .text = account_line};
    Thurn__AdminAccountList m = THURN__ADMIN_ACCOUNT_LIST__INIT;
    m.domain = pb_bytes(str_c(c->n_words ? c->words[0] : ""));
    return cli_admin_ask(c, RPC_ADMIN_ACCOUNT_LIST, &m.base, &view);
}

int cli_account_show(struct cli *c)
{
    static const struct admin_view view = {.json = account_json, .text = account_text, .one = true};
    Thurn__AdminAccountShow m = THURN__ADMIN_ACCOUNT_SHOW__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    return cli_admin_ask(c, RPC_ADMIN_ACCOUNT_SHOW, &m.base, &view);
}

/* -------------------------------------------------------------------------------------- changed */

int cli_account_password(struct cli *c)
{
    char password[1024];
    bool is_hash;
    if (!password_get(c, password, sizeof password, &is_hash))
        return CLI_FAILED;
    Thurn__AdminAccountPassword m = THURN__ADMIN_ACCOUNT_PASSWORD__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    m.password = pb_bytes(str_c(password));
    m.is_hash = is_hash;
    int status = cli_admin_change(c, RPC_ADMIN_ACCOUNT_PASSWORD, &m.base,
                                  "has a new password; its sessions are ended.", pb_str(m.address));
    explicit_bzero(password, sizeof password);
    return status;
}

int cli_account_set(struct cli *c)
{
    Thurn__AdminAccountSet m = THURN__ADMIN_ACCOUNT_SET__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    if (!cli_admin_quotas(c, &m.set, &m.quota, &m.quota_messages))
        return CLI_USAGE;
    if (!m.set) {
        fprintf(stderr, "thurn: say what to set: --quota or --quota-messages\n");
        return CLI_USAGE;
    }
    return cli_admin_change(c, RPC_ADMIN_ACCOUNT_SET, &m.base, "is changed.", pb_str(m.address));
}

int cli_account_lock(struct cli *c)
{
    Thurn__AdminAccountLock m = THURN__ADMIN_ACCOUNT_LOCK__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    m.reason = pb_bytes(str_c(c->reason));
    if (c->refuse_mail) {
        while (m.refuse_mail < ARRAY_LEN(refusals) &&
               !str_eq(str_c(c->refuse_mail), str_c(refusals[m.refuse_mail])))
            m.refuse_mail++;
        if (m.refuse_mail == ARRAY_LEN(refusals)) {
            fprintf(stderr, "thurn: --refuse-mail is temporary, permanent or no\n");
            return CLI_USAGE;
        }
    }
    return cli_admin_change(c, RPC_ADMIN_ACCOUNT_LOCK, &m.base,
                            "is locked; its sessions are ended.", pb_str(m.address));
}

int cli_account_unlock(struct cli *c)
{
    Thurn__AdminAccountUnlock m = THURN__ADMIN_ACCOUNT_UNLOCK__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    return cli_admin_change(c, RPC_ADMIN_ACCOUNT_UNLOCK, &m.base, "can log in again.",
                            pb_str(m.address));
}

int cli_account_logout(struct cli *c)
{
    Thurn__AdminAccountLogout m = THURN__ADMIN_ACCOUNT_LOGOUT__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    return cli_admin_change(c, RPC_ADMIN_ACCOUNT_LOGOUT, &m.base, "is logged out everywhere.",
                            pb_str(m.address));
}
