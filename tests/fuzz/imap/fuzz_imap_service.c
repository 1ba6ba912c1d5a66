/*
 * A frontend that has been taken over: any requests in any order, as far as the backend's tables
 * let them through to the service, on a real store. Whatever is answered must fit its frame.
 *
 * Input: a byte that says whether a mailbox is selected first, then requests: which one, the length
 * of its message (two bytes), the message. Behind an APPEND stands a byte for each of its messages,
 * of which letter it is and whether the scanner is itself taken over: then the length (two bytes)
 * and bytes of a record follow, and the same of a text.
 */
#include "base/base.h"

#include "imap/imap_service.h"
#include "mime/mime.h"
#include "net/frame.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { REQUESTS_MOST = 12, SLICES_MOST = 500, LETTERS = 4, APPENDED_MOST = 8 };

static const uint16_t requests[] = {
    RPC_IMAP_SELECT, RPC_IMAP_CLOSE,        RPC_IMAP_CREATE, RPC_IMAP_DELETE, RPC_IMAP_RENAME,
    RPC_IMAP_LIST,   RPC_IMAP_SUBSCRIBE,    RPC_IMAP_STATUS, RPC_IMAP_NOOP,   RPC_IMAP_EXPUNGE,
    RPC_IMAP_SEARCH, RPC_IMAP_FETCH,        RPC_IMAP_STORE,  RPC_IMAP_COPY,   RPC_IMAP_ENABLE,
    RPC_IMAP_QUOTA,  RPC_IMAP_APPEND_CHECK, RPC_IMAP_APPEND,
};

static const struct str letters[LETTERS] = {
    STR_INIT("From: a@example.org\r\nSubject: one\r\n\r\nbody\r\n"),
    STR_INIT(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: "
        "message/rfc822\r\n\r\nSubject: inner\r\n\r\ny\r\n--b--\r\n"),
    STR_INIT("no header\r\n"),
    STR_INIT("Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n"),
};

static struct {
    char dir[64];
    struct store *store;
    struct directory *directory;
    struct imap_host host;
    unsigned accounts;
    char user[40]; /* of the account in use */
    bool changed;  /* since it was made */
} house;

/* ------------------------------------------------------------------------------------ the house */

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char below[512];
        if (str_eq(str_c(e->d_name), STR(".")) || str_eq(str_c(e->d_name), STR("..")))
            continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (unlink(below))
            remove_all(below);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(path);
}

static void house_end(void)
{
    directory_close(house.directory);
    store_close(house.store);
    remove_all(house.dir);
}

static struct err authenticate(void *session, struct str user, struct str password,
                               struct principal *out)
{
    return directory_authenticate(house.directory, user, password, out);
}

static struct err answer_fits(void *session, uint16_t type, uint32_t serial,
                              const ProtobufCMessage *m, struct str raw)
{
    const struct frame_type *t = frame_type_find(&rpc_table, type);
    check(t != NULL && protobuf_c_message_check(m));
    check(protobuf_c_message_get_packed_size(m) <= t->max_typed && raw.n <= t->max_raw);
    return OK;
}

static bool always_room(void *session)
{
    return true;
}

static void unsealed(void *session, Thurn__ImapResume *record, struct buf *out)
{
    pb_pack(out, &record->base);
}

static void house_begin(void)
{
    struct buf explain CLEANUP(buf_free) = {0};
    log_set_level(LOG_ERROR);
    (void)snprintf(house.dir, sizeof house.dir, "%s/thurn-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    check(mkdtemp(house.dir) != NULL);
    const struct store_options o = {.dir = str_c(house.dir)};
    const struct directory_options d = {.argon2_memory_kib = 8, .argon2_passes = 1};
    check(store_open(&o, &house.store, &explain).code == E_OK);
    check(directory_open(house.store, &d, &house.directory).code == E_OK);
    check(directory_domain_add(house.directory, STR("example.test"), STR("")).code == E_OK);
    house.host = (struct imap_host){.store = house.store,
                                    .directory = house.directory,
                                    .message_size_limit = 1024 * 1024,
                                    .slice_us = 5000000,
                                    .slice_bytes = 16 * 1024,
                                    .authenticate = authenticate,
                                    .send = answer_fits,
                                    .room = always_room,
                                    .seal = unsealed};
    house.changed = true;
    (void)atexit(house_end);
}

static struct err put_letter(struct txn *t, struct str letter, mailbox_id inbox)
{
    struct arena a CLEANUP(arena_free);
    struct buf record CLEANUP(buf_free) = {0};
    struct mime_result parsed;
    email_id email;
    msg_uid uid;
    arena_init(&a, 1024 * 1024);
    TRY(mime_parse(letter, &mime_limits_default, &a, &parsed));
    pb_pack(&record, &parsed.email->base);
    struct body *body = body_new(letter);
    const struct new_email m = {.body = body, .record = buf_str(&record), .text = parsed.text};
    struct err e = txn_email_add(t, &m, &email);
    body_unref(body);
    TRY(e);
    return txn_entry_add(t, inbox, email, 0, 0, 1000000000, &uid);
}

static void put_letters(account_id id)
{
    struct account *account;
    struct txn *t;
    struct arena a CLEANUP(arena_free);
    Thurn__Mailbox *inbox;
    arena_init(&a, 64 * 1024);
    check(account_open(house.store, id, &account).code == E_OK);
    check(txn_begin(account, &t).code == E_OK);
    check(snap_mailbox_named(txn_snap(t), STR("INBOX"), &a, &inbox).code == E_OK);
    for (size_t i = 0; i < LETTERS; i++)
        check(put_letter(t, letters[i], (mailbox_id){inbox->id}).code == E_OK);
    check(txn_commit(t).code == E_OK);
    account_close(account);
}

/* A new account for the one that was changed, so that each input finds the same. */
static void house_tidy(void)
{
    const struct directory_password password = {.text = STR("{PLAIN}x"), .is_hash = true};
    account_id id;
    if (!house.changed)
        return;
    (void)snprintf(house.user, sizeof house.user, "u%u@example.test", ++house.accounts);
    check(directory_account_add(house.directory, str_c(house.user), password, &id).code == E_OK);
    put_letters(id);
    house.changed = false;
}

/* -------------------------------------------------------------------------------- the requests */

static void run_scanned(struct imap_session *s, struct frame *f, const struct imap_scanned *scanned)
{
    size_t slices = 0;
    while (imap_session_run(s, f, scanned) == IMAP_RUN_YIELD && ++slices < SLICES_MOST)
        ;
    if (slices == SLICES_MOST)
        imap_session_cancel(s);
}

static void run(struct imap_session *s, struct frame *f)
{
    run_scanned(s, f, NULL);
}

static struct str take_counted(struct cur *in)
{
    size_t length = cur_u16le(in);
    return cur_take(in, MIN(length, cur_left(in)));
}

static void scan(struct cur *in, struct arena *a, struct imap_scanned_message *out)
{
    uint8_t how = cur_byte(in);
    struct mime_result parsed;
    *out = (struct imap_scanned_message){.message = letters[how % LETTERS]};
    if (how & 0x80) {
        out->record = take_counted(in);
        out->text = take_counted(in);
    } else if (mime_parse(out->message, &mime_limits_default, a, &parsed).code == E_OK) {
        size_t n = protobuf_c_message_get_packed_size(&parsed.email->base);
        uint8_t *record = arena_alloc(a, n);
        check(record != NULL);
        (void)protobuf_c_message_pack(&parsed.email->base, record);
        out->record = str_of(record, n);
        out->text = parsed.text;
    }
}

static void run_append(struct imap_session *s, struct frame *f, struct cur *in)
{
    const Thurn__ImapAppend *m = (const void *)f->message;
    struct imap_scanned_message messages[APPENDED_MOST];
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 8 * 1024 * 1024);
    if (m->n_messages == 0 || m->n_messages > APPENDED_MOST)
        return; /* none is answered before; more are more of the same */
    for (size_t i = 0; i < m->n_messages; i++)
        scan(in, &a, &messages[i]);
    const struct imap_scanned scanned = {messages, m->n_messages};
    run_scanned(s, f, &scanned);
}

static void ask(struct imap_session *s, uint16_t type, ProtobufCMessage *m)
{
    struct frame f = {.type = frame_type_find(&rpc_table, type), .fd = -1, .message = m};
    arena_init(&f.arena, 64 * 1024);
    run(s, &f);
    arena_free(&f.arena);
}

/* False: the backend would have ended the session. */
static bool ask_next(struct imap_session *s, struct cur *in)
{
    uint16_t type = requests[cur_byte(in) % ARRAY_LEN(requests)];
    struct str typed = take_counted(in);
    struct frame_parts parts = {.head = {.type = frame_type_find(&rpc_table, type)},
                                .typed = typed};
    struct frame *f;
    parts.head.typed = (uint32_t)typed.n;
    if (in->bad || typed.n > parts.head.type->max_typed ||
        frame_unpack(&parts, -1, &f).code != E_OK)
        return false;
    enum imap_needs needs = imap_request_needs(s, f);
    house.changed |= needs == IMAP_NEEDS_WRITER || needs == IMAP_NEEDS_SCAN;
    if (needs == IMAP_NEEDS_NOTHING || needs == IMAP_NEEDS_WRITER)
        run(s, f);
    else if (needs == IMAP_NEEDS_SCAN)
        run_append(s, f, in);
    frame_free(f);
    return needs != IMAP_FORBIDDEN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!house.store)
        house_begin();
    house_tidy();
    struct cur in = cur_of(str_of(data, n));
    struct imap_session *s = imap_session_new(&house.host, NULL, true);
    Thurn__ImapLogin login = THURN__IMAP_LOGIN__INIT;
    login.user = pb_bytes(str_c(house.user));
    login.password = pb_bytes(STR("x"));
    ask(s, RPC_IMAP_LOGIN, &login.base);
    if (cur_byte(&in) & 1) {
        Thurn__ImapSelect select = THURN__IMAP_SELECT__INIT;
        select.mailbox = pb_bytes(STR("INBOX"));
        ask(s, RPC_IMAP_SELECT, &select.base);
    }
    for (size_t i = 0; i < REQUESTS_MOST && cur_left(&in) && ask_next(s, &in); i++)
        ;
    imap_session_cancel(s);
    imap_session_free(s);
    return 0;
}
