/* Attributes, and the three kinds of assertion. None of them is ever compiled out. */
#ifndef THURN_BASE_CHECK_H
#define THURN_BASE_CHECK_H

#define MUST_CHECK       __attribute__((warn_unused_result))
#define PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define NORETURN         __attribute__((noreturn))
#define CLEANUP(fn)      __attribute__((cleanup(fn)))
#define UNUSED           __attribute__((unused))

#define ARRAY_LEN(a)  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
/* The structure of the given type in which `ptr` is the member `member`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Writes one line naming the broken invariant and aborts; the supervisor restarts the role. */
NORETURN void check_failed(const char *kind, const char *what, const char *file, int line);

/* A broken invariant of our own: this cannot happen. */
#define check(cond)                                                                                \
    ((cond) ? (void)0 : check_failed("cannot happen", #cond, __FILE__, __LINE__))
/* A case that can happen and that nobody handles yet; aborting is acceptable until then. */
#define check_unhandled(cond)                                                                      \
    ((cond) ? (void)0 : check_failed("not handled", #cond, __FILE__, __LINE__))
/* A piece still to be written; a release build that contains one does not link. */
#ifdef THURN_RELEASE
void not_written(void) __attribute__((error("not_written() in a release build")));
#else
#define not_written() check_failed("not written", __func__, __FILE__, __LINE__)
#endif

#endif
