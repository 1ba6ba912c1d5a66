#include "cli/cli.h"

#include <jansson.h>
#include <termios.h>

/* ------------------------------------------------------------------------------ asking, showing */

struct admin_wait {
    struct cli *cli;
    int status;
    json_t *rows; /* NULL: rows are printed as they come */
    bool accounts;
};

static void admin_row(struct admin_wait *w, const Thurn__AdminRow *r)
{
    struct str name = pb_str(r->name);
    if (w->rows && w->accounts)
        (void)json_array_append_new(
            w->rows,
            json_pack("{s:s%, s:I, s:I, s:I, s:I}", "address", (const char *)name.p, name.n,
                      "account", (json_int_t)r->account, "created", (json_int_t)r->created,
                      "emails", (json_int_t)r->emails, "bytes", (json_int_t)r->bytes));
    else if (w->rows)
        (void)json_array_append_new(w->rows,
                                    json_pack("{s:s%, s:I}", "domain", (const char *)name.p, name.n,
                                              "created", (json_int_t)r->created));
    else if (w->accounts)
        (void)printf("%-40.*s %8" PRIu64 " messages %12" PRIu64 " bytes\n", STR_FMT(name),
                     r->emails, r->bytes);
    else
        (void)printf("%.*s\n", STR_FMT(name));
}

static bool admin_each(struct frame *f, void *arg)
{
    struct admin_wait *w = arg;
    if (f->type->number != RPC_ADMIN_ANSWER)
        return false;
    const Thurn__AdminAnswer *a = (const Thurn__AdminAnswer *)f->message;
    for (size_t i = 0; i < a->n_rows; i++)
        admin_row(w, a->rows[i]);
    if (a->more)
        return false;
    bool done = a->status && a->status->code == THURN__CODE__DONE;
    w->status = w->rows && done ? CLI_OK : cli_status(w->cli, a->status);
    return true;
}

static int admin_ask_on(int fd, struct cli *c, uint16_t type, const ProtobufCMessage *m)
{
    struct admin_wait w = {.cli = c, .status = CLI_FAILED};
    w.accounts = type == RPC_ADMIN_ACCOUNT_LIST;
    if (c->json && (w.accounts || type == RPC_ADMIN_DOMAIN_LIST))
        w.rows = json_array();
    int asked = cli_ask(fd, type, m, admin_each, &w);
    if (w.rows) {
        if (!asked && !w.status) {
            (void)json_dumpf(w.rows, stdout, JSON_INDENT(2));
            (void)printf("\n");
        }
        json_decref(w.rows);
    }
    return asked ? asked : w.status;
}

static int admin_ask(struct cli *c, uint16_t type, const ProtobufCMessage *m)
{
    int fd = cli_connect(c, CLI_BACKEND);
    if (fd < 0)
        return CLI_FAILED;
    int status = admin_ask_on(fd, c, type, m);
    (void)close(fd);
    return status;
}

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

/* ------------------------------------------------------------------------------------ commands */

int cli_domain_add(struct cli *c)
{
    Thurn__AdminDomainAdd m = THURN__ADMIN_DOMAIN_ADD__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    return admin_ask(c, RPC_ADMIN_DOMAIN_ADD, &m.base);
}

int cli_domain_remove(struct cli *c)
{
    Thurn__AdminDomainRemove m = THURN__ADMIN_DOMAIN_REMOVE__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    return admin_ask(c, RPC_ADMIN_DOMAIN_REMOVE, &m.base);
}

int cli_domain_list(struct cli *c)
{
    Thurn__AdminDomainList m = THURN__ADMIN_DOMAIN_LIST__INIT;
    return admin_ask(c, RPC_ADMIN_DOMAIN_LIST, &m.base);
}

static int account_add_on(int fd, struct cli *c, struct str address, struct str password,
                          bool is_hash)
{
    Thurn__AdminAccountAdd m = THURN__ADMIN_ACCOUNT_ADD__INIT;
    m.address = pb_bytes(address);
    m.password = pb_bytes(password);
    m.is_hash = is_hash;
    return admin_ask_on(fd, c, RPC_ADMIN_ACCOUNT_ADD, &m.base);
}

/* "ADDRESS PASSWORD-OR-HASH" per line; goes on after a line that is refused, and says so. */
static int account_add_lines(FILE *in, int fd, struct cli *c)
{
    char line[2048];
    int status = CLI_OK;
    for (unsigned n = 1; fgets(line, sizeof line, in); n++) {
        struct str text = str_trim(str_c(line));
        size_t space = str_find_byte(text, ' ', 0);
        if (text.n == 0)
            continue;
        struct str password = str_trim(str_skip(text, space));
        if (!password.n) {
            fprintf(stderr, "thurn: line %u: wants an address and a password\n", n);
            status = CLI_FAILED;
        } else if (account_add_on(fd, c, str_sub(text, 0, space), password, password.p[0] == '{')) {
            fprintf(stderr, "thurn: line %u was not taken\n", n);
            status = CLI_FAILED;
        }
    }
    return status;
}

static int account_add_batch(struct cli *c)
{
    bool piped = str_eq(str_c(c->batch), STR("-"));
    FILE *in = piped ? stdin : fopen(c->batch, "re");
    if (!in) {
        fprintf(stderr, "thurn: cannot read %s: %s\n", c->batch, strerror(errno));
        return CLI_FAILED;
    }
    int fd = cli_connect(c, CLI_BACKEND);
    int status = fd < 0 ? CLI_FAILED : account_add_lines(in, fd, c);
    if (fd >= 0)
        (void)close(fd);
    if (!piped)
        (void)fclose(in);
    return status;
}

int cli_account_add(struct cli *c)
{
    char password[1024];
    bool is_hash;
    if (c->batch)
        return account_add_batch(c);
    if (c->n_words != 1) {
        fprintf(stderr, "thurn: usage: thurn account add ADDRESS\n");
        return CLI_USAGE;
    }
    if (!password_get(c, password, sizeof password, &is_hash))
        return CLI_FAILED;
    int fd = cli_connect(c, CLI_BACKEND);
    if (fd < 0)
        return CLI_FAILED;
    int status = account_add_on(fd, c, str_c(c->words[0]), str_c(password), is_hash);
    (void)close(fd);
    explicit_bzero(password, sizeof password);
    return status;
}

int cli_account_remove(struct cli *c)
{
    Thurn__AdminAccountRemove m = THURN__ADMIN_ACCOUNT_REMOVE__INIT;
    m.address = pb_bytes(str_c(c->words[0]));
    return admin_ask(c, RPC_ADMIN_ACCOUNT_REMOVE, &m.base);
}

int cli_account_list(struct cli *c)
{
    Thurn__AdminAccountList m = THURN__ADMIN_ACCOUNT_LIST__INIT;
    m.domain = pb_bytes(str_c(c->n_words ? c->words[0] : ""));
    return admin_ask(c, RPC_ADMIN_ACCOUNT_LIST, &m.base);
}

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
    int status = admin_ask(c, RPC_ADMIN_ACCOUNT_PASSWORD, &m.base);
    explicit_bzero(password, sizeof password);
    return status;
}
