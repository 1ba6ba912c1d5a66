#include "net/sandbox.h"

#include <sys/syscall.h>

/* From the kernel's interface description; Debian's header ends at ABI 2. */
struct landlock_ruleset {
    uint64_t fs, net, scoped;
};
struct landlock_path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));
enum { LANDLOCK_VERSION = 1, LANDLOCK_RULE_PATH = 1 };

/* clang-format off */
static const uint64_t
    FS_WRITE_FILE = 1 << 1, FS_READ_FILE = 1 << 2, FS_READ_DIR = 1 << 3, FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5, FS_MAKE_DIR = 1 << 7, FS_MAKE_REG = 1 << 8, FS_ABI_1 = (1 << 13) - 1,
    FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15,
    NET_BIND_AND_CONNECT = 3, SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 3;
/* clang-format on */

/* What is denied unless a rule allows it: everything that this kernel can deny. */
static struct landlock_ruleset landlock_handled(long abi)
{
    struct landlock_ruleset r = {.fs = FS_ABI_1};
    if (abi >= 2)
        r.fs |= FS_REFER;
    if (abi >= 3)
        r.fs |= FS_TRUNCATE;
    if (abi >= 4)
        r.net = NET_BIND_AND_CONNECT;
    if (abi >= 5)
        r.fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        r.scoped = SCOPE_ABSTRACT_SOCKET_AND_SIGNAL;
    return r;
}

static size_t landlock_ruleset_size(long abi)
{
    size_t words = abi >= 6 ? 3 : abi >= 4 ? 2 : 1;
    return words * sizeof(uint64_t);
}

static uint64_t landlock_rights(const struct sandbox_path *p, bool directory)
{
    uint64_t rights = FS_READ_FILE;
    if (p->write)
        rights |= FS_WRITE_FILE | FS_TRUNCATE;
    if (!directory)
        return rights; /* the kernel refuses a directory's rights for a file */
    rights |= FS_READ_DIR;
    if (p->write)
        rights |= FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER;
    return rights;
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static struct err landlock_allow(int ruleset, const struct sandbox_path *p, uint64_t handled)
{
    int fd CLEANUP(close_fd) = open(p->path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys("a path of the sandbox cannot be opened");
    struct landlock_path_rule rule = {.allowed = landlock_rights(p, S_ISDIR(st.st_mode)) & handled,
                                      .fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH, &rule, 0) < 0)
        return err_sys("landlock_add_rule");
    return OK;
}

struct err landlock_enter(const struct sandbox *s, unsigned *out_abi)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    if (abi <= 0 && !s->relaxed)
        return err_make(E_UNSUPPORTED, "the kernel has no Landlock, or it is switched off");
    *out_abi = abi > 0 ? (unsigned)abi : 0;
    if (abi <= 0)
        return OK;
    struct landlock_ruleset handled = landlock_handled(abi);
    long made = syscall(SYS_landlock_create_ruleset, &handled, landlock_ruleset_size(abi), 0);
    if (made < 0)
        return err_sys("landlock_create_ruleset");
    int ruleset CLEANUP(close_fd) = (int)made;
    for (size_t i = 0; i < s->n_paths; i++)
        TRY(landlock_allow(ruleset, &s->paths[i], handled.fs));
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return err_sys("landlock_restrict_self");
    return OK;
}
