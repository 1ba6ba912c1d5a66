#include "base/base.h"

#include <sched.h>
#include <sys/syscall.h>

/* A thread that wakes up goes before one whose time slice is longer (Linux 6.12, which takes it
 * from sched_runtime; older kernels ignore that). */
enum { SLICE_NS = 50000000 };

/* The first version of the kernel's struct sched_attr, which libc does not know. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void thread_step_back(int nice)
{
    struct scheduling s = {.size = sizeof s};
    if (syscall(SYS_sched_getattr, 0, &s, sizeof s, 0) < 0)
        return;
    s.policy = SCHED_BATCH; /* it does not take the place of others when it wakes up itself */
    s.nice = MIN(s.nice + nice, 19);
    s.runtime = SLICE_NS;
    (void)syscall(SYS_sched_setattr, 0, &s, 0);
}
