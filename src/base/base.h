/*
 * base: what every other folder of Thurn stands on.
 *
 * Slices and the cursor that reads untrusted bytes, growing buffers, arenas with a budget,
 * errors by value, one type per kind of number, clocks, logging, two containers, and a reader of
 * protobuf messages. It calls libc and OpenSSL's hashes and random numbers, knows nothing of mail,
 * and never blocks.
 *
 * This is the first include of every file: it brings the standard headers and then makes the
 * C string functions that overflow or lose errors unusable.
 */
#ifndef THURN_BASE_H
#define THURN_BASE_H

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/arena.h"
#include "base/str.h"
#include "base/cur.h"
#include "base/buf.h"
#include "base/ids.h"
#include "base/list.h"
#include "base/map.h"
#include "base/clock.h"
#include "base/wait_once.h"
#include "base/step_back.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/unpack.h"

/* With optimization glibc makes macros of some of them for clang, which cannot be poisoned. */
#if !(defined(__clang__) && defined(__OPTIMIZE__))
#pragma GCC poison strcpy strcat sprintf vsprintf strtok strncpy strncat atoi atol atoll gets
#endif

#endif
