#include "roles/backend/login.h"

#include "roles/backend/login_cache.h"

#include <sys/prctl.h>

enum {
    PER_LANE = 256, /* attempts from one address that wait for a thread */
    PER_NAME = 256, /* the same with one account's name, from where it has not logged in before */
    NICE = 5,       /* a third of the others' share */
};

/* The attempts from one address that wait for a thread. */
struct lane {
    struct list link; /* among those that have some */
    struct list waiting;
    uint64_t key;
    size_t n;
};

struct logins {
    struct loop *loop;
    struct directory *directory;
    struct connections *connections;
    struct list turns;    /* attempts that wait for their turn; the loop's */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    struct login_settings settings;
    struct login_limits *limits;
    struct login_cache *cache;
    struct list lanes; /* the next one first */
    struct map by_key;
    struct map names; /* of waiting attempts; the value is their number */
    bool stopping, ending;
    size_t n_threads;
    pthread_t *threads;
};

/* -- the queue; with the lock -- */

static struct lane *lane_of(struct logins *l, uint64_t key)
{
    struct lane *lane = map_get(&l->by_key, map_key_u64(&key));
    if (lane)
        return lane;
    lane = mem_alloc(sizeof *lane);
    lane->key = key;
    list_init(&lane->waiting);
    list_append(&l->lanes, &lane->link);
    (void)map_set(&l->by_key, map_key_u64(&key), lane);
    return lane;
}

static void lane_push(struct logins *l, uint64_t key, struct job *j)
{
    struct lane *lane = lane_of(l, key);
    list_append(&lane->waiting, &j->link);
    lane->n++;
}

static struct job *lane_pop(struct logins *l)
{
    struct list *first = list_pop(&l->lanes);
    if (!first)
        return NULL;
    struct lane *lane = container_of(first, struct lane, link);
    struct job *j = container_of(list_pop(&lane->waiting), struct job, link);
    if (--lane->n) {
        list_append(&l->lanes, &lane->link); /* the others first */
    } else {
        (void)map_remove(&l->by_key, map_key_u64(&lane->key));
        free(lane);
    }
    return j;
}

static size_t name_waits(const struct logins *l, uint64_t key)
{
    return (size_t)(uintptr_t)map_get(&l->names, map_key_u64(&key));
}

static void name_count(struct logins *l, uint64_t key, int by)
{
    size_t n = name_waits(l, key) + (size_t)by;
    if (n)
        (void)map_set(&l->names, map_key_u64(&key), (void *)(uintptr_t)n);
    else
        (void)map_remove(&l->names, map_key_u64(&key));
}

/* -- threads -- */

static void *hashing_main(void *arg)
{
    struct logins *l = arg;
    (void)prctl(PR_SET_NAME, "hashing");
    thread_step_back(NICE); /* the mail goes first */
    (void)pthread_mutex_lock(&l->lock);
    for (;;) {
        struct job *j = lane_pop(l);
        if (!j && l->ending)
            break;
        if (!j) {
            (void)pthread_cond_wait(&l->more, &l->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&l->lock);
        j->run(j); /* may free it */
        (void)pthread_mutex_lock(&l->lock);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

void logins_run(struct logins *l, struct job *j)
{
    (void)pthread_mutex_lock(&l->lock);
    lane_push(l, 0, j);
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_cond_signal(&l->more);
}

/* -- an attempt -- */

/* The answer is known already: any thread will do. */
static void refuse(struct login *login, struct err verdict)
{
    login->verdict = verdict;
    logins_run(login->logins, &login->job);
}

static void attempt_run(struct job *j)
{
    struct login *login = container_of(j, struct login, job);
    login->run(login);
}

static void attempt_turn(void *arg);

/* Its address has failed since the attempt came into the queue: back to wait for a turn. */
static void attempt_again(void *arg)
{
    struct login *login = arg;
    login_submit(login->logins, login);
}

static void attempt_taken(struct job *j)
{
    struct login *login = container_of(j, struct login, job);
    struct logins *l = login->logins;
    (void)pthread_mutex_lock(&l->lock);
    name_count(l, login->keys.name, -1);
    bool slowed =
        !l->stopping && !login->timer &&
        login_limits_slowed(l->limits, &l->settings.policy, &login->keys, clock_mono_us());
    (void)pthread_mutex_unlock(&l->lock);
    if (slowed)
        loop_post(l->loop, attempt_again, login);
    else
        login->run(login);
}

/* Whether too many wait already. What strangers do with a name fills no place of those who have
 * logged in with it from where they are: from an address of their own, that is. With the lock. */
static bool queue_is_full(struct logins *l, const struct login *login)
{
    const struct login_keys *keys = &login->keys;
    const struct lane *lane = map_get(&l->by_key, map_key_u64(&keys->from));
    if (!login->shared && lane && lane->n >= PER_LANE)
        return true;
    return name_waits(l, keys->name) >= PER_NAME &&
           (login->shared || !login_limits_known_good(l->limits, keys));
}

/* Into the queue of its address. */
static void attempt_queue(struct login *login)
{
    struct logins *l = login->logins;
    login->job.run = attempt_taken;
    (void)pthread_mutex_lock(&l->lock);
    bool full = queue_is_full(l, login);
    if (!full) {
        name_count(l, login->keys.name, 1);
        lane_push(l, login->keys.from, &login->job);
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (full) {
        login->job.run = attempt_run;
        refuse(login, err_make(E_LIMIT, "too many attempts at once"));
    } else {
        (void)pthread_cond_signal(&l->more);
    }
}

static void attempt_turn(void *arg)
{
    struct login *login = arg;
    list_remove(&login->link);
    attempt_queue(login);
}

/* With the lock. */
static bool is_shared(const struct logins *l, struct ip peer)
{
    return ip_is_own(peer) || ip_nets_have(&l->settings.shared, peer);
}

bool logins_is_shared(struct logins *l, struct ip peer)
{
    (void)pthread_mutex_lock(&l->lock);
    bool shared = is_shared(l, peer);
    (void)pthread_mutex_unlock(&l->lock);
    return shared;
}

void login_submit(struct logins *l, struct login *login)
{
    struct buf name CLEANUP(buf_free) = {0};
    directory_login_name(l->directory, login->user, &name);
    login->logins = l;
    login->job.run = attempt_run;
    list_init(&login->link);
    (void)pthread_mutex_lock(&l->lock);
    login->shared = is_shared(l, login->peer);
    login->keys = login_limits_keys(l->limits, login->peer, login->shared, buf_str(&name));
    uint64_t wait = l->stopping ? LOGIN_REFUSED
                                : login_limits_wait(l->limits, &l->settings.policy, &login->keys,
                                                    clock_mono_us());
    bool stopping = l->stopping;
    (void)pthread_mutex_unlock(&l->lock);
    if (stopping) {
        refuse(login, err_make(E_CLOSED, "the backend is going down"));
    } else if (wait == LOGIN_REFUSED) {
        refuse(login, err_make(E_DENIED, "too many failures"));
    } else if (wait) {
        login->timer = timer_new(l->loop, attempt_turn, login);
        list_append(&l->turns, &login->link);
        timer_set(login->timer, wait);
    } else {
        attempt_queue(login);
    }
}

void logins_stop(struct logins *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->stopping = true;
    (void)pthread_mutex_unlock(&l->lock);
    for (struct list *t; (t = list_pop(&l->turns));) {
        struct login *login = container_of(t, struct login, link);
        timer_set(login->timer, 0);
        login->job.run = attempt_run;
        refuse(login, err_make(E_CLOSED, "the backend is going down"));
    }
}

/* -- the password -- */

/* One that was right a moment ago, of credentials that are the same still. */
static bool is_known(struct logins *l, const struct login_tag *tag, struct principal *out)
{
    (void)pthread_mutex_lock(&l->lock);
    bool known = login_cache_find(l->cache, tag, l->settings.cache_ms, clock_mono_us(), out);
    (void)pthread_mutex_unlock(&l->lock);
    return known && directory_may_go_on(l->directory, out).code == E_OK;
}

static struct err password_check(struct login *login, struct principal *out)
{
    struct logins *l = login->logins;
    if (login->verdict.code)
        return login->verdict;
    struct login_tag tag = login_cache_tag(l->cache, login->user, login->password);
    bool known = is_known(l, &tag, out);
    struct err e =
        known ? OK : directory_authenticate(l->directory, login->user, login->password, out);
    uint64_t now = clock_mono_us();
    (void)pthread_mutex_lock(&l->lock);
    if (e.code == E_DENIED)
        login_limits_failed(l->limits, &l->settings.policy, &login->keys, now);
    else if (!e.code)
        login_limits_passed(l->limits, &login->keys, now);
    if (!e.code && !known)
        login_cache_put(l->cache, &tag, out, now);
    (void)pthread_mutex_unlock(&l->lock);
    return e;
}

static void log_refusal(const struct login *login, struct err e)
{
    struct buf peer CLEANUP(buf_free) = {0};
    ip_format(&peer, login->peer);
    log_info("login.refused", LF_STR("user", str_sub(login->user, 0, 320)),
             LF_STR("peer", buf_str(&peer)), LF_C("protocol", login->protocol),
             LF_U64("tls", login->tls), LF_C("reason", e.why));
}

struct err login_check(struct login *login, struct principal *out)
{
    struct logins *l = login->logins;
    struct err e = password_check(login, out);
    if (!e.code) {
        (void)pthread_mutex_lock(&l->lock);
        struct connection_limits limits = l->settings.connections;
        (void)pthread_mutex_unlock(&l->lock);
        if (login->shared)
            limits.address = 0;
        e = connections_add(l->connections, &limits, login->id, out->account, login->peer);
    }
    if (e.code)
        log_refusal(login, e);
    return e;
}

/* -- life -- */

struct connections *logins_connections(struct logins *l)
{
    return l->connections;
}

void logins_set(struct logins *l, const struct login_settings *s)
{
    (void)pthread_mutex_lock(&l->lock);
    ip_nets_free(&l->settings.shared);
    l->settings = *s;
    (void)pthread_mutex_unlock(&l->lock);
}

struct logins *logins_new(struct loop *loop, struct directory *d, unsigned threads)
{
    struct logins *l = mem_alloc(sizeof *l);
    l->loop = loop;
    l->directory = d;
    l->connections = connections_new();
    l->limits = login_limits_new();
    l->cache = login_cache_new();
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->more, NULL);
    list_init(&l->turns);
    list_init(&l->lanes);
    l->n_threads = MAX(threads, 1u);
    l->threads = mem_alloc(l->n_threads * sizeof *l->threads);
    for (size_t i = 0; i < l->n_threads; i++)
        check(pthread_create(&l->threads[i], NULL, hashing_main, l) == 0);
    return l;
}

void logins_free(struct logins *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->ending = true;
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_cond_broadcast(&l->more);
    for (size_t i = 0; i < l->n_threads; i++)
        (void)pthread_join(l->threads[i], NULL);
    check(list_empty(&l->lanes) && list_empty(&l->turns));
    map_free(&l->by_key);
    map_free(&l->names);
    connections_free(l->connections);
    ip_nets_free(&l->settings.shared);
    login_limits_free(l->limits);
    login_cache_free(l->cache);
    (void)pthread_cond_destroy(&l->more);
    (void)pthread_mutex_destroy(&l->lock);
    free(l->threads);
    free(l);
}
