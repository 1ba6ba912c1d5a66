/* thurn alias ... */
#include "base/base.h"

#include "cli/admin.h"

static json_t *alias_json(const Thurn__AdminRow *r)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < r->n_targets; i++)
        (void)json_array_append_new(targets, cli_admin_json_text(r->targets[i]));
    return json_pack("{s:o, s:I, s:o}", "alias", cli_admin_json_text(r->name), "created",
                     (json_int_t)r->created, "targets", targets);
}

static void alias_text(const Thurn__AdminRow *r)
{
    (void)printf("%.*s ", STR_FMT(pb_str(r->name)));
    for (size_t i = 0; i < r->n_targets; i++)
        (void)printf(" %.*s", STR_FMT(pb_str(r->targets[i])));
    (void)printf("\n");
}

/* The targets of an alias, as they stand in a message. */
static size_t targets_of(const struct str *words, size_t n, ProtobufCBinaryData out[ADMIN_WORDS])
{
    for (size_t i = 1; i < n; i++)
        out[i - 1] = pb_bytes(words[i]);
    return n - 1;
}

static int alias_add_on(int fd, struct cli *c, const struct str *words, size_t n, struct str text)
{
    (void)text;
    static ProtobufCBinaryData targets[ADMIN_WORDS];
    Thurn__AdminAliasAdd m = THURN__ADMIN_ALIAS_ADD__INIT;
    m.address = pb_bytes(words[0]);
    m.n_targets = targets_of(words, n, targets);
    m.targets = targets;
    return cli_admin_ask_on(fd, c, RPC_ADMIN_ALIAS_ADD, &m.base, NULL);
}

static int alias_remove_on(int fd, struct cli *c, const struct str *words, size_t n,
                           struct str text)
{
    (void)text;
    static ProtobufCBinaryData targets[ADMIN_WORDS];
    Thurn__AdminAliasRemove m = THURN__ADMIN_ALIAS_REMOVE__INIT;
    m.address = pb_bytes(words[0]);
    m.n_targets = targets_of(words, n, targets);
    m.targets = targets;
    return cli_admin_ask_on(fd, c, RPC_ADMIN_ALIAS_REMOVE, &m.base, NULL);
}

/* The words of the command line, or the lines of --batch. */
static int alias_change(struct cli *c, int least, const char *usage,
                        int (*run)(int, struct cli *, const struct str *, size_t, struct str),
                        const char *sentence)
{
    static struct str words[ADMIN_WORDS];
    if (c->batch)
        return cli_admin_batch(c, run);
    if (c->n_words < least || c->n_words > ADMIN_WORDS) {
        fprintf(stderr, "thurn: usage: %s\n", usage);
        return CLI_USAGE;
    }
    for (int i = 0; i < c->n_words; i++)
        words[i] = str_c(c->words[i]);
    int fd = cli_connect(c, CLI_BACKEND);
    if (fd < 0)
        return CLI_FAILED;
    int status = run(fd, c, words, (size_t)c->n_words, (struct str){NULL, 0});
    (void)close(fd);
    if (!status && !c->json)
        (void)printf("%s %s\n", c->words[0], sentence);
    return status;
}

int cli_alias_add(struct cli *c)
{
    return alias_change(c, 2, "thurn alias add ADDRESS TARGET...", alias_add_on,
                        "leads there now.");
}

int cli_alias_remove(struct cli *c)
{
    return alias_change(c, 1, "thurn alias remove ADDRESS [TARGET...]", alias_remove_on,
                        "does not lead there any more.");
}

int cli_alias_list(struct cli *c)
{
    static const struct admin_view view = {.json = alias_json, .text = alias_text};
    Thurn__AdminAliasList m = THURN__ADMIN_ALIAS_LIST__INIT;
    m.domain = pb_bytes(str_c(c->n_words ? c->words[0] : ""));
    return cli_admin_ask(c, RPC_ADMIN_ALIAS_LIST, &m.base, &view);
}
