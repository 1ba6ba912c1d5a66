/* A backend on a loop of the test's own, between a scanner and a frontend that the test plays. */
#ifndef THURN_TEST_BACKEND_RIG_H
#define THURN_TEST_BACKEND_RIG_H

#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "roles/backend/backend.h"
#include "roles/probe.h"

enum { RIG_FRAMES = 1024, RIG_ENDS = 1024 };

struct rig;

/* The test's end of a channel: it keeps the frames that come. */
struct end {
    struct rig *r;
    struct chan *chan;
    bool closed;
    struct frame *frames[RIG_FRAMES];
    size_t n, taken;
};

/* What a scanner does with a message. */
enum scanner_mode {
    SCAN_WELL,
    SCAN_NEVER,
    SCAN_BADLY,
    SCAN_BADLY_AT_LENGTH,
    SCAN_UNASKED,
    SCAN_DIE
};

struct fake_scanner {
    struct end *end;
    enum scanner_mode mode;
    size_t seen; /* messages */
};

struct rig {
    char dir[64];
    struct loop *loop;
    Thurn__Settings settings;
    struct backend b;
    struct end *frontend;
    uint64_t last_session;
    struct end *ends[RIG_ENDS];
    size_t n_ends;
    struct fake_scanner scanners[4];
    size_t retired;        /* RPC_SCANNER_RETIRE told */
    uint32_t last_retired; /* its index */
    Thurn__RoleKind last_retired_role;
    bool stopped;
};

struct rig *rig_new(void);
/* Stops the backend, if that has not been done, and forgets everything. */
void rig_free(struct rig *r);
void rig_stop(struct rig *r);

/* Runs the loop until the condition holds; fails after 20 seconds. */
void rig_run(struct rig *r, bool (*until)(void *arg), void *arg);
/* The next frame of this type; frames of other types before it are thrown away. The caller frees
 * it. */
struct frame *rig_expect(struct end *e, uint16_t type);
struct frame *rig_expect_any(struct end *e);
/* Runs until the backend has closed this channel. */
void rig_expect_closed(struct end *e);

void rig_scanner(struct rig *r, uint32_t index, uint64_t generation, enum scanner_mode mode);
/* Answers now what SCAN_NEVER has kept. */
void rig_scanner_answer(struct fake_scanner *s);

/* A frontend appears (again). */
void rig_frontend(struct rig *r);
struct end *rig_session(struct rig *r, Thurn__SessionKind kind);
/* One that goes on from its record. */
struct end *rig_session_again(struct rig *r, uint64_t id, struct str record);
/* The same, of any kind. */
struct end *rig_session_as(struct rig *r, Thurn__SessionKind kind, uint64_t id, struct str record);
void rig_send(struct end *e, uint16_t type, const void *message, struct str raw, int fd);
/* A connection to the control socket. */
struct end *rig_admin(struct rig *r);

/* With the domain example.test and these accounts, password "secret". */
account_id rig_account(struct rig *r, struct str address);
/* Messages in an account's INBOX, and how many of them have a flat record. */
size_t rig_inbox(struct rig *r, account_id id, size_t *out_flat);

#endif
