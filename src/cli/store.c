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

/* ---------------------------------------------------------------------------------- salvage */

struct salvage_print {
    struct check_report bar;
    json_t *damaged, *lost; /* NULL: printed as they come */
};

static void salvage_damaged(struct str what, void *arg)
{
    struct salvage_print *p = arg;
    if (p->damaged)
        (void)json_array_append_new(p->damaged, json_pack("s%", (const char *)what.p, what.n));
    else
        (void)printf("%sdamaged: %.*s\n", p->bar.bar ? "\r" : "", STR_FMT(what));
}

/* What comes out of mail may be anything: control characters are not printed, and JSON wants UTF-8.
 */
static struct str printable(struct str s, struct buf *scratch)
{
    buf_clear(scratch);
    bool utf8 = str_is_utf8(s);
    for (size_t i = 0; i < s.n; i++)
        buf_byte(scratch,
                 s.p[i] < 0x20 || s.p[i] == 0x7F || (!utf8 && s.p[i] > 0x7F) ? '?' : s.p[i]);
    return buf_str(scratch);
}

static void json_text(json_t *o, const char *name, struct str s)
{
    struct buf scratch CLEANUP(buf_free) = {0};
    s = printable(s, &scratch);
    if (s.n)
        (void)json_object_set_new(o, name, json_stringn((const char *)s.p, s.n));
}

static void salvage_lost_json(json_t *all, const struct salvage_lost *l)
{
    json_t *o = json_pack("{s:I}", "account", (json_int_t)l->account.v);
    json_text(o, "address", l->address);
    json_text(o, "mailbox", l->mailbox);
    if (l->uid.v)
        (void)json_object_set_new(o, "uid", json_integer(l->uid.v));
    if (l->last_uid.v > l->uid.v)
        (void)json_object_set_new(o, "last_uid", json_integer(l->last_uid.v));
    json_text(o, "message_id", l->message_id);
    json_text(o, "subject", l->subject);
    json_text(o, "date", l->date);
    json_text(o, "why", l->why);
    (void)json_array_append_new(all, o);
}

static void print_field(const char *name, struct str s)
{
    struct buf scratch CLEANUP(buf_free) = {0};
    if (s.n)
        (void)printf("%s%.*s", name, STR_FMT(printable(s, &scratch)));
}

static void salvage_lost(const struct salvage_lost *l, void *arg)
{
    struct salvage_print *p = arg;
    if (p->lost) {
        salvage_lost_json(p->lost, l);
        return;
    }
    (void)printf("%slost: account %" PRIu64, p->bar.bar ? "\r" : "", l->account.v);
    print_field(" ", l->address);
    print_field(", mailbox ", l->mailbox);
    if (l->uid.v)
        (void)printf(", UID %u", l->uid.v);
    if (l->last_uid.v > l->uid.v)
        (void)printf(" to %u", l->last_uid.v);
    print_field(", Message-ID ", l->message_id);
    print_field(", subject ", l->subject);
    print_field(", date ", l->date);
    print_field(": ", l->why);
    (void)printf("\n");
}

static void salvage_progress(uint64_t done, uint64_t total, void *arg)
{
    struct salvage_print *p = arg;
    check_progress(done, total, &p->bar);
}

static void salvage_result(const struct salvage_print *p, bool worked,
                           const struct salvage_counts *n, struct str explain)
{
    if (p->lost) {
        json_t *all =
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:O, s:O, s:s%}", "complete", (int)worked,
                      "accounts", (json_int_t)n->accounts, "messages", (json_int_t)n->messages,
                      "recovered", (json_int_t)n->found, "lost", (json_int_t)n->lost, "damaged",
                      p->damaged, "messages_lost", p->lost, "reason",
                      explain.n ? (const char *)explain.p : "", explain.n);
        (void)json_dumpf(all, stdout, JSON_INDENT(2));
        (void)printf("\n");
        json_decref(all);
    } else if (!worked) {
        fprintf(stderr, "thurn: %.*s\n", STR_FMT(explain));
    } else {
        (void)printf("%" PRIu64 " accounts with %" PRIu64 " messages are in the new store, %" PRIu64
                     " of them in \"Recovered\"; %" PRIu64 " are lost\n",
                     n->accounts, n->messages, n->found, n->lost);
    }
}

int cli_store_salvage(struct cli *c)
{
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct salvage_counts counts;
    struct salvage_print p = {.bar = {.bar = isatty(STDERR_FILENO) && !c->json, .shown = UINT_MAX},
                              .damaged = c->json ? json_array() : NULL,
                              .lost = c->json ? json_array() : NULL};
    const struct salvage_report report = {
        .damaged = salvage_damaged, .lost = salvage_lost, .progress = salvage_progress, .arg = &p};
    struct err e =
        store_salvage(str_c(c->words[0]), str_c(c->words[1]), &report, &counts, &explain);
    if (e.code && !explain.n)
        buf_printf(&explain, "%s", e.why);
    salvage_result(&p, !e.code, &counts, buf_str(&explain));
    if (p.lost) {
        json_decref(p.lost);
        json_decref(p.damaged);
    }
    return e.code ? CLI_USAGE : counts.lost ? CLI_FAILED : CLI_OK;
}
