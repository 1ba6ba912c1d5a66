#include "roles/supervisor/config.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "roles/supervisor/identity.h"

enum { CONFIG_ANSWER_MAX = 1 << 20 };

/* In the child: no privileges, nothing but the open file and the pipe. */
static void config_child(FILE *in, const char *path, int out_fd)
{
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (identity_drop_to_nobody().code)
        _exit(1);
    struct arena a;
    arena_init(&a, CONFIG_ANSWER_MAX);
    Thurn__Configuration c;
    config_parse(in, path, &a, &c);
    struct buf packed = {0};
    pb_pack(&packed, &c.base);
    struct str left = buf_str(&packed);
    while (left.n) {
        ssize_t n = write(out_fd, left.p, left.n);
        if (n <= 0)
            _exit(1);
        left = str_skip(left, (size_t)n);
    }
    _exit(0);
}

static void config_collect(int fd, struct buf *out)
{
    for (;;) {
        uint8_t *room = buf_room(out, 4096);
        ssize_t n = room ? read(fd, room, 4096) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        buf_added(out, (size_t)n);
    }
}

/* Runs the child; its packed answer in `out`. */
static struct err config_run_child(FILE *in, const char *path, struct buf *out)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return err_sys("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pipe_fd[0]);
        config_child(in, path, pipe_fd[1]);
    }
    (void)close(pipe_fd[1]);
    if (pid > 0)
        config_collect(pipe_fd[0], out);
    (void)close(pipe_fd[0]);
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0 ? buf_err(out) : err_make(E_INVALID, "reading the configuration failed");
}

/* That this process may use. */
static unsigned processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

struct err config_read(const char *path, struct arena *a, Thurn__Configuration **out,
                       struct buf *explain)
{
    FILE *in = fopen(path, "re");
    if (!in) {
        buf_printf(explain, "cannot read %s: %s; name the file with --config", path,
                   strerror(errno));
        return err_sys("open configuration");
    }
    struct buf packed CLEANUP(buf_free) = {.max = CONFIG_ANSWER_MAX};
    struct err e = config_run_child(in, path, &packed);
    (void)fclose(in);
    ProtobufCMessage *m =
        e.code ? NULL : pb_unpack(a, &thurn__configuration__descriptor, buf_str(&packed));
    if (!m) {
        buf_printf(explain, "%s: the configuration could not be read", path);
        return e.code ? e : err_make(E_INVALID, "configuration record");
    }
    Thurn__Configuration *c = (Thurn__Configuration *)m;
    if (c->error.len || !c->settings) {
        buf_put(explain, pb_str(c->error));
        return err_make(E_INVALID, "configuration");
    }
    config_fit(c, processors());
    *out = c;
    return OK;
}
