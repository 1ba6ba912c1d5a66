#include "net/sandbox.h"

#include <sys/syscall.h>

/* clang-format off */
const int sandbox_syscalls_common[] = {
    /* memory */
    SYS_brk, SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap,
    /* clocks */
    SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_gettimeofday, SYS_nanosleep,
    SYS_time,
    /* threads and the process itself */
    SYS_clone, SYS_exit, SYS_exit_group, SYS_futex, SYS_get_robust_list, SYS_getcpu, SYS_getegid,
    SYS_geteuid, SYS_getgid, SYS_getpid, SYS_getppid, SYS_getrandom, SYS_getrusage, SYS_gettid,
    SYS_getuid, SYS_membarrier, SYS_prctl, SYS_prlimit64, SYS_restart_syscall, SYS_rseq,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity,
    SYS_sched_yield, SYS_set_robust_list, SYS_set_tid_address, SYS_sigaltstack, SYS_sysinfo,
    SYS_tgkill, SYS_uname,
    /* descriptors that it has */
    SYS_close, SYS_dup, SYS_dup3, SYS_fcntl, SYS_fstat, SYS_ftruncate, SYS_lseek,
    SYS_memfd_create, SYS_newfstatat, SYS_pread64, SYS_preadv, SYS_pwrite64, SYS_pwritev,
    SYS_read, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_shutdown,
    SYS_write, SYS_writev,
    /* waiting for them */
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_wait, SYS_eventfd2, SYS_pipe2,
    SYS_poll, SYS_ppoll,
    -1,
};

const int sandbox_syscalls_paths[] = {
    SYS_access, SYS_copy_file_range, SYS_faccessat, SYS_faccessat2, SYS_fadvise64, SYS_fallocate,
    SYS_fdatasync, SYS_flock, SYS_fstatfs, SYS_fsync, SYS_getcwd, SYS_getdents64, SYS_lstat,
    SYS_mkdir, SYS_mkdirat, SYS_openat, SYS_readahead, SYS_readlink, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_rmdir, SYS_stat, SYS_statfs, SYS_statx, SYS_sync_file_range, SYS_unlink,
    SYS_unlinkat, SYS_link, SYS_linkat,
    -1,
};

#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) ||                             \
    HAS_FEATURE(undefined_behavior_sanitizer)
#define SANITIZER_CALLS SYS_arch_prctl, SYS_getrlimit, SYS_msync, SYS_pipe, SYS_readlink,
#else
#define SANITIZER_CALLS
#endif
const int sandbox_syscalls_sanitizer[] = {SANITIZER_CALLS -1};
/* clang-format on */
