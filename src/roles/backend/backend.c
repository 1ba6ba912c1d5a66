#include "roles/backend/backend.h"

#include "roles/backend/admin.h"
#include "roles/backend/frontend.h"
#include "roles/backend/session.h"
#include "roles/backend/sleep.h"

static const char store_dir[] = "store";

/* -- opening -- */

static void store_changed(account_id account, modseq at, void *arg)
{
    struct backend *b = arg;
    (void)at;
    watches_changed(b->watches, account);
}

static void poke(void *arg)
{
    sleepers_poke(arg);
}

static void store_opening(void *arg)
{
    struct backend *b = arg;
    if (b->getting_on)
        b->getting_on(b);
}

/* Whatever is woken until the loop gets there is poked with it. */
static void wake(void *arg)
{
    struct backend *b = arg;
    loop_post(b->loop, poke, b);
}

static void scanner_retire(uint32_t index, uint64_t generation, struct str reason, void *arg)
{
    struct backend *b = arg;
    Thurn__ScannerRetire m = THURN__SCANNER_RETIRE__INIT;
    m.index = index;
    m.generation = generation;
    m.reason = pb_bytes(reason);
    b->retire(b, &m);
}

static struct err open_store(struct backend *b, const Thurn__Settings *s, struct buf *explain)
{
    struct buf dir CLEANUP(buf_free) = {.max = PATH_MAX};
    buf_put(&dir, pb_str(s->data_dir));
    buf_byte(&dir, '/');
    buf_put(&dir, str_c(store_dir));
    buf_byte(&dir, 0);
    TRY(buf_err(&dir));
    if (mkdir((const char *)dir.p, 0700) < 0 && errno != EEXIST) {
        struct err e = err_sys("mkdir");
        buf_printf(explain,
                   "cannot make the directory %s: %s. Let data_dir belong to the user of the "
                   "backend.",
                   (const char *)dir.p, strerror(e.sys));
        return e;
    }
    buf_cut(&dir, dir.n - 1);
    const struct store_options options = {.dir = buf_str(&dir),
                                          .segment_size = s->segment_size,
                                          .cache_size = s->cache_size,
                                          .rewrite_rate = s->rewrite_rate,
                                          .changed = store_changed,
                                          .changed_arg = b,
                                          .opening = store_opening,
                                          .opening_arg = b};
    return store_open(&options, &b->store, explain);
}

static struct err open_directory(struct backend *b, const Thurn__Settings *s, struct buf *explain)
{
    const struct directory_options options = {.argon2_memory_kib = s->argon2_memory_kib,
                                              .argon2_passes = s->argon2_passes,
                                              .hash_memory_kib = s->login_memory_kib};
    struct err e = directory_open(b->store, &options, &b->directory);
    if (e.code)
        buf_printf(explain,
                   "cannot read the directory of domains and accounts in the store: %s. Look at it "
                   "with \"thurn store check\".",
                   e.why);
    return e;
}

static uint32_t history_seconds(const Thurn__Settings *s)
{
    return (uint32_t)MIN(s->history / 1000, (uint64_t)UINT32_MAX);
}

/* As many as there is memory for hashes; more would wait for one another. */
static unsigned hashing_threads(const Thurn__Settings *s)
{
    enum { THREADS_MAX = 16 };
    uint32_t one = MAX(s->argon2_memory_kib, 8u);
    return MIN(MAX(s->login_memory_kib / one, 1u), (unsigned)THREADS_MAX);
}

struct err backend_open(struct backend *b, const Thurn__Settings *s, struct buf *explain)
{
    b->watches = watches_new(wake, b);
    b->pauses = timer_new(b->loop, poke, b);
    struct err e = open_store(b, s, explain);
    if (!e.code) {
        e = open_directory(b, s, explain);
        if (e.code)
            store_close(b->store);
    }
    if (!e.code) {
        e = seal_key_load(b->directory, &b->seal);
        if (e.code) {
            buf_printf(explain, "cannot read the key of sessions in the store: %s.", e.why);
            directory_close(b->directory);
            store_close(b->store);
        }
    }
    if (e.code) {
        timer_free(b->pauses);
        watches_free(b->watches);
        return e;
    }
    list_init(&b->frontends);
    list_init(&b->sessions);
    list_init(&b->admins);
    list_init(&b->removals);
    b->budget = fair_budget_new();
    b->sched = sched_new(s->workers, b->store, b->budget);
    b->logins = logins_new(b->loop, b->directory, hashing_threads(s));
    const struct scan_pool_options scan = {.loop = b->loop,
                                           .sched = b->sched,
                                           .budget = b->budget,
                                           .timeout_ms = s->scan_timeout,
                                           .retire = scanner_retire,
                                           .arg = b};
    b->scan = scan_pool_new(&scan);
    b->history = history_new(b->loop, b->sched, b->store, history_seconds(s));
    backend_settings(b, s);
    return OK;
}

void backend_settings(struct backend *b, const Thurn__Settings *s)
{
    b->limits = (struct backend_limits){.message_size = s->message_size_limit,
                                        .recipients = s->max_recipients,
                                        .sessions = s->max_connections};
    struct str separator = pb_str(s->recipient_separator);
    const struct directory_settings d = {.separator = separator.n ? separator.p[0] : 0,
                                         .no_special_folders = !s->special_folders,
                                         .keep_imported = !s->upgrade_hashes,
                                         .quota_bytes = s->quota,
                                         .quota_messages = s->quota_messages};
    directory_set(b->directory, &d);
    struct login_settings l = {
        .policy = {.free_failures = s->login_failures, .delay_max_ms = s->login_delay_max},
        .cache_ms = s->login_cache,
        .connections = {.account = s->max_connections_per_account,
                        .address = s->max_connections_per_address}};
    ip_nets_set(&l.shared, "shared_addresses", s->shared_addresses, s->n_shared_addresses);
    logins_set(b->logins, &l);
    (void)snprintf(b->hostname, sizeof b->hostname, "%.*s", STR_FMT(pb_str(s->hostname)));
    scan_pool_set_timeout(b->scan, s->scan_timeout);
    history_set(b->history, history_seconds(s));
}

void backend_peer(struct backend *b, Thurn__RoleKind kind, uint32_t index, uint64_t generation,
                  int fd)
{
    if (kind == THURN__ROLE_KIND__ROLE_SCANNER)
        scan_pool_add(b->scan, index, generation, fd);
    else if (kind == THURN__ROLE_KIND__ROLE_FRONTEND)
        frontend_add(b, index, generation, fd);
    else
        (void)close(fd);
}

/* -- stopping -- */

static void close_all(void *arg)
{
    struct backend *b = arg;
    logins_free(b->logins);
    sched_free(b->sched);
    history_free(b->history);
    scan_pool_free(b->scan);
    fair_budget_free(b->budget);
    directory_close(b->directory);
    store_close(b->store);
    timer_free(b->pauses);
    watches_free(b->watches);
    b->stopped(b);
}

void backend_check_stopped(struct backend *b)
{
    bool over = b->stopping && list_empty(&b->sessions) && list_empty(&b->admins) && b->looks == 0;
    if (!over || b->closing)
        return;
    b->closing = true;
    loop_post(b->loop, close_all, b); /* not below a callback of what is freed */
}

void backend_stop(struct backend *b)
{
    if (b->stopping)
        return;
    b->stopping = true;
    history_stop(b->history);
    admin_stop(b);
    frontends_free(b);
    logins_stop(b->logins);
    session_stop_all(b);
    scan_pool_stop(b->scan);
    backend_check_stopped(b);
}
