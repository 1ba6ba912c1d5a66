#include "base/base.h"

#include "cli/admin.h"

#include "roles/supervisor/config.h"

/* ------------------------------------------------------------------------------ asking, showing */

struct admin_wait {
    struct cli *cli;
    int status;
    json_t *rows; /* NULL: rows are printed as they come */
    const struct admin_view *view;
};

static bool admin_each(struct frame *f, void *arg)
{
    struct admin_wait *w = arg;
    if (f->type->number != RPC_ADMIN_ANSWER)
        return false;
    const Thurn__AdminAnswer *a = (const Thurn__AdminAnswer *)f->message;
    for (size_t i = 0; i < a->n_rows && w->view; i++) {
        if (w->rows)
            (void)json_array_append_new(w->rows, w->view->json(a->rows[i]));
        else
            w->view->text(a->rows[i]);
    }
    if (a->more)
        return false;
    bool done = a->status && a->status->code == THURN__CODE__DONE;
    w->status = w->rows && done ? CLI_OK : cli_status(w->cli, a->status);
    return true;
}

int cli_admin_ask_on(int fd, struct cli *c, uint16_t type, const ProtobufCMessage *m,
                     const struct admin_view *view)
{
    struct admin_wait w = {.cli = c, .status = CLI_FAILED, .view = view};
    if (c->json && view)
        w.rows = json_array();
    int asked = cli_ask(fd, type, m, admin_each, &w);
    if (w.rows && view) {
        const json_t *shown = view->one ? json_array_get(w.rows, 0) : w.rows;
        if (!asked && !w.status && shown) {
            (void)json_dumpf(shown, stdout, JSON_INDENT(2));
            (void)printf("\n");
        }
        json_decref(w.rows);
    }
    return asked ? asked : w.status;
}

int cli_admin_ask(struct cli *c, uint16_t type, const ProtobufCMessage *m,
                  const struct admin_view *view)
{
    int fd = cli_connect(c, CLI_BACKEND);
    if (fd < 0)
        return CLI_FAILED;
    int status = cli_admin_ask_on(fd, c, type, m, view);
    (void)close(fd);
    return status;
}

int cli_admin_change(struct cli *c, uint16_t type, const ProtobufCMessage *m, const char *sentence,
                     struct str what)
{
    int status = cli_admin_ask(c, type, m, NULL);
    if (!status && !c->json)
        (void)printf("%.*s %s\n", STR_FMT(what), sentence);
    return status;
}

/* ------------------------------------------------------------------------------------- batches */

typedef int admin_line(int fd, struct cli *c, const struct str *words, size_t n, struct str text);

/* Splits at blanks; what is beyond ADMIN_WORDS is left in the last word. */
static size_t words_of(struct str text, struct str words[ADMIN_WORDS])
{
    size_t n = 0;
    while (text.n && n < ADMIN_WORDS) {
        size_t end = n + 1 == ADMIN_WORDS ? text.n : str_find_byte(text, ' ', 0);
        words[n++] = str_sub(text, 0, end);
        text = str_trim(str_skip(text, end));
    }
    return n;
}

static int batch_lines(FILE *in, int fd, struct cli *c, admin_line *run)
{
    static struct str words[ADMIN_WORDS];
    char *line = NULL;
    size_t cap = 0;
    int status = CLI_OK;
    for (unsigned n = 1; getline(&line, &cap, in) >= 0; n++) {
        struct str text = str_trim(str_c(line));
        size_t found = words_of(text, words);
        if (found == 0 || run(fd, c, words, found, text) == CLI_OK)
            continue;
        fprintf(stderr, "thurn: line %u was not taken\n", n);
        status = CLI_FAILED;
    }
    free(line);
    return status;
}

int cli_admin_batch(struct cli *c, admin_line *run)
{
    bool piped = str_eq(str_c(c->batch), STR("-"));
    FILE *in = piped ? stdin : fopen(c->batch, "re");
    if (!in) {
        fprintf(stderr, "thurn: cannot read %s: %s\n", c->batch, strerror(errno));
        return CLI_FAILED;
    }
    int fd = cli_connect(c, CLI_BACKEND);
    int status = fd < 0 ? CLI_FAILED : batch_lines(in, fd, c, run);
    if (fd >= 0)
        (void)close(fd);
    if (!piped)
        (void)fclose(in);
    return status;
}

/* -------------------------------------------------------------------------------------- values */

json_t *cli_admin_json_text(ProtobufCBinaryData text)
{
    return text.len ? json_stringn((const char *)text.data, text.len) : json_null();
}

json_t *cli_admin_json_quota(uint64_t v)
{
    if (v == UINT64_MAX)
        return json_string("none");
    return v ? json_integer((json_int_t)v) : json_null();
}

static bool quota_value(const char *option, const char *text, bool size, uint64_t *out)
{
    if (str_eq(str_c(text), STR("none"))) {
        *out = UINT64_MAX;
        return true;
    }
    if (str_eq(str_c(text), STR("default"))) {
        *out = 0;
        return true;
    }
    if (config_number_of(str_c(text), size, out) && *out > 0 && *out < UINT64_MAX)
        return true;
    fprintf(stderr, "thurn: %s %s: wants %s, \"none\" for no limit, or \"default\"\n", option, text,
            size ? "a size such as \"10 GB\"" : "a number");
    return false;
}

bool cli_admin_quotas(const struct cli *c, uint32_t *set, uint64_t *bytes, uint64_t *messages)
{
    *set |= c->quota ? THURN__ADMIN_SET__ADMIN_SET_QUOTA : 0;
    *set |= c->quota_messages ? THURN__ADMIN_SET__ADMIN_SET_QUOTA_MESSAGES : 0;
    return (!c->quota || quota_value("--quota", c->quota, true, bytes)) &&
           (!c->quota_messages ||
            quota_value("--quota-messages", c->quota_messages, false, messages));
}
