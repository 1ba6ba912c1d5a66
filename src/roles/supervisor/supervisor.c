#include "roles/supervisor/supervisor.h"

#include "roles/supervisor/identity.h"
#include "roles/supervisor/private.h"

static void on_child(int signo, void *arg)
{
    slots_reap(arg);
}

static void on_end(int signo, void *arg)
{
    supervisor_stop(arg, 0);
}

/* What a running thurn cannot change: said, not silently left. */
static struct str reload_leaves(const Thurn__Configuration *was, const Thurn__Configuration *is)
{
    bool same = was->n_listen == is->n_listen && was->frontends == is->frontends &&
                str_eq(pb_str(was->run_dir), pb_str(is->run_dir)) &&
                str_eq(pb_str(was->settings->data_dir), pb_str(is->settings->data_dir)) &&
                was->settings->scanners == is->settings->scanners &&
                was->settings->workers == is->settings->workers;
    for (size_t i = 0; same && i < was->n_listen; i++)
        same = was->listen[i]->kind == is->listen[i]->kind &&
               str_eq(pb_str(was->listen[i]->address), pb_str(is->listen[i]->address));
    return same ? STR("reloaded")
                : STR("reloaded; changes of listen, frontends, scanners, workers, data_dir and "
                      "run_dir take effect when thurn is started again");
}

struct str supervisor_take_configuration(struct supervisor *s, struct arena *fresh,
                                         Thurn__Configuration *config)
{
    struct str said = reload_leaves(s->config, config);
    config->frontends = s->config->frontends;
    config->settings->scanners = s->config->settings->scanners;
    config->settings->data_dir = pb_bytes(str_dup(fresh, pb_str(s->config->settings->data_dir)));
    notify_state(s, STR("RELOADING=1"));
    arena_free(&s->arena);
    s->arena = *fresh;
    s->config = config;
    handover_reload(s);
    liveness_set(s);
    if (s->announced)
        notify_state(s, STR("READY=1"));
    log_info("config.reloaded", LF_STR("note", said));
    return said;
}

/* SIGHUP is `thurn reload` without an answer. */
static void on_hangup(int signo, void *arg)
{
    struct supervisor *s = arg;
    struct arena fresh;
    arena_init(&fresh, 4 << 20);
    Thurn__Configuration *config;
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    if (config_read(s->config_path, &fresh, &config, &explain).code) {
        log_error("config.refused", LF_STR("reason", buf_str(&explain)));
        arena_free(&fresh);
        return;
    }
    (void)supervisor_take_configuration(s, &fresh, config);
}

static struct err supervisor_prepare(struct supervisor *s, struct buf *explain)
{
    TRY(config_read(s->config_path, &s->arena, &s->config, explain));
    log_open("supervisor", 0, (enum log_level)s->config->settings->log_level);
    TRY(sockets_directories(s, explain));
    int control_fd;
    TRY(sockets_control(s->control_path, &control_fd, explain));
    TRY(loop_new(&s->loop));
    s->control = listener_new(s->loop, control_fd, control_accept, s);
    TRY(sockets_control(s->admin_path, &s->admin_fd, explain));
    TRY(sockets_bind(s, explain));
    return identity_keep_few_capabilities();
}

static void supervisor_clear(struct supervisor *s)
{
    if (s->control) {
        (void)unlink(s->control_path);
        (void)unlink(s->admin_path);
    }
}

int supervisor_run(const char *config_path, bool note)
{
    struct supervisor s = {.config_path = config_path, .note = note, .admin_fd = -1};
    list_init(&s.processes);
    arena_init(&s.arena, 4 << 20);
    log_open("supervisor", 0, LOG_INFO);
    notify_open(&s);
    (void)signal(SIGPIPE, SIG_IGN);
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct err e = supervisor_prepare(&s, &explain);
    if (e.code) {
        if (!explain.n)
            buf_printf(&explain, "%s: %s", e.why, e.sys ? strerror(e.sys) : errc_name(e.code));
        fprintf(stderr, "thurn: %.*s\n", STR_FMT(buf_str(&explain)));
        supervisor_clear(&s);
        return 1;
    }
    loop_signal(s.loop, SIGCHLD, on_child, &s);
    loop_signal(s.loop, SIGTERM, on_end, &s);
    loop_signal(s.loop, SIGINT, on_end, &s);
    loop_signal(s.loop, SIGHUP, on_hangup, &s);
    slots_make(&s);
    liveness_set(&s);
    for (size_t i = 0; i < s.n_slots; i++)
        slot_start(&s.slots[i]);
    loop_run(s.loop);
    supervisor_clear(&s);
    log_info("thurn.stopped");
    return s.exit_code;
}
