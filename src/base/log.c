#include "base/base.h"

#include <sys/uio.h>

static struct {
    char role[48];
    _Atomic enum log_level least; /* a reload changes it while threads log */
    bool journal;
} log_state = {.role = "thurn", .least = LOG_INFO};

static _Thread_local struct {
    session_id session;
    uint8_t trace[64];
    size_t n_trace;
} log_ids;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_open(const char *role, unsigned index, enum log_level least)
{
    if (index)
        (void)snprintf(log_state.role, sizeof log_state.role, "%s.%u", role, index);
    else
        (void)snprintf(log_state.role, sizeof log_state.role, "%s", role);
    log_state.least = least;
    log_state.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level least)
{
    log_state.least = least;
}

struct err log_level_parse(struct str name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (str_eq(name, str_c(level_names[i]))) {
            *out = (enum log_level)i;
            return OK;
        }
    }
    return err_make(E_INVALID, "not a log level");
}

void log_context(session_id session, struct str trace)
{
    log_ids.session = session;
    log_ids.n_trace = MIN(trace.n, sizeof log_ids.trace);
    str_copy_to(log_ids.trace, str_sub(trace, 0, log_ids.n_trace));
}

enum { LOG_VALUE_MAX = 512, LOG_LINE_MAX = 16384 };

/* Plain if it cannot be misread, else quoted with \xHH for what is not printable. */
static void log_value(struct buf *line, struct str v)
{
    bool plain = v.n > 0 && v.n <= LOG_VALUE_MAX;
    for (size_t i = 0; i < v.n && plain; i++)
        plain = v.p[i] > ' ' && v.p[i] < 0x7F && v.p[i] != '"' && v.p[i] != '\\' && v.p[i] != '=';
    if (plain) {
        buf_put(line, v);
        return;
    }
    buf_byte(line, '"');
    for (size_t i = 0; i < MIN(v.n, (size_t)LOG_VALUE_MAX); i++) {
        if (v.p[i] == '"' || v.p[i] == '\\')
            buf_printf(line, "\\%c", v.p[i]);
        else if (v.p[i] >= ' ' && v.p[i] < 0x7F)
            buf_byte(line, v.p[i]);
        else
            buf_printf(line, "\\x%02x", v.p[i]);
    }
    buf_put(line, v.n > LOG_VALUE_MAX ? STR("...\"") : STR("\""));
}

static void log_prefix(struct buf *line, enum log_level level)
{
    static const int priority[] = {7, 6, 4, 3}; /* of the journal: sd-daemon(3) */
    if (log_state.journal) {
        buf_printf(line, "<%d>", priority[level]);
        return;
    }
    uint64_t now = clock_wall_us();
    time_t s = (time_t)(now / 1000000);
    struct tm tm;
    char text[32];
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    buf_printf(line, "%s.%06uZ ", text, (unsigned)(now % 1000000));
}

static void log_fields(struct buf *line, const struct log_field *f)
{
    while ((++f)->key) { /* the first one is empty: LOG_FIELDS */
        buf_printf(line, " %s=", f->key);
        if (f->kind == LF_KIND_U64) {
            buf_decimal(line, f->u);
        } else if (f->kind == LF_KIND_STR) {
            log_value(line, f->s);
        } else {
            buf_printf(line, "%s why=", errc_name(f->e.code));
            log_value(line, str_c(f->e.why));
            if (f->e.sys)
                buf_printf(line, " errno=%s", strerrorname_np(f->e.sys));
        }
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    if (level < log_state.least)
        return;
    struct buf line CLEANUP(buf_free) = {.max = LOG_LINE_MAX};
    log_prefix(&line, level);
    buf_printf(&line, "%s role=%s event=%s", level_names[level], log_state.role, event);
    if (log_ids.session.v)
        buf_printf(&line, " session=%016" PRIx64, log_ids.session.v);
    if (log_ids.n_trace) {
        buf_put(&line, STR(" trace="));
        log_value(&line, str_of(log_ids.trace, log_ids.n_trace));
    }
    log_fields(&line, fields);
    line.bad = false; /* too long: it is cut, but ends */
    buf_cut(&line, MIN(line.n, (size_t)LOG_LINE_MAX - 1));
    buf_byte(&line, '\n');
    struct str s = buf_str(&line);
    ssize_t ignored = write(STDERR_FILENO, s.p, s.n); /* one write: lines do not mix */
    (void)ignored;
}
