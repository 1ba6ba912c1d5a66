/*
 * net: the event loop, client connections with and without TLS, channels between roles, sealed
 * memory, and the sandbox. It knows bytes and frames, no protocol.
 *
 * A loop belongs to one thread; everything made on it is used on that thread only, except
 * where a function says otherwise. Callbacks may free the thing they are called for.
 */
#ifndef THURN_NET_H
#define THURN_NET_H

#include "base/base.h"

#include <netinet/in.h>
#include <protobuf-c/protobuf-c.h>
#include <sys/socket.h>

/* ------------------------------------------------------------------------------------- the loop */

struct loop;
MUST_CHECK struct err loop_new(struct loop **out);
void loop_free(struct loop *l);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Calls fn(arg) on the loop's thread, soon, in the order of the calls. From any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Calls fn(signo, arg) on the loop's thread when the signal arrives (blocks nothing). */
void loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg);

/* A one-shot timer. */
struct timer;
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
/* (Re)starts it: fn is called once, `ms` milliseconds from now; 0 stops it. */
void timer_set(struct timer *t, uint64_t ms);
void timer_free(struct timer *t); /* NULL is fine */

/* Calls fn whenever `fd` is readable (or hung up), level-triggered, until freed. */
struct watch;
struct watch *watch_new(struct loop *l, int fd, void (*fn)(int fd, void *arg), void *arg);
void watch_free(struct watch *w);

/* ------------------------------------------------------------------------------------ addresses */

struct ip {
    uint8_t b[16];
    uint8_t n; /* 4, 16, or 0 for none (a Unix socket) */
};
struct ip ip_of_sockaddr(const struct sockaddr_storage *sa);
/* "192.0.2.1", "2001:db8::1" into the buffer; "-" for none. */
void ip_format(struct buf *out, struct ip ip);
struct ip_net {
    struct ip ip;
    uint8_t bits;
};
/* "127.0.0.0/8", "::1" (all bits). E_INVALID for anything else. */
MUST_CHECK struct err ip_net_parse(struct str s, struct ip_net *out);
bool ip_net_has(const struct ip_net *net, struct ip ip);
struct ip_nets {
    struct ip_net *nets;
    size_t n;
};
/* Those of the texts, in their place; one that is none is logged under the setting's name and left
 * out. */
void ip_nets_set(struct ip_nets *l, const char *setting, const ProtobufCBinaryData *texts,
                 size_t n);
void ip_nets_free(struct ip_nets *l);
bool ip_nets_have(const struct ip_nets *l, struct ip ip);
/* This machine's own: loopback, or none. */
bool ip_is_own(struct ip ip);
/* "127.0.0.1:2143", "[::1]:993", "*:993" (every IPv4 address) into a socket address; port 0 is
 * allowed. */
MUST_CHECK struct err sockaddr_parse(struct str s, struct sockaddr_storage *out, socklen_t *len);

/* Accepts on a listening socket, which it owns; each accepted descriptor is non-blocking and
 * close-on-exec and belongs to `accepted`. Out of descriptors it pauses for a moment. */
struct listener;
struct listener *listener_new(struct loop *l, int fd,
                              void (*accepted)(int fd, struct ip peer, void *arg), void *arg);
void listener_free(struct listener *l); /* closes the socket */

/* ------------------------------------------------------------------------------------------ TLS */

/* The certificates of a frontend: TLS 1.2 and 1.3, server side, SNI, session tickets. */
struct tls_server;
MUST_CHECK struct err tls_server_new(struct tls_server **out);
void tls_server_free(struct tls_server *t);
/* Adds a certificate chain and key (PEM) for these host names (lower case, "*.example.org"
 * allowed); without names it becomes the default. Replaces one for the same names.
 * E_INVALID if the PEM cannot be read or the key does not fit. */
MUST_CHECK struct err tls_server_add(struct tls_server *t, const struct str *names, size_t n,
                                     struct str chain_pem, struct str key_pem);
bool tls_server_has_certificate(const struct tls_server *t);
/* Makes a key (ECDSA, P-256) and a certificate for these host names (at least one), signed by
 * itself and valid for `days` from now, and adds both, in PEM, to the buffers. */
MUST_CHECK struct err tls_make_self_signed(const struct str *names, size_t n, unsigned days,
                                           struct buf *chain_pem, struct buf *key_pem);

/* ---------------------------------------------------------------------------- client connections
 */

/* A non-blocking stream connection. Output is collected and written when the loop's turn ends;
 * buffers are given back while the connection is idle. */
struct conn;
struct conn_ops {
    /* There are new bytes in conn_in(). Consume them; what is left waits for more. */
    void (*readable)(struct conn *c, void *arg);
    /* The output that conn_backlog() counts has fallen below `out_low`. May be NULL. */
    void (*drained)(struct conn *c, void *arg);
    /* The connection is over: E_CLOSED by the peer, E_TIMEOUT past a deadline, E_IO, E_INVALID
     * for a TLS failure. Called once; the owner calls conn_free. Not called after conn_free. */
    void (*closed)(struct conn *c, struct err why, void *arg);
    /* The TLS handshake is done. May be NULL. */
    void (*secured)(struct conn *c, void *arg);
};
struct conn_limits {
    size_t in_max;     /* input kept unconsumed; reading pauses there */
    size_t out_low;    /* see drained */
    uint32_t write_ms; /* the peer takes no byte of waiting output for so long: E_TIMEOUT */
};
/* Takes over the descriptor (accepted, non-blocking). */
MUST_CHECK struct err conn_new(struct loop *l, int fd, const struct conn_limits *limits,
                               const struct conn_ops *ops, void *arg, struct conn **out);
/* Closes at once, what was not sent is lost. */
void conn_free(struct conn *c);
/* Sends what is waiting (and the TLS close), waits two seconds at most for the peer to close, then
 * calls closed with E_CLOSED. Input is ignored from now on. */
void conn_finish(struct conn *c);
/* Received bytes; the owner consumes. Slices of it are valid until it is consumed or until
 * the callback returns. */
struct buf *conn_in(struct conn *c);
void conn_write(struct conn *c, struct str s);
/* While on, what is written waits to be sent together with what follows (unless it becomes much):
 * for who has an answer that the peer does not wait for yet. */
void conn_collect(struct conn *c, bool on);
/* Bytes written and not yet taken by the kernel. */
size_t conn_backlog(const struct conn *c);
/* While held, nothing is read from the peer. Letting go calls readable again if input is left. */
void conn_hold(struct conn *c, bool held);
/* The peer must send something within `ms` from now, else closed with E_TIMEOUT. 0: no
 * deadline. Received bytes do not prolong it: the owner sets it anew. A TLS handshake must be
 * done within `write_ms` besides. */
void conn_deadline(struct conn *c, uint32_t ms);
/* Begins a TLS handshake as server, after the output so far; input not yet consumed is thrown
 * away (RFC 3501 section 6.2.1; nothing pipelined before STARTTLS survives). */
MUST_CHECK struct err conn_start_tls(struct conn *c, struct tls_server *tls);
/* From conn_start_tls on: everything that comes later is protected, or fails. */
bool conn_is_tls(const struct conn *c);
/* From now on both directions are compressed (raw DEFLATE, as RFC 4978 wants it): output from
 * behind what has been written so far, input from what has not been consumed yet. Limits count what
 * is not compressed; input is inflated in small steps, as it is consumed. What does not inflate
 * ends the connection (E_INVALID). Once, and not before conn_start_tls. */
void conn_compress(struct conn *c);
bool conn_is_compressed(const struct conn *c);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; nothing without TLS. */
void conn_tls_describe(const struct conn *c, struct buf *out);

/* --------------------------------------------------------------------------------------- frames */

/* What roles say to one another: a typed part (protobuf), raw bytes, perhaps a descriptor.
 * On the wire, little-endian: typed length u32, raw length u32, type u16, descriptors u16 (0
 * or 1), serial u32; then the typed part, then the raw bytes. */
enum { FRAME_HEAD = 16, FRAME_RAW_MAX = 128 * 1024 };

struct frame_type {
    uint16_t number;
    const char *name;
    const ProtobufCMessageDescriptor *message;
    uint32_t max_typed; /* bytes of the packed typed part */
    uint32_t max_raw;   /* raw bytes, at most FRAME_RAW_MAX */
    bool fd;            /* a descriptor may go with it */
};
/* All frame types that a channel knows, sorted by number. */
struct frame_table {
    const struct frame_type *types;
    size_t n;
};

struct frame {
    const struct frame_type *type;
    uint32_t serial;           /* chosen by the one who asks, repeated in the answer */
    ProtobufCMessage *message; /* unpacked, of type->message */
    struct str raw;
    int fd;             /* -1: none. Closed by frame_free unless taken (set to -1) */
    struct arena arena; /* holds message; for the request's other needs too */
    uint8_t *body;      /* holds raw */
};
void frame_free(struct frame *f);

/* What may be asked: the owner's table. A state is one bit of the channel's state word. */
struct chan_rule {
    uint16_t type;
    uint32_t states; /* bits of the states in which it is allowed */
};

/* ------------------------------------------------------------------------------------- channels */

struct chan;
struct chan_ops {
    /* A frame that the rules allow has come; the callee owns it (frame_free). */
    void (*frame)(struct chan *c, struct frame *f, void *arg);
    /* chan_backlog() has fallen below CHAN_LOW after having been above. May be NULL. */
    void (*drained)(struct chan *c, void *arg);
    /* The other side is gone (E_CLOSED), broke a rule (E_DENIED), a limit (E_LIMIT) or the
     * format (E_INVALID). Called once; the owner calls chan_free. */
    void (*closed)(struct chan *c, struct err why, void *arg);
};
enum { CHAN_LOW = 64 * 1024, CHAN_HIGH = 256 * 1024 };

struct chan_spec {
    const struct frame_table *table;
    const struct chan_rule *rules;
    size_t n_rules;
    const struct chan_ops *ops;
    void *arg;
};
/* Takes over `fd`, one end of a Unix stream socket pair. The state begins as 1 (bit 0). */
MUST_CHECK struct err chan_new(struct loop *l, int fd, const struct chan_spec *spec,
                               struct chan **out);
/* On the loop's thread. Nobody may be in chan_send at that time, nor call it later. */
void chan_free(struct chan *c);
/* Sends one frame. From any thread; frames of one thread keep their order. What the socket does
 * not take at once is queued without a limit of its own: the sender looks at chan_backlog.
 * `message` may be NULL for an empty one. `fd` (-1: none) is duplicated by the kernel and stays
 * the caller's. E_CLOSED once the channel is broken. On the loop's thread frames are collected
 * until the loop's turn ends or 64 KB are waiting. */
MUST_CHECK struct err chan_send(struct chan *c, uint16_t type, uint32_t serial,
                                const ProtobufCMessage *message, struct str raw, int fd);
/* Begins and ends a run of frames from one other thread than the loop's, which are collected in the
 * same way: one call to the system, and one waking of the other side, for a whole answer. Between
 * the two only this thread sends. */
void chan_collect(struct chan *c, bool on);
/* On the loop's thread: frames collected so far are handed to the kernel without waiting for the
 * turn's end. False if it has not taken all of them. */
bool chan_send_now(struct chan *c);
/* Bytes queued and not yet taken by the kernel. From any thread. */
size_t chan_backlog(const struct chan *c);
/* The state against which the rules are checked; exactly one bit. */
void chan_set_state(struct chan *c, uint32_t state);
/* While held, nothing is read: the sender feels it. */
void chan_hold(struct chan *c, bool held);
/* What comes next is received when there is time for it: others may be in more of a hurry. */
void chan_no_hurry(struct chan *c);
/* A socket pair for a channel, close-on-exec, non-blocking. */
MUST_CHECK struct err chan_pair(int fds[2]);

/* Blocking use, for the command line: sends one request on a connected socket and calls `each`
 * for every frame that comes, until it returns true or `ms` have passed since the last one. The
 * frame is freed when `each` returns. */
MUST_CHECK struct err chan_ask(int fd, const struct frame_table *table, uint16_t type,
                               const ProtobufCMessage *message, uint32_t ms,
                               bool (*each)(struct frame *f, void *arg), void *arg);

/* --------------------------------------------------------------------------------- sealed memory
 */

/* Bytes that are too large for a frame: written once, sealed, passed as a descriptor. */
struct sealed {
    int fd;   /* -1: none */
    size_t n; /* bytes put so far */
    size_t max;
    struct buf stage; /* put but not yet written */
};
/* Begins one of at most `max` bytes. */
MUST_CHECK struct err sealed_new(struct sealed *s, size_t max);
/* Adds bytes; E_LIMIT beyond max. */
MUST_CHECK struct err sealed_put(struct sealed *s, struct str bytes);
/* Writes what is left and seals it (SEAL, SHRINK, GROW, WRITE). */
MUST_CHECK struct err sealed_finish(struct sealed *s);
void sealed_free(struct sealed *s);
/* The receiver's side: requires all four seals and exactly `size` bytes, then maps it read-only.
 * E_DENIED if anything is wrong. Unmap with sealed_unmap. */
MUST_CHECK struct err sealed_map(int fd, size_t size, struct str *out);
/* The same with a part of the bytes, `part` from `offset` on, which must lie inside `size`. */
MUST_CHECK struct err sealed_map_part(int fd, size_t size, size_t offset, size_t part,
                                      struct str *out);
void sealed_unmap(struct str map);

/* --------------------------------------------------------------------------------------- sandbox
 */

struct sandbox_path {
    const char *path; /* directory or file */
    bool write;       /* else read only */
};
struct sandbox {
    const int *syscalls; /* allowed; numbers as in SYS_*; a denied call fails with EPERM */
    size_t n_syscalls;
    const struct sandbox_path *paths; /* all that may be opened from now on */
    size_t n_paths;
    bool relaxed; /* go on without Landlock where the kernel has none */
};
/* Enters for good, all threads: no new privileges, Landlock (files; network and scopes where the
 * kernel's ABI has them), then seccomp. `out_abi` is the Landlock ABI found, 0 for none.
 * E_UNSUPPORTED without Landlock unless relaxed; E_CONFLICT if other threads run already, which
 * Landlock would not reach. Calls that open or change paths are allowed if there are paths, and
 * only then. */
MUST_CHECK struct err sandbox_enter(const struct sandbox *s, unsigned *out_abi);
/* The calls that every role needs: memory, clocks, threads, reading and writing descriptors it
 * has. A NULL-free list ended by -1, to be joined with the role's own. */
extern const int sandbox_syscalls_common[];

#endif
