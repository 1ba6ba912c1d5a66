/*
 * A frontend without sandbox and supervisor, between a client's socket and a backend of the test's
 * own, all on one loop.
 */
#ifndef THURN_TEST_FRONTEND_BENCH_H
#define THURN_TEST_FRONTEND_BENCH_H

#include "roles/frontend/frontend.h"

struct bench;

/* One session as the backend sees it. */
struct fake_session {
    struct list link;
    struct bench *bench;
    struct chan *chan;
    Thurn__SessionKind kind;
    uint64_t session;
    bool may_authenticate;
};

/* What the backend does with a frame; it stays the bench's. NULL: the standing answers. True if
 * it has been dealt with. */
typedef bool fake_answer(struct fake_session *s, struct frame *f);

struct bench {
    struct role role;
    struct frontend *fe;
    Thurn__Settings settings;
    struct chan *control; /* the backend's end */
    struct list sessions;
    size_t n_sessions;
    bool starts_only; /* the next backends do not serve by themselves */
    fake_answer *answer;
    struct buf message; /* what was delivered or appended last */
    struct buf note;    /* what the backend was asked, in words */
    bool was_sealed;
    struct buf resumed; /* the record that the last session was opened with */
    size_t n_watched, n_unwatched, n_gone;
    uint64_t last_watched;
    struct buf watched; /* and its record */
    bool exited;
    struct timer *deadline;
    bool late;
};

/* The client's end of a connection. */
struct talk {
    struct bench *bench;
    int fd;
    struct buf got;
    struct watch *watch;
    bool closed;
    const char *want; /* text that the loop runs for */
    bool want_close;
};

void bench_start(struct bench *b);
void bench_end(struct bench *b);
/* A backend appears (again), and serves unless `starts_only`; or goes away with its sessions. */
void bench_backend_up(struct bench *b);
void bench_backend_serves(struct bench *b);
void bench_backend_down(struct bench *b);
/* It ends its sessions, and stays. */
void bench_hang_up(struct bench *b);
/* There is news for the session that was watched last. */
void bench_poke(struct bench *b);

/* Connects; `kind` as the listener's. */
void talk_open(struct talk *w, struct bench *b, Thurn__ListenerKind kind);
void talk_close(struct talk *w);
void talk_send(struct talk *w, struct str s);
/* Runs until `want` stands in what has come since the last call, and returns all of that up to its
 * end; fails the test after some seconds. Valid until the next call. */
struct str talk_expect(struct talk *w, const char *want);
/* Runs until the other side has closed; returns what came before. */
struct str talk_expect_close(struct talk *w);
/* Sends a line (CR LF is added) and expects. */
struct str talk_say(struct talk *w, const char *line, const char *want);
/* Runs until `until` is true. */
void bench_run(struct bench *b, bool (*until)(void *arg), void *arg);
/* While nothing is read the socket fills. */
void talk_read(struct talk *w, bool on);

#endif
