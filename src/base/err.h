/* Errors by value: a class that the caller acts on, a literal for the log, and errno if any. */
#ifndef THURN_BASE_ERR_H
#define THURN_BASE_ERR_H

enum errc {
    E_OK = 0,
    E_AGAIN,       /* would block, or not now: try later */
    E_INVALID,     /* the input is malformed */
    E_LIMIT,       /* a limit or budget set for this caller is used up */
    E_NOTFOUND,    /* no such thing */
    E_EXISTS,      /* there is one already */
    E_DENIED,      /* not permitted, or wrong credentials */
    E_CONFLICT,    /* overtaken by another change */
    E_UNSUPPORTED, /* known, but not done here */
    E_CLOSED,      /* the other side is gone */
    E_TIMEOUT,     /* a deadline passed */
    E_FULL,        /* no space on the disk */
    E_QUOTA,       /* more than the account may hold */
    E_IO,          /* a system call failed: see `sys` */
    E_CORRUPT,     /* stored data contradicts itself */
};

struct err {
    enum errc code;
    int sys;         /* errno, or 0 */
    const char *why; /* a literal, for the log */
};

#define OK ((struct err){E_OK, 0, NULL})

static inline struct err err_make(enum errc code, const char *why)
{
    return (struct err){code, 0, why};
}

/* The error of a system call that has just failed: ENOSPC and EDQUOT are E_FULL, else E_IO. */
static inline struct err err_sys(const char *why)
{
    return (struct err){errno == ENOSPC || errno == EDQUOT ? E_FULL : E_IO, errno, why};
}

/* The name of a class, as it stands in the log: "not-found". */
const char *errc_name(enum errc code);

/* Leaves the function with the error of the expression, if it has one. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        struct err try_err_ = (expr);                                                              \
        if (try_err_.code != E_OK)                                                                 \
            return try_err_;                                                                       \
    } while (0)

#endif
