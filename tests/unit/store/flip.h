/* Damage on disk. */
#ifndef THURN_TEST_FLIP_H
#define THURN_TEST_FLIP_H

#include "base/base.h"

#include <fcntl.h>
#include <unistd.h>

/* Changes one bit of a file. */
static inline void flip_byte(const char *path, long at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t c = 0;
    check(fd >= 0 && pread(fd, &c, 1, at) == 1);
    c ^= 0x40;
    check(pwrite(fd, &c, 1, at) == 1);
    (void)close(fd);
}

#endif
