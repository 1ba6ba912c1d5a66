/* Clocks, and random bytes. */
#ifndef THURN_BASE_CLOCK_H
#define THURN_BASE_CLOCK_H

/* Microseconds of a clock that never goes back: for deadlines and durations. */
uint64_t clock_mono_us(void);
/* Seconds (or microseconds) since 1970 UTC: for what is stored and shown. */
int64_t clock_wall_s(void);
uint64_t clock_wall_us(void);
/* Cryptographically strong random bytes; aborts if there are none. */
void random_bytes(void *p, size_t n);
uint64_t random_u64(void);

#endif
