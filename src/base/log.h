/*
 * Logging: one line per event, `key=value`, to standard error or the journal. A line begins
 * with time (left out for the journal, which has its own), level, role, event; then the
 * session and trace id if set, then the fields. Values with bytes outside the printable ASCII
 * range, spaces or quotes are quoted and escaped, so that no client can forge a line.
 *
 *     log_info("lmtp.delivered", LF_STR("rcpt", addr), LF_U64("uid", uid.v));
 */
#ifndef THURN_BASE_LOG_H
#define THURN_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LF_KIND_STR, LF_KIND_U64, LF_KIND_ERR } kind;
    struct str s;
    uint64_t u;
    struct err e;
};

#define LF_STR(k, v) ((struct log_field){.key = (k), .kind = LF_KIND_STR, .s = (v)})
#define LF_C(k, v)   ((struct log_field){.key = (k), .kind = LF_KIND_STR, .s = str_c(v)})
#define LF_U64(k, v) ((struct log_field){.key = (k), .kind = LF_KIND_U64, .u = (uint64_t)(v)})
/* why="..." errno="..." error=class */
#define LF_ERR(v) ((struct log_field){.key = "error", .kind = LF_KIND_ERR, .e = (v)})

/* Once, before anything is logged; `role` and its number stand on every line. The journal is
 * recognized by the environment variable JOURNAL_STREAM. */
void log_open(const char *role, unsigned index, enum log_level least);
void log_set_level(enum log_level least);
MUST_CHECK struct err log_level_parse(struct str name, enum log_level *out);
/* The ids on the lines of this thread from now on; zero session, empty trace: none. */
void log_context(session_id session, struct str trace);
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* The list begins with a field that is not printed, so that it may be empty otherwise. */
#define LOG_FIELDS(...) ((const struct log_field[]){{.key = ""}, ##__VA_ARGS__, {.key = NULL}})
#define log_debug(ev, ...) log_write(LOG_DEBUG, ev, LOG_FIELDS(__VA_ARGS__))
#define log_info(ev, ...)  log_write(LOG_INFO, ev, LOG_FIELDS(__VA_ARGS__))
#define log_warn(ev, ...)  log_write(LOG_WARN, ev, LOG_FIELDS(__VA_ARGS__))
#define log_error(ev, ...) log_write(LOG_ERROR, ev, LOG_FIELDS(__VA_ARGS__))

#endif
