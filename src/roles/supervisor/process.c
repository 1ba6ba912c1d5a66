#include "roles/supervisor/private.h"

#include <sys/syscall.h>

#include "roles/supervisor/identity.h"

static const char *role_word(Thurn__RoleKind role)
{
    switch (role) {
    case THURN__ROLE_KIND__ROLE_FRONTEND: return "frontend";
    case THURN__ROLE_KIND__ROLE_BACKEND: return "backend";
    case THURN__ROLE_KIND__ROLE_SCANNER: return "scanner";
    default: return "none";
    }
}

/* In the child, with async-signal-safe calls only where it matters: the supervisor has one thread.
 */
NORETURN static void process_child(Thurn__RoleKind role, int binary, int control)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int moved = fcntl(control, F_DUPFD, 10);
    int exec_fd = fcntl(binary, F_DUPFD_CLOEXEC, 10);
    if (moved < 0 || exec_fd < 0 || dup2(moved, 3) < 0 || close(moved) < 0)
        _exit(126);
    if (identity_become(role).code)
        _exit(126);
    char word[16];
    (void)snprintf(word, sizeof word, "%s", role_word(role));
    char *argv[] = {(char[]){"thurn"}, (char[]){"role"}, word, NULL};
    /* By descriptor: the role's user need not be able to reach the directory it lies in. */
    (void)syscall(SYS_execveat, exec_fd, "", argv, environ, AT_EMPTY_PATH);
    _exit(127);
}

struct err process_spawn(Thurn__RoleKind role, uint32_t index, pid_t *out_pid, int *out_fd)
{
    int pair[2];
    int binary = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (binary < 0)
        return err_sys("open own binary");
    struct err e = chan_pair(pair);
    if (e.code) {
        (void)close(binary);
        return e;
    }
    pid_t pid = fork();
    if (pid == 0)
        process_child(role, binary, pair[1]);
    (void)close(binary);
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        return err_sys("fork");
    }
    log_debug("role.spawned", LF_C("of", role_word(role)), LF_U64("number", index),
              LF_U64("pid", pid));
    *out_pid = pid;
    *out_fd = pair[0];
    return OK;
}
