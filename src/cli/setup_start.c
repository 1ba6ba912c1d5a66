#include "cli/setup.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { START_MS = 60000 };

/* A thurn of our own for a moment: its configuration and sockets lie in a directory of its own. */
struct first_run {
    char dir[64], config[96];
    pid_t pid;
    int notes; /* the child's standard output */
};

NORETURN static void first_run_child(struct first_run *r, int out)
{
    char *argv[] = {(char[]){"thurn"},  (char[]){"--config"}, r->config,
                    (char[]){"--note"}, (char[]){"run"},      NULL};
    (void)signal(SIGINT, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)unsetenv("NOTIFY_SOCKET"); /* this is not the service that anybody waits for */
    if (dup2(out, STDOUT_FILENO) >= 0)
        (void)execv("/proc/self/exe", argv);
    fprintf(stderr, "thurn: cannot run /proc/self/exe: %s\n", strerror(errno));
    _exit(127);
}

static bool first_run_begin(struct first_run *r, const struct setup *s)
{
    char text[2 * SETUP_PATH];
    int pipe_fd[2];
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/thurn-setup-XXXXXX");
    if (!mkdtemp(r->dir)) {
        fprintf(stderr, "thurn: cannot make a directory in /tmp: %s\n", strerror(errno));
        return false;
    }
    if (!setup_text(r->config, sizeof r->config, "%s/thurn.conf", r->dir) ||
        !setup_text(text, sizeof text,
                    "hostname = \"%s\"\ndata_dir = \"%s\"\nrun_dir = \"%s\"\n"
                    "scanners = 1\nlog_level = error\n",
                    s->hostname, s->data_dir, r->dir) ||
        !setup_file(r->config, 0600, str_c(text)))
        return false;
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return false;
    r->pid = fork();
    if (r->pid == 0)
        first_run_child(r, pipe_fd[1]);
    (void)close(pipe_fd[1]);
    r->notes = pipe_fd[0];
    return r->pid > 0;
}

/* Its line on standard output says that it serves; its end, that it said why not. */
static bool first_run_ready(const struct first_run *r)
{
    struct pollfd p = {.fd = r->notes, .events = POLLIN};
    char byte;
    int n;
    do {
        n = poll(&p, 1, START_MS);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        fprintf(stderr, "thurn: it is not ready after %d s\n", START_MS / 1000);
    return n > 0 && read(r->notes, &byte, 1) == 1;
}

static bool first_run_end(struct first_run *r)
{
    int status = -1;
    if (r->pid > 0) {
        (void)kill(r->pid, SIGTERM);
        while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (r->notes >= 0)
        (void)close(r->notes);
    (void)unlink(r->config);
    (void)rmdir(r->dir);
    return status == 0;
}

struct admin_outcome {
    struct cli *cli; /* NULL: what is wrong is not printed */
    Thurn__Code code;
};

static bool admin_outcome(struct frame *f, void *arg)
{
    struct admin_outcome *o = arg;
    if (f->type->number != RPC_ADMIN_ANSWER)
        return false;
    const Thurn__AdminAnswer *a = (const Thurn__AdminAnswer *)f->message;
    o->code = a->status ? a->status->code : THURN__CODE__TEMPORARY;
    if (o->code != THURN__CODE__DONE && o->cli)
        (void)cli_status(o->cli, a->status);
    return true;
}

static Thurn__Code admin_do(struct cli *c, bool quiet, uint16_t type, const ProtobufCMessage *m)
{
    struct admin_outcome o = {.cli = quiet ? NULL : c, .code = THURN__CODE__TEMPORARY};
    int fd = cli_connect(c, CLI_BACKEND);
    if (fd < 0)
        return THURN__CODE__TEMPORARY;
    if (cli_ask(fd, type, m, admin_outcome, &o) != CLI_OK)
        o.code = THURN__CODE__TEMPORARY;
    (void)close(fd);
    return o.code;
}

static bool first_run_fill(const struct first_run *r, const struct setup *s)
{
    struct cli c = {.config = r->config, .run_dir = r->dir};
    Thurn__AdminDomainAdd domain = THURN__ADMIN_DOMAIN_ADD__INIT;
    domain.name = pb_bytes(str_c(s->domain));
    domain.language = pb_bytes(str_c(s->language));
    Thurn__AdminAccountAdd account = THURN__ADMIN_ACCOUNT_ADD__INIT;
    account.address = pb_bytes(str_c(s->account));
    account.password = pb_bytes(str_c(s->password));
    Thurn__Code added = admin_do(&c, s->guessed, RPC_ADMIN_DOMAIN_ADD, &domain.base);
    if (added == THURN__CODE__INVALID && s->guessed) { /* there are no names in that language */
        domain.language = pb_bytes(STR(""));
        added = admin_do(&c, false, RPC_ADMIN_DOMAIN_ADD, &domain.base);
    }
    return added == THURN__CODE__DONE &&
           admin_do(&c, false, RPC_ADMIN_ACCOUNT_ADD, &account.base) == THURN__CODE__DONE;
}

bool setup_start(const struct setup *s)
{
    struct first_run r = {.pid = -1, .notes = -1};
    bool done = first_run_begin(&r, s) && first_run_ready(&r) && first_run_fill(&r, s);
    return first_run_end(&r) && done;
}
