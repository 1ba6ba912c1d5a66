#include "base/base.h"

void check_failed(const char *kind, const char *what, const char *file, int line)
{
    log_error("check.failed", LF_C("kind", kind), LF_C("what", what), LF_C("file", file),
              LF_U64("line", line));
    abort();
}

const char *errc_name(enum errc code)
{
    static const char *const names[] = {
        [E_OK] = "ok",
        [E_AGAIN] = "again",
        [E_INVALID] = "invalid",
        [E_LIMIT] = "limit",
        [E_NOTFOUND] = "not-found",
        [E_EXISTS] = "exists",
        [E_DENIED] = "denied",
        [E_CONFLICT] = "conflict",
        [E_UNSUPPORTED] = "unsupported",
        [E_CLOSED] = "closed",
        [E_TIMEOUT] = "timeout",
        [E_FULL] = "full",
        [E_QUOTA] = "quota",
        [E_IO] = "io",
        [E_CORRUPT] = "corrupt",
    };
    return (size_t)code < ARRAY_LEN(names) ? names[code] : "unknown";
}
