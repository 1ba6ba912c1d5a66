#include "base/base.h"

#include "net/net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Each attempt runs in a child of its own that has entered a sandbox; true: it succeeded. */
static char dir[64];

static bool try_open(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}
static bool try_open_inside(void)
{
    return open(dir, O_RDONLY | O_DIRECTORY) >= 0;
}
static bool try_stat(void)
{
    struct stat st;
    return stat("/etc/passwd", &st) == 0;
}
static bool try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}
static bool try_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}
static bool try_netlink_pair(void)
{
    int fds[2];
    return socketpair(AF_INET, SOCK_STREAM, 0, fds) == 0 || errno != EPERM;
}
static bool try_unix_pair(void)
{
    int fds[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0;
}
/* On sockets made before the sandbox. */
static int tcp, unix_socket;
static bool try_connect(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(tcp, (struct sockaddr *)&in, sizeof in) == 0 || errno != EPERM;
}
static bool try_bind(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    return bind(tcp, (struct sockaddr *)&in, sizeof in) == 0 || errno != EPERM;
}
/* Two listening sockets; one of them is shut down, which leaves it as if it were new. */
static int listening, target;
static bool try_connect_by_sending(void)
{
    struct sockaddr_in to;
    socklen_t n = sizeof to;
    struct iovec one = {"x", 1};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &one, .msg_iovlen = 1};
    (void)getsockname(target, (struct sockaddr *)&to, &n);
    (void)shutdown(listening, SHUT_RD);
    return sendto(listening, "x", 1, MSG_FASTOPEN | MSG_DONTWAIT, (struct sockaddr *)&to, n) >= 0 ||
           errno != EPERM || sendmsg(listening, &m, MSG_FASTOPEN | MSG_DONTWAIT) >= 0 ||
           errno != EPERM;
}
/* A pair of datagram sockets can send to any third one. */
static bool try_unix_datagram(void)
{
    int fds[2];
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0 || errno != EPERM;
}
static bool try_socket_option(void)
{
    int on = 1;
    return setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 || errno != EPERM;
}
static bool try_usual_socket_option(void)
{
    int on = 1;
    return setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}
static bool try_send(void)
{
    int fds[2];
    return chan_pair(fds).code == E_OK && send(fds[0], "x", 1, MSG_NOSIGNAL) == 1;
}
static bool try_exec(void)
{
    return execl("/bin/true", "true", NULL) == 0 || errno != EPERM;
}
static bool try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 || errno != EPERM;
}
static bool try_kill_parent(void)
{
    return kill(getppid(), 0) == 0;
}
static bool try_tgkill_parent(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}
static bool try_fork(void)
{
    return fork() >= 0;
}
static bool try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) != MAP_FAILED;
}
static bool try_setown(void)
{
    return fcntl(unix_socket, F_SETOWN, getppid()) == 0;
}

static bool try_write_inside(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/new", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char c;
    bool ok = fd >= 0 && write(fd, "x", 1) == 1 && pread(fd, &c, 1, 0) == 1 &&
              ftruncate(fd, 0) == 0 && fdatasync(fd) == 0;
    char other[128];
    (void)snprintf(other, sizeof other, "%s/other", dir);
    return ok && rename(path, other) == 0 && unlink(other) == 0;
}
static bool try_create_inside(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/new", dir);
    return open(path, O_RDWR | O_CREAT, 0600) >= 0;
}

static void *on_thread(void *arg)
{
    *(bool *)arg = !try_open();
    return NULL;
}
static bool try_thread(void)
{
    pthread_t t;
    bool denied_there = false;
    return pthread_create(&t, NULL, on_thread, &denied_there) == 0 && pthread_join(t, NULL) == 0 &&
           denied_there;
}

static bool try_loop_and_channel(void)
{
    struct loop *l;
    int fds[2];
    if (loop_new(&l).code || chan_pair(fds).code)
        return false;
    struct sealed s;
    if (sealed_new(&s, 10).code || sealed_put(&s, STR("abc")).code || sealed_finish(&s).code)
        return false;
    struct str map;
    if (sealed_map(s.fd, 3, &map).code)
        return false;
    sealed_unmap(map);
    loop_free(l);
    return true;
}

enum { NO_PATHS, READ_PATH, WRITE_PATH };
enum { CHILD_SUCCEEDED = 10, CHILD_DENIED = 11, CHILD_NO_SANDBOX = 12 };

static bool succeeds(bool (*attempt)(void), int paths)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int calls[256];
        size_t n = 0;
        for (; sandbox_syscalls_common[n] >= 0; n++)
            calls[n] = sandbox_syscalls_common[n];
        calls[n++] = SYS_socketpair;
        calls[n++] = SYS_setsockopt;
        calls[n++] = SYS_getsockname;
        calls[n++] = SYS_openat; /* given, but of no use without paths */
        struct sandbox_path path = {.path = dir, .write = paths == WRITE_PATH};
        struct sandbox box = {
            .syscalls = calls, .n_syscalls = n, .paths = &path, .n_paths = paths != NO_PATHS};
        unsigned abi = 0;
        if (sandbox_enter(&box, &abi).code || abi == 0)
            _exit(CHILD_NO_SANDBOX);
        _exit(attempt() ? CHILD_SUCCEEDED : CHILD_DENIED);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), CHILD_NO_SANDBOX);
    return WEXITSTATUS(status) == CHILD_SUCCEEDED;
}

static void what_is_outside_cannot_be_reached(void **state)
{
    static bool (*const attempts[])(void) = {
        try_open,
        try_stat,
        try_socket,
        try_unix_socket,
        try_netlink_pair,
        try_connect,
        try_bind,
        try_exec,
        try_ptrace,
        try_kill_parent,
        try_tgkill_parent,
        try_fork,
        try_code,
        try_setown,
        try_open_inside,
        try_create_inside,
        try_connect_by_sending,
        try_unix_datagram,
        try_socket_option,
    };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
        assert_false(succeeds(attempts[i], NO_PATHS));
}

static void with_a_directory_the_rest_stays_out_of_reach(void **state)
{
    static bool (*const attempts[])(void) = {
        try_open,
        try_socket,
        try_connect,
        try_bind,
        try_exec,
        try_ptrace,
        try_kill_parent,
        try_tgkill_parent,
        try_fork,
        try_code,
        try_connect_by_sending,
        try_unix_datagram,
        try_socket_option,
    };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
        assert_false(succeeds(attempts[i], WRITE_PATH));
}

static void an_allowed_directory_can_be_used(void **state)
{
    assert_true(succeeds(try_write_inside, WRITE_PATH));
    assert_true(succeeds(try_open_inside, READ_PATH));
    assert_false(succeeds(try_create_inside, READ_PATH));
}

static void what_a_role_needs_works(void **state)
{
    assert_true(succeeds(try_unix_pair, NO_PATHS));
    assert_true(succeeds(try_send, NO_PATHS));
    assert_true(succeeds(try_usual_socket_option, NO_PATHS));
    assert_true(succeeds(try_thread, NO_PATHS));
    assert_true(succeeds(try_loop_and_channel, NO_PATHS));
}

static int setup(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/thurn-sandbox-XXXXXX");
    tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return mkdtemp(dir) && tcp >= 0 && unix_socket >= 0 && listen(listening, 1) == 0 &&
                   listen(target, 1) == 0
               ? 0
               : -1;
}

static int teardown(void **state)
{
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_outside_cannot_be_reached),
        cmocka_unit_test(with_a_directory_the_rest_stays_out_of_reach),
        cmocka_unit_test(an_allowed_directory_can_be_used),
        cmocka_unit_test(what_a_role_needs_works),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
