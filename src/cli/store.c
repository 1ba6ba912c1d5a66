#include "cli/cli.h"

#include <jansson.h>

#include "store/store.h"

struct check_report {
    json_t *findings; /* NULL: printed as they come */
    uint64_t n;
    bool bar;
    unsigned shown; /* per cent */
};

static void check_found(account_id account, struct str what, void *arg)
{
    struct check_report *r = arg;
    r->n++;
    if (r->findings)
        (void)json_array_append_new(r->findings,
                                    json_pack("{s:I, s:s%}", "account", (json_int_t)account.v,
                                              "what", (const char *)what.p, what.n));
    else if (account.v)
        (void)printf("%saccount %" PRIu64 ": %.*s\n", r->bar ? "\r" : "", account.v, STR_FMT(what));
    else
        (void)printf("%sstore: %.*s\n", r->bar ? "\r" : "", STR_FMT(what));
}

static void check_progress(uint64_t done, uint64_t total, void *arg)
{
    enum { WIDTH = 40 };
    struct check_report *r = arg;
    unsigned percent = total ? (unsigned)(done * 100 / total) : 100;
    if (!r->bar || percent == r->shown)
        return;
    r->shown = percent;
    unsigned filled = percent * WIDTH / 100;
    fprintf(stderr, "\r[%.*s%*s] %3u %%%s", (int)filled, "########################################",
            (int)(WIDTH - filled), "", percent, percent == 100 ? "\n" : "");
}

static void check_print(const struct check_report *r, bool looked, struct str explain)
{
    if (r->findings) {
        json_t *all =
            json_pack("{s:b, s:O, s:s%}", "complete", (int)looked, "findings", r->findings,
                      "reason", explain.n ? (const char *)explain.p : "", explain.n);
        (void)json_dumpf(all, stdout, JSON_INDENT(2));
        (void)printf("\n");
        json_decref(all);
    } else if (!looked) {
        fprintf(stderr, "thurn: %.*s\n", STR_FMT(explain));
    } else if (r->n) {
        (void)printf("%" PRIu64 " things are wrong; nothing was changed\n", r->n);
    } else {
        (void)printf("everything is in order\n");
    }
}

int cli_store_check(struct cli *c)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct buf dir CLEANUP(buf_free) = {.max = 4096};
    Thurn__Configuration config;
    if (c->n_words) {
        buf_put(&dir, str_c(c->words[0]));
    } else {
        if (!cli_config(c, &a, &config))
            return CLI_FAILED;
        buf_put(&dir, pb_str(config.settings->data_dir));
        buf_put(&dir, STR("/store"));
    }
    struct check_report r = {.findings = c->json ? json_array() : NULL,
                             .bar = isatty(STDERR_FILENO) && !c->json,
                             .shown = UINT_MAX};
    struct err e = store_check(buf_str(&dir), check_found, check_progress, &r, &explain);
    if (e.code && !explain.n)
        buf_printf(&explain, "%s", e.why);
    check_print(&r, !e.code, buf_str(&explain));
    if (r.findings)
        json_decref(r.findings);
    return e.code || r.n ? CLI_FAILED : CLI_OK;
}
