#include "roles/supervisor/identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { IDENTITY_BASE = 64100, IDENTITY_NOBODY = 65534 };

static const char *const identity_users[] = {
    [THURN__ROLE_KIND__ROLE_FRONTEND] = "thurn-frontend",
    [THURN__ROLE_KIND__ROLE_BACKEND] = "thurn-backend",
    [THURN__ROLE_KIND__ROLE_SCANNER] = "thurn-scanner",
};

void identity_of(Thurn__RoleKind role, uid_t *uid, gid_t *gid)
{
    check((size_t)role < ARRAY_LEN(identity_users) && identity_users[role]);
    if (geteuid() != 0) {
        *uid = geteuid(), *gid = getegid();
        return;
    }
    const struct passwd *pw = getpwnam(identity_users[role]);
    *uid = pw ? pw->pw_uid : (uid_t)(IDENTITY_BASE + (int)role);
    *gid = pw ? pw->pw_gid : (gid_t)(IDENTITY_BASE + (int)role);
}

static struct err identity_set(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return err_sys("change of user");
    return OK;
}

struct err identity_become(Thurn__RoleKind role)
{
    uid_t uid;
    gid_t gid;
    identity_of(role, &uid, &gid);
    return geteuid() == 0 ? identity_set(uid, gid) : OK;
}

struct err identity_drop_to_nobody(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys("no new privileges");
    return geteuid() == 0 ? identity_set(IDENTITY_NOBODY, IDENTITY_NOBODY) : OK;
}

struct err identity_keep_few_capabilities(void)
{
    static const unsigned keep[] = {CAP_NET_BIND_SERVICE, CAP_SETUID, CAP_SETGID, CAP_KILL};
    if (geteuid() != 0)
        return OK;
    uint32_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(keep); i++)
        mask |= 1U << keep[i];
    for (unsigned cap = 0; cap < 64; cap++) {
        bool kept = cap < 32 && (mask & (1U << cap));
        if (!kept && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return err_sys("capability bounding set");
    }
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{.effective = mask, .permitted = mask}};
    return syscall(SYS_capset, &head, data) < 0 ? err_sys("capset") : OK;
}
