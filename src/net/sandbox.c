#include "net/sandbox.h"

#include <dirent.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(THREAD_SANITIZER)
#define THREAD_SANITIZER 1
#endif
#ifndef THREAD_SANITIZER
#define THREAD_SANITIZER 0
#endif

/* Calls that are allowed for certain arguments only: all that a row names. */
enum { RULE_ARGS = 2, SOCK_TYPES = 0xf };
struct call_rule {
    int call;
    unsigned n;
    struct scmp_arg_cmp args[RULE_ARGS];
};
/* clang-format off */
#define IS(n, value)                   {n, SCMP_CMP_EQ, value, 0}
#define BITS(n, mask, value)           {n, SCMP_CMP_MASKED_EQ, mask, value}
#define ARG_IS(call, i, value)         {call, 1, {IS(i, value)}}
#define ARG_BITS(call, i, mask, value) {call, 1, {BITS(i, mask, value)}}
#define ARGS(call, one, other)         {call, 2, {one, other}}
/* clang-format on */

static const struct call_rule call_rules[] = {
    /* threads, no processes */
    ARG_BITS(SYS_clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM),
    /* nothing becomes code that is not code already */
    ARG_BITS(SYS_mmap, 2, PROT_EXEC, 0),
    ARG_BITS(SYS_mprotect, 2, PROT_EXEC, 0),
    ARG_IS(SYS_prctl, 0, PR_SET_NAME),
    ARG_IS(SYS_prctl, 0, PR_GET_NAME),
    /* a thread may step back behind others, itself only */
    ARG_IS(SYS_sched_getattr, 0, 0),
    ARG_IS(SYS_sched_setattr, 0, 0),
    /* limits may be read, not set */
    ARG_IS(SYS_prlimit64, 2, 0),
    /* no datagrams: those can be addressed to any socket that has a path */
    ARGS(SYS_socketpair, IS(0, AF_UNIX), BITS(1, SOCK_TYPES, SOCK_STREAM)),
    /* no connection: a listening socket that is shut down can be connected by sending */
    ARG_BITS(SYS_sendmsg, 2, MSG_FASTOPEN, 0),
    ARGS(SYS_sendto, IS(4, 0), BITS(3, MSG_FASTOPEN, 0)),
    ARGS(SYS_setsockopt, IS(1, IPPROTO_TCP), IS(2, TCP_NODELAY)),
    /* no F_SETOWN and F_SETSIG, with which the kernel sends signals to others */
    ARG_IS(SYS_fcntl, 1, F_DUPFD),
    ARG_IS(SYS_fcntl, 1, F_DUPFD_CLOEXEC),
    ARG_IS(SYS_fcntl, 1, F_GETFD),
    ARG_IS(SYS_fcntl, 1, F_SETFD),
    ARG_IS(SYS_fcntl, 1, F_GETFL),
    ARG_IS(SYS_fcntl, 1, F_SETFL),
    ARG_IS(SYS_fcntl, 1, F_GETLK),
    ARG_IS(SYS_fcntl, 1, F_SETLK),
    ARG_IS(SYS_fcntl, 1, F_ADD_SEALS),
    ARG_IS(SYS_fcntl, 1, F_GET_SEALS),
    ARG_IS(SYS_fcntl, 1, F_SET_RW_HINT),
};

static bool is_on(const int *list, int call)
{
    while (*list >= 0 && *list != call)
        list++;
    return *list >= 0;
}

static int rule_add(scmp_filter_ctx ctx, int call, unsigned n, const struct scmp_arg_cmp *args)
{
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, n, args);
}

/* Allows one call, as far as the sandbox may have it at all. */
static int call_allow(scmp_filter_ctx ctx, const struct sandbox *s, int call)
{
    if (call == SYS_tgkill) { /* abort() */
        struct scmp_arg_cmp self = {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0};
        return rule_add(ctx, call, 1, &self);
    }
    if (call == SYS_newfstatat && s->n_paths == 0) { /* fstat() */
        struct scmp_arg_cmp by_fd = {3, SCMP_CMP_EQ, AT_EMPTY_PATH, 0};
        return rule_add(ctx, call, 1, &by_fd);
    }
    if (is_on(sandbox_syscalls_paths, call) && s->n_paths == 0)
        return 0;
    int result = 0;
    bool limited = false;
    for (size_t i = 0; i < ARRAY_LEN(call_rules) && result == 0; i++) {
        if (call_rules[i].call != call)
            continue;
        limited = true;
        result = rule_add(ctx, call, call_rules[i].n, call_rules[i].args);
    }
    return limited ? result : rule_add(ctx, call, 0, NULL);
}

static int list_allow(scmp_filter_ctx ctx, const struct sandbox *s, const int *list)
{
    int result = 0;
    for (; *list >= 0 && result == 0; list++)
        result = call_allow(ctx, s, *list);
    return result;
}

static int filter_fill(scmp_filter_ctx ctx, const struct sandbox *s)
{
    int result = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0)
        result = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    for (size_t i = 0; i < s->n_syscalls && result == 0; i++)
        result = call_allow(ctx, s, s->syscalls[i]);
    if (result == 0 && s->n_paths)
        result = list_allow(ctx, s, sandbox_syscalls_paths);
    for (const int *c = sandbox_syscalls_sanitizer; *c >= 0 && result == 0; c++)
        result = rule_add(ctx, *c, 0, NULL);
    /* Its arguments lie in memory where no filter sees them; libc then takes clone. */
    if (result == 0)
        result = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0);
    return result;
}

static struct err seccomp_enter(const struct sandbox *s)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return err_make(E_IO, "seccomp_init");
    int result = filter_fill(ctx, s);
    if (result == 0)
        result = seccomp_load(ctx);
    seccomp_release(ctx);
    return result == 0 ? OK : (struct err){E_IO, -result, "seccomp filter"};
}

/* Landlock takes the calling thread only. (ThreadSanitizer has a thread of its own.) */
static bool other_threads_run(void)
{
    DIR *d = THREAD_SANITIZER ? NULL : opendir("/proc/self/task");
    if (!d)
        return false;
    size_t n = 0;
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n > 1;
}

struct err sandbox_enter(const struct sandbox *s, unsigned *out_abi)
{
    if (other_threads_run())
        return err_make(E_CONFLICT, "threads were started before the sandbox");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys("no new privileges");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_sys("not dumpable");
    unsigned abi = 0;
    TRY(landlock_enter(s, &abi));
    TRY(seccomp_enter(s));
    *out_abi = abi;
    return OK;
}
