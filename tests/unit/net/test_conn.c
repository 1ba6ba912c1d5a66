#include "base/base.h"

#include "pair.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* ------------------------------------------------------------------------- the server's side */

struct server {
    struct loop *loop;
    struct conn *conn;
    struct buf got; /* all input, if `keep` */
    size_t calls, drained;
    bool closed, secured;
    bool keep_line;    /* consume whole lines only */
    bool leave;        /* consume nothing */
    bool free_in_read; /* frees the connection in the callback */
    bool hold_in_read;
    struct tls_server *starttls; /* a line "STARTTLS" begins TLS */
    struct err why;
    size_t want;
};

static void line_came(struct server *s, struct str line)
{
    buf_put(&s->got, line);
    if (s->starttls && str_eq(line, STR("STARTTLS\n"))) {
        conn_write(s->conn, STR("GO\n"));
        assert_int_equal(conn_start_tls(s->conn, s->starttls).code, E_OK);
    }
}

static void server_readable(struct conn *c, void *arg)
{
    struct server *s = arg;
    s->calls++;
    if (s->free_in_read) {
        conn_free(c);
        s->conn = NULL;
        s->closed = true;
        return;
    }
    if (s->hold_in_read)
        conn_hold(c, true);
    struct buf *in = conn_in(c);
    while (!s->leave && in->n) {
        size_t n = s->keep_line ? str_find_byte(buf_str(in), '\n', 0) + 1 : in->n;
        if (n > in->n)
            return;
        struct str line = str_sub(buf_str(in), 0, n);
        line_came(s, line);
        if (in->n) /* STARTTLS throws the rest away */
            buf_consume(in, n);
    }
}

static void server_drained(struct conn *c, void *arg)
{
    ((struct server *)arg)->drained++;
}

static void server_closed(struct conn *c, struct err why, void *arg)
{
    struct server *s = arg;
    assert_false(s->closed);
    s->closed = true;
    s->why = why;
}

static void server_secured(struct conn *c, void *arg)
{
    ((struct server *)arg)->secured = true;
}

static const struct conn_ops ops = {server_readable, server_drained, server_closed, server_secured};

struct world {
    struct server s;
    int client;
};

static void open_pair(struct world *w, const struct conn_limits *limits)
{
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    w->client = fds[0];
    assert_int_equal(conn_new(w->s.loop, fds[1], limits, &ops, &w->s, &w->s.conn).code, E_OK);
}

static const struct conn_limits usual = {.in_max = 65536, .out_low = 4096, .write_ms = 10000};

static int setup(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    assert_int_equal(loop_new(&w->s.loop).code, E_OK);
    w->client = -1;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    conn_free(w->s.conn);
    buf_free(&w->s.got);
    if (w->client >= 0)
        (void)close(w->client);
    loop_free(w->s.loop);
    free(w);
    return 0;
}

static bool has_bytes(void *arg)
{
    struct server *s = arg;
    return s->got.n >= s->want || s->closed;
}

static bool is_closed(void *arg)
{
    return ((struct server *)arg)->closed;
}

static bool has_calls(void *arg)
{
    struct server *s = arg;
    return s->calls >= s->want || s->closed;
}

static void await_bytes(struct server *s, size_t n)
{
    s->want = n;
    run_until(s->loop, has_bytes, s);
    assert_false(s->closed);
}

static void await_calls(struct server *s, size_t n)
{
    s->want = n;
    run_until(s->loop, has_calls, s);
    assert_false(s->closed);
}

static void await_closed(struct server *s, enum errc code)
{
    run_until(s->loop, is_closed, s);
    assert_int_equal(s->why.code, code);
}

/* Gives the loop a turn or two. */
static bool at_once(void *arg)
{
    return true;
}
static void some_turns(struct server *s)
{
    run_until(s->loop, at_once, NULL);
    run_until(s->loop, at_once, NULL);
}

static void say(int fd, struct str s)
{
    assert_int_equal(send(fd, s.p, s.n, MSG_NOSIGNAL), (ssize_t)s.n);
}

/* Reads up to `n` bytes while the loop runs; stops at the end of the stream. */
struct hearing {
    int fd;
    struct buf *out;
    size_t n;
    bool end;
};
static bool hear_some(void *arg)
{
    struct hearing *h = arg;
    while (!h->end && h->out->n < h->n) {
        uint8_t *room = buf_room(h->out, 65536);
        check(room != NULL);
        ssize_t got = recv(h->fd, room, MIN((size_t)65536, h->n - h->out->n), MSG_DONTWAIT);
        if (got < 0)
            break;
        h->end = got == 0;
        buf_added(h->out, (size_t)got);
    }
    return h->end || h->out->n >= h->n;
}
static bool hear(struct world *w, struct buf *out, size_t n)
{
    struct hearing h = {.fd = w->client, .out = out, .n = n};
    run_until(w->s.loop, hear_some, &h);
    return h.end;
}

static void bytes_arrive_and_answers_leave(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    say(w->client, STR("hello"));
    await_bytes(&w->s, 5);
    assert_true(str_eq(buf_str(&w->s.got), STR("hello")));
    conn_write(w->s.conn, STR("good "));
    conn_write(w->s.conn, STR("day"));
    assert_int_equal(conn_backlog(w->s.conn), 8);
    assert_false(hear(w, &heard, 8));
    assert_true(str_eq(buf_str(&heard), STR("good day")));
    assert_int_equal(conn_backlog(w->s.conn), 0);
}

static void lines_fed_one_byte_at_a_time_are_kept_until_whole(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.keep_line = true;
    struct str text = STR("one\ntwo\n");
    for (size_t i = 0; i < text.n; i++) {
        say(w->client, str_sub(text, i, i + 1));
        await_calls(&w->s, i + 1);
        assert_int_equal(w->s.got.n, i < 3 ? 0 : i < 7 ? 4 : 8);
    }
    assert_null(conn_in(w->s.conn)->p); /* nothing is kept while idle */
}

static void reading_pauses_when_the_input_is_full_and_goes_on_when_there_is_room(void **state)
{
    struct world *w = *state;
    open_pair(w, &(struct conn_limits){.in_max = 10});
    w->s.leave = true;
    say(w->client, STR("0123456789abcdef"));
    await_calls(&w->s, 1);
    some_turns(&w->s);
    assert_int_equal(w->s.calls, 1);
    assert_int_equal(conn_in(w->s.conn)->n, 10);
    buf_consume(conn_in(w->s.conn), 10);
    w->s.leave = false;
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("abcdef")));
}

static void a_held_connection_is_not_read(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.hold_in_read = w->s.leave = true;
    say(w->client, STR("one"));
    await_calls(&w->s, 1);
    say(w->client, STR("two"));
    some_turns(&w->s);
    assert_int_equal(w->s.calls, 1);
    w->s.hold_in_read = w->s.leave = false;
    conn_hold(w->s.conn, false);
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("onetwo")));
}

static void a_connection_may_be_freed_while_it_is_read(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.free_in_read = true;
    say(w->client, STR("x"));
    run_until(w->s.loop, is_closed, &w->s);
    assert_null(w->s.conn);
}

static void the_peers_end_is_told_after_its_last_bytes(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    say(w->client, STR("bye"));
    (void)close(w->client);
    w->client = -1;
    await_closed(&w->s, E_CLOSED);
    assert_true(str_eq(buf_str(&w->s.got), STR("bye")));
}

static void finishing_sends_everything_first(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    struct buf much CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < 100000; i++)
        buf_printf(&much, "%zu\n", i);
    conn_write(w->s.conn, buf_str(&much));
    conn_finish(w->s.conn);
    say(w->client, STR("too late"));
    assert_true(hear(w, &heard, SIZE_MAX / 2));
    assert_true(str_eq(buf_str(&heard), buf_str(&much)));
    assert_int_equal(w->s.got.n, 0);
    (void)close(w->client);
    w->client = -1;
    await_closed(&w->s, E_CLOSED);
}

static void finishing_does_not_wait_for_a_peer_that_stays(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_finish(w->s.conn);
    await_closed(&w->s, E_CLOSED);
}

static void much_output_is_told_to_have_drained(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    uint8_t *block = mem_alloc(100000);
    for (size_t i = 0; i < 30; i++) {
        memset(block, 'a' + (int)i, 100000);
        conn_write(w->s.conn, str_of(block, 100000));
    }
    assert_true(conn_backlog(w->s.conn) > 1000000);
    some_turns(&w->s);
    assert_int_equal(w->s.drained, 0);
    assert_false(hear(w, &heard, 3000000));
    some_turns(&w->s);
    assert_int_equal(w->s.drained, 1);
    for (size_t i = 0; i < 3000000; i++)
        assert_int_equal(heard.p[i], 'a' + i / 100000);
    free(block);
}

static void a_peer_that_sends_nothing_is_dropped_at_the_deadline(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_deadline(w->s.conn, 60000);
    conn_deadline(w->s.conn, 10);
    await_closed(&w->s, E_TIMEOUT);
}

static void a_deadline_can_be_moved_and_removed(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_deadline(w->s.conn, 1);
    conn_deadline(w->s.conn, 60000);
    some_turns(&w->s);
    assert_false(w->s.closed);
    conn_deadline(w->s.conn, 1);
    conn_deadline(w->s.conn, 0);
    some_turns(&w->s);
    assert_false(w->s.closed);
}

static void a_peer_that_takes_no_output_is_dropped(void **state)
{
    struct world *w = *state;
    open_pair(w, &(struct conn_limits){.in_max = 1000, .out_low = 1000, .write_ms = 20});
    uint8_t *block = mem_alloc(3000000);
    conn_write(w->s.conn, str_of(block, 3000000));
    free(block);
    await_closed(&w->s, E_TIMEOUT);
}

/* --------------------------------------------------------------------------------------- TLS */

struct pem {
    struct buf cert, key;
};

static void put_bio(struct buf *out, BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    buf_put(out, str_of(p, (size_t)n));
    BIO_free(bio);
}

static struct pem make_certificate(const char *name)
{
    struct pem pem = {0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(key && x);
    (void)X509_set_version(x, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    (void)X509_set_pubkey(x, key);
    X509_NAME *n = X509_get_subject_name(x);
    (void)X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    (void)X509_set_issuer_name(x, n);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    BIO *cert = BIO_new(BIO_s_mem()), *bio_key = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio_X509(cert, x));
    assert_true(PEM_write_bio_PrivateKey(bio_key, key, NULL, NULL, 0, NULL, NULL));
    put_bio(&pem.cert, cert);
    put_bio(&pem.key, bio_key);
    X509_free(x);
    EVP_PKEY_free(key);
    return pem;
}

static void pem_free(struct pem *p)
{
    buf_free(&p->cert);
    buf_free(&p->key);
}

static void add_certificate(struct tls_server *t, const char *name, bool is_default)
{
    struct pem pem CLEANUP(pem_free) = make_certificate(name);
    struct str s = str_c(name);
    struct err e = tls_server_add(t, &s, is_default ? 0 : 1, buf_str(&pem.cert), buf_str(&pem.key));
    assert_int_equal(e.code, E_OK);
}

/* A client, driven by the loop: says `say` once it is connected, hears what comes. */
struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    struct str say;
    size_t said;
    struct buf heard;
    size_t want;
    bool connected, failed, end;
};

static void client_open(struct client *c, int fd, const char *sni)
{
    c->ctx = c->ctx ? c->ctx : SSL_CTX_new(TLS_client_method());
    c->ssl = SSL_new(c->ctx);
    assert_non_null(c->ssl);
    assert_true(SSL_set_fd(c->ssl, fd));
    if (sni)
        assert_true(SSL_set_tlsext_host_name(c->ssl, sni));
    SSL_set_connect_state(c->ssl);
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    buf_free(&c->heard);
}

static bool client_retry(struct client *c, int result)
{
    int e = SSL_get_error(c->ssl, result);
    c->end |= e == SSL_ERROR_ZERO_RETURN;
    c->failed |= e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL;
    ERR_clear_error();
    return false;
}

static bool client_step(struct client *c)
{
    int r;
    if (!c->connected) {
        r = SSL_do_handshake(c->ssl);
        c->connected = r == 1;
        return c->connected || client_retry(c, r);
    }
    if (c->said < c->say.n) {
        size_t n = 0;
        r = SSL_write_ex(c->ssl, c->say.p + c->said, c->say.n - c->said, &n);
        c->said += n;
        if (r == 1)
            return true;
    }
    uint8_t block[4096];
    size_t n = 0;
    r = SSL_read_ex(c->ssl, block, sizeof block, &n);
    buf_put(&c->heard, str_of(block, n));
    return r == 1 || client_retry(c, r);
}

static bool client_done(void *arg)
{
    struct client *c = arg;
    for (unsigned i = 0; i < 100 && !c->failed && !c->end && client_step(c); i++)
        continue;
    return c->failed || c->end || (c->connected && c->said == c->say.n && c->heard.n >= c->want);
}

static void run_client(struct world *w, struct client *c)
{
    run_until(w->s.loop, client_done, c);
}

static struct tls_server *new_tls(const char *default_name)
{
    struct tls_server *t;
    assert_int_equal(tls_server_new(&t).code, E_OK);
    assert_false(tls_server_has_certificate(t));
    if (default_name)
        add_certificate(t, default_name, true);
    return t;
}

static void tls_carries_both_ways(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("mail.example.test");
    struct client c CLEANUP(client_free) = {0};
    struct buf much CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < 40000; i++)
        buf_printf(&much, "%zu\n", i);
    open_pair(w, &(struct conn_limits){.in_max = 1 << 20, .out_low = 4096, .write_ms = 10000});
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    assert_true(conn_is_tls(w->s.conn));
    conn_write(w->s.conn, buf_str(&much));
    client_open(&c, w->client, NULL);
    c.say = buf_str(&much);
    c.want = much.n;
    run_client(w, &c);
    assert_false(c.failed);
    assert_true(w->s.secured);
    await_bytes(&w->s, much.n);
    assert_true(str_eq(buf_str(&w->s.got), buf_str(&much)));
    assert_true(str_eq(buf_str(&c.heard), buf_str(&much)));
    conn_finish(w->s.conn);
    c.want = SIZE_MAX;
    run_client(w, &c);
    assert_true(c.end);
    assert_false(c.failed);
    tls_server_free(t);
}

static void tls_input_beyond_the_limit_waits_and_is_not_lost(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("mail.example.test");
    struct client c CLEANUP(client_free) = {.say = STR("0123456789abcdef")};
    open_pair(w, &(struct conn_limits){.in_max = 10});
    w->s.leave = true;
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    tls_server_free(t); /* the connection keeps what it needs */
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    await_calls(&w->s, 1);
    assert_int_equal(conn_in(w->s.conn)->n, 10);
    buf_consume(conn_in(w->s.conn), 10);
    w->s.leave = false;
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("abcdef")));
}

static void assert_peer_name(SSL *ssl, const char *name)
{
    X509 *x = SSL_get1_peer_certificate(ssl);
    assert_non_null(x);
    char cn[100] = "";
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, name);
    X509_free(x);
}

static void the_certificate_is_that_of_the_name_asked_for(void **state)
{
    static const struct {
        const char *asks, *shown;
    } cases[] = {
        {NULL, "default.test"},         {"unknown.test", "default.test"},
        {"one.test", "one.test"},       {"ONE.test", "one.test"},
        {"a.wild.test", "*.wild.test"}, {"a.b.wild.test", "default.test"},
        {"wild.test", "default.test"},
    };
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    add_certificate(t, "one.test", false);
    add_certificate(t, "*.wild.test", false);
    add_certificate(t, "one.test", false); /* replaced */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c CLEANUP(client_free) = {0};
        open_pair(w, &usual);
        assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
        client_open(&c, w->client, cases[i].asks);
        run_client(w, &c);
        assert_false(c.failed);
        assert_peer_name(c.ssl, cases[i].shown);
        conn_free(w->s.conn);
        w->s.conn = NULL;
        (void)close(w->client);
        w->client = -1;
    }
    tls_server_free(t);
}

static SSL_SESSION *ticket;
static int keep_ticket(SSL *ssl, SSL_SESSION *s)
{
    SSL_SESSION_free(ticket);
    ticket = s;
    return 1;
}

static void a_session_ticket_shortens_the_next_handshake(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    struct client c CLEANUP(client_free) = {.ctx = SSL_CTX_new(TLS_client_method())};
    (void)SSL_CTX_set_session_cache_mode(c.ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(c.ctx, keep_ticket);
    for (int round = 0; round < 2; round++) {
        open_pair(w, &usual);
        assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
        conn_write(w->s.conn, STR("hi"));
        client_open(&c, w->client, NULL);
        if (ticket)
            assert_true(SSL_set_session(c.ssl, ticket));
        c.connected = false;
        c.want = c.heard.n + 2;
        run_client(w, &c);
        assert_false(c.failed);
        assert_int_equal(SSL_session_reused(c.ssl), round);
        (void)SSL_shutdown(c.ssl); /* else it forgets the ticket */
        conn_free(w->s.conn);
        w->s.conn = NULL;
        (void)close(w->client);
        w->client = -1;
        SSL_free(c.ssl);
        c.ssl = NULL;
    }
    SSL_SESSION_free(ticket);
    ticket = NULL;
    tls_server_free(t);
}

static void old_tls_versions_are_refused(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    struct client c CLEANUP(client_free) = {.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(c.ctx, 0);
    assert_true(SSL_CTX_set_min_proto_version(c.ctx, TLS1_VERSION));
    assert_true(SSL_CTX_set_max_proto_version(c.ctx, TLS1_1_VERSION));
    open_pair(w, &usual);
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    assert_true(c.failed);
    await_closed(&w->s, E_INVALID);
    tls_server_free(t);
}

static void what_was_pipelined_before_starttls_is_thrown_away(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    struct client c CLEANUP(client_free) = {.say = STR("AFTER\n")};
    w->s.keep_line = true;
    w->s.starttls = new_tls("default.test");
    open_pair(w, &usual);
    say(w->client, STR("STARTTLS\nINJECTED\nINJECTED TOO"));
    assert_false(hear(w, &heard, 3));
    assert_true(str_eq(buf_str(&heard), STR("GO\n")));
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    assert_false(c.failed);
    await_bytes(&w->s, 15);
    assert_true(str_eq(buf_str(&w->s.got), STR("STARTTLS\nAFTER\n")));
    tls_server_free(w->s.starttls);
}

static void plaintext_after_starttls_ends_the_connection(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    w->s.keep_line = true;
    w->s.starttls = new_tls("default.test");
    open_pair(w, &usual);
    say(w->client, STR("STARTTLS\n"));
    assert_false(hear(w, &heard, 3));
    say(w->client, STR("INJECTED plaintext that is no handshake\n"));
    await_closed(&w->s, E_INVALID);
    assert_true(str_eq(buf_str(&w->s.got), STR("STARTTLS\n")));
    tls_server_free(w->s.starttls);
}

static void a_handshake_that_never_ends_is_dropped(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    open_pair(w, &(struct conn_limits){.in_max = 1000, .write_ms = 20});
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    await_closed(&w->s, E_TIMEOUT);
    tls_server_free(t);
}

static void bad_certificates_are_refused(void **state)
{
    struct tls_server *t = new_tls(NULL);
    struct pem one CLEANUP(pem_free) = make_certificate("one.test");
    struct pem two CLEANUP(pem_free) = make_certificate("two.test");
    struct str cert = buf_str(&one.cert);
    const struct {
        struct str cert, key;
    } bad[] = {
        {cert, buf_str(&two.key)},
        {cert, STR("garbage")},
        {STR("garbage"), buf_str(&one.key)},
        {{0}, {0}},
        {str_sub(cert, 0, cert.n / 2), buf_str(&one.key)},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(tls_server_add(t, NULL, 0, bad[i].cert, bad[i].key).code, E_INVALID);
    assert_false(tls_server_has_certificate(t));
    struct buf chain CLEANUP(buf_free) = {0};
    buf_put(&chain, cert);
    buf_put(&chain, buf_str(&two.cert));
    assert_int_equal(tls_server_add(t, NULL, 0, buf_str(&chain), buf_str(&one.key)).code, E_OK);
    buf_put(&chain, STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert_int_equal(tls_server_add(t, NULL, 0, buf_str(&chain), buf_str(&one.key)).code,
                     E_INVALID);
    tls_server_free(t);
}

/* ---------------------------------------------------------------------------------- listener */

struct accepting {
    struct listener *listener;
    size_t n, want;
    struct ip peer;
    bool close_at_once;
};

static void on_accept(int fd, struct ip peer, void *arg)
{
    struct accepting *a = arg;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    a->peer = peer;
    a->n++;
    (void)close(fd);
    if (a->close_at_once) {
        listener_free(a->listener);
        a->listener = NULL;
    }
}

static bool has_accepted(void *arg)
{
    struct accepting *a = arg;
    return a->n >= a->want;
}

static void a_listener_hands_over_each_connection(void **state)
{
    struct world *w = *state;
    struct sockaddr_storage sa;
    socklen_t len;
    assert_int_equal(sockaddr_parse(STR("127.0.0.1:0"), &sa, &len).code, E_OK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    struct accepting a = {.want = 3};
    a.listener = listener_new(w->s.loop, fd, on_accept, &a);
    int clients[5];
    for (size_t i = 0; i < 5; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&sa, len), 0);
        if (i == 2)
            run_until(w->s.loop, has_accepted, &a);
        a.close_at_once = i >= 2;
    }
    a.want = 4;
    run_until(w->s.loop, has_accepted, &a);
    assert_int_equal(a.n, 4); /* freed in the callback: the fifth is refused */
    struct buf text CLEANUP(buf_free) = {0};
    ip_format(&text, a.peer);
    assert_true(str_eq(buf_str(&text), STR("127.0.0.1")));
    for (size_t i = 0; i < 5; i++)
        (void)close(clients[i]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_arrive_and_answers_leave),
        T(lines_fed_one_byte_at_a_time_are_kept_until_whole),
        T(reading_pauses_when_the_input_is_full_and_goes_on_when_there_is_room),
        T(a_held_connection_is_not_read),
        T(a_connection_may_be_freed_while_it_is_read),
        T(the_peers_end_is_told_after_its_last_bytes),
        T(finishing_sends_everything_first),
        T(finishing_does_not_wait_for_a_peer_that_stays),
        T(much_output_is_told_to_have_drained),
        T(a_peer_that_sends_nothing_is_dropped_at_the_deadline),
        T(a_deadline_can_be_moved_and_removed),
        T(a_peer_that_takes_no_output_is_dropped),
        T(tls_carries_both_ways),
        T(tls_input_beyond_the_limit_waits_and_is_not_lost),
        T(the_certificate_is_that_of_the_name_asked_for),
        T(a_session_ticket_shortens_the_next_handshake),
        T(old_tls_versions_are_refused),
        T(what_was_pipelined_before_starttls_is_thrown_away),
        T(plaintext_after_starttls_ends_the_connection),
        T(a_handshake_that_never_ends_is_dropped),
        T(bad_certificates_are_refused),
        T(a_listener_hands_over_each_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
