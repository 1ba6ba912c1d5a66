#include "base/base.h"

#include "test_service_rig.h"

#include "mime/mime.h"

#include <dirent.h>

/* ---------------------------------------------------------------------------------- the house */

int rig_setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    list_init(&r->clients);
    log_set_level(LOG_ERROR);
    struct buf explain CLEANUP(buf_free) = {0};
    snprintf(r->dir, sizeof r->dir, "/tmp/thurn-imap-XXXXXX");
    if (!mkdtemp(r->dir))
        return 1;
    struct store_options o = {.dir = str_c(r->dir)};
    if (store_open(&o, &r->store, &explain).code)
        return 1;
    struct directory_options d = {.argon2_memory_kib = 8, .argon2_passes = 1};
    struct directory_password password = {.text = STR("secret")};
    const struct directory_settings bare = {.no_special_folders = true};
    if (directory_open(r->store, &d, &r->directory).code)
        return 1;
    directory_set(r->directory, &bare);
    if (directory_domain_add(r->directory, STR("example.test"), STR("")).code ||
        directory_account_add(r->directory, STR("alice@example.test"), password, &r->account).code)
        return 1;
    *state = r;
    return 0;
}

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char below[512];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (unlink(below))
            remove_all(below);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

int rig_teardown(void **state)
{
    struct rig *r = *state;
    list_each (l, &r->clients)
        client_free(container_of(l, struct client, link));
    directory_close(r->directory);
    store_close(r->store);
    remove_all(r->dir);
    free(r);
    return 0;
}

/* --------------------------------------------------------------------------- what a client is told
 */

static void say_flags(struct buf *b, uint32_t system, uint64_t keywords)
{
    static const char letters[] = "SAFDTR";
    for (unsigned i = 0; i < 6; i++)
        if (system >> i & 1)
            buf_byte(b, (uint8_t)letters[i]);
    if (keywords)
        buf_printf(b, "+%" PRIx64, keywords);
}

static void say_uids(struct buf *b, Thurn__NumRange **r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%u:%u", i ? "," : "", r[i]->first, r[i]->last);
}

static void say_updates(struct buf *b, const Thurn__ImapUpdates *u)
{
    buf_printf(b, "u[");
    if (u->highest_modseq)
        buf_printf(b, "modseq ");
    if (u->n_moved_from) {
        assert_int_not_equal(u->moved_uidvalidity, 0);
        buf_printf(b, "moved ");
        say_uids(b, u->moved_from, u->n_moved_from);
        buf_byte(b, '>');
        say_uids(b, u->moved_to, u->n_moved_to);
        buf_byte(b, ' ');
    }
    if (u->n_vanished) {
        buf_printf(b, u->earlier ? "earlier " : "vanished ");
        say_uids(b, u->vanished, u->n_vanished);
        buf_byte(b, ' ');
    }
    for (size_t i = 0; i < u->n_expunged; i++)
        buf_printf(b, "x%u ", u->expunged[i]);
    if (u->has_exists)
        buf_printf(b, "e%u/%u ", u->exists, u->recent);
    if (u->has_flag_names) {
        buf_printf(b, "names=");
        for (size_t i = 0; i < u->n_keywords; i++)
            buf_printf(b, "%s%.*s", i ? "," : "", STR_FMT(pb_str(u->keywords[i])));
        buf_byte(b, ' ');
    }
    for (size_t i = 0; i < u->n_flags; i++) {
        buf_printf(b, "%u=", u->flags[i]->seq);
        say_flags(b, u->flags[i]->system, u->flags[i]->keywords);
        buf_byte(b, ' ');
    }
    buf_cut(b, b->n - (b->n > 2 && b->p[b->off + b->n - 1] == ' '));
    buf_printf(b, "] ");
}

static void row_close_sections(struct client *c)
{
    while (c->row_open && c->left == 0) {
        if (c->section < c->n_lengths) {
            bool nil = c->nil >> c->section & 1;
            buf_printf(&c->said, "{");
            buf_put(&c->said, nil ? STR("NIL") : buf_str(&c->bytes));
            buf_printf(&c->said, "}");
            buf_clear(&c->bytes);
            c->section++;
        }
        if (c->section == c->n_lengths) {
            buf_printf(&c->said, "] ");
            c->row_open = false;
        } else {
            c->left = c->lengths[c->section];
        }
    }
}

static void row_bytes(struct client *c, struct str *raw)
{
    while (c->row_open) {
        size_t n = (size_t)MIN(c->left, (uint64_t)raw->n);
        buf_put(&c->bytes, str_sub(*raw, 0, n));
        *raw = str_skip(*raw, n);
        c->left -= n;
        if (c->left)
            return;
        row_close_sections(c);
    }
}

static void say_row(struct client *c, const Thurn__FetchRow *r, struct str *raw)
{
    assert_false(c->row_open);
    struct buf *b = &c->said;
    buf_printf(b, "r[%u", r->seq);
    if (r->items & THURN__FETCH_ITEM__FETCH_UID)
        buf_printf(b, " u%u", r->uid);
    if (r->items & THURN__FETCH_ITEM__FETCH_FLAGS) {
        buf_printf(b, " =");
        say_flags(b, r->system, r->keywords);
    }
    if (r->items & THURN__FETCH_ITEM__FETCH_INTERNALDATE)
        buf_printf(b, " d%" PRId64, r->internal_date);
    if (r->items & THURN__FETCH_ITEM__FETCH_SIZE)
        buf_printf(b, " z%" PRIu64, r->size);
    if (r->items & THURN__FETCH_ITEM__FETCH_RECORD)
        buf_printf(b, " record%s", r->record.len ? "" : "-missing");
    for (size_t i = 0; i < r->n_codings; i++)
        buf_printf(b, " %u/%" PRIu64, r->codings[i], r->sizes[i]);
    assert_true(r->n_lengths <= ARRAY_LEN(c->lengths));
    for (size_t i = 0; i < r->n_lengths; i++)
        c->lengths[i] = r->lengths[i];
    c->n_lengths = r->n_lengths;
    c->nil = r->nil;
    c->section = 0;
    c->left = r->n_lengths ? r->lengths[0] : 0;
    c->row_open = true;
    if (r->n_lengths)
        row_bytes(c, raw);
    else
        row_close_sections(c);
}

static void say_rows(struct client *c, const Thurn__ImapRows *rows, struct str raw)
{
    row_bytes(c, &raw);
    for (size_t i = 0; i < rows->n_rows; i++)
        say_row(c, rows->rows[i], &raw);
    struct columns_reader r;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    if (rows->column_rows)
        assert_int_equal(
            columns_begin(&r, pb_str(rows->columns), rows->column_items, rows->column_rows).code,
            E_OK);
    for (uint32_t i = 0; i < rows->column_rows; i++) {
        assert_int_equal(columns_next(&r, &row).code, E_OK);
        say_row(c, &row, &raw);
    }
    assert_int_equal(raw.n, 0);
}

static void say_mailboxes(struct buf *b, const Thurn__ImapMailboxes *m)
{
    buf_printf(b, "m[");
    for (size_t i = 0; i < m->n_rows; i++) {
        const Thurn__ImapMailboxRow *r = m->rows[i];
        buf_printf(b, "%s%.*s%s%s%s%s", i ? " " : "", STR_FMT(pb_str(r->name)),
                   r->no_select ? "(noselect)" : "", r->no_exist ? "(nonexistent)" : "",
                   r->has_children ? "(children)" : "", r->subscribed ? "(subscribed)" : "");
        if (r->special_use)
            buf_printf(b, "(use %u)", r->special_use);
    }
    buf_printf(b, "] ");
}

static void say_done(struct client *c, const Thurn__ImapDone *d)
{
    struct buf *b = &c->said;
    const Thurn__ImapSelected *s = d->selected;
    assert_false(c->row_open);
    if (s) {
        buf_printf(b, "selected(e%u/%u next %u unseen %u%s", s->exists, s->recent, s->uidnext,
                   s->first_unseen, s->read_only ? " read-only" : "");
        for (size_t i = 0; i < s->n_keywords; i++)
            buf_printf(b, " %.*s", STR_FMT(pb_str(s->keywords[i])));
        buf_printf(b, ") ");
    }
    if (d->mailbox_status)
        buf_printf(b, "status(e%u/%u next %u unseen %u) ", d->mailbox_status->messages,
                   d->mailbox_status->recent, d->mailbox_status->uidnext,
                   d->mailbox_status->unseen);
    if (d->n_target_uids) {
        assert_int_not_equal(d->uidvalidity, 0);
        say_uids(b, d->source_uids, d->n_source_uids);
        buf_printf(b, ">");
        say_uids(b, d->target_uids, d->n_target_uids);
        buf_byte(b, ' ');
    }
    if (d->n_modified) {
        buf_printf(b, "modified ");
        say_uids(b, d->modified, d->n_modified);
        buf_byte(b, ' ');
    }
    if (d->status->code == THURN__CODE__DONE)
        buf_printf(b, "ok");
    else
        buf_printf(
            b, "no(%s)",
            protobuf_c_enum_descriptor_get_value(&thurn__code__descriptor, (int)d->status->code)
                ->name);
}

static void keep_record(struct client *c, ProtobufCBinaryData sealed)
{
    if (sealed.len == 0)
        return;
    buf_clear(&c->record);
    buf_put(&c->record, pb_str(sealed));
}

static void host_seal(void *host_session, Thurn__ImapResume *record, struct buf *out)
{
    (void)host_session;
    pb_pack(out, &record->base);
    assert_true(out->n <= RPC_RESUME_MAX);
}

static struct err host_send(void *host_session, uint16_t type, uint32_t serial,
                            const ProtobufCMessage *m, struct str raw)
{
    struct client *c = host_session;
    if (c->dies_in && --c->dies_in == 0)
        c->dead = true;
    if (c->dead)
        return err_make(E_CLOSED, "the backend is dead");
    if (type == RPC_IMAP_UPDATES)
        keep_record(c, ((const Thurn__ImapUpdates *)(const void *)m)->resume);
    if (type == RPC_IMAP_DONE)
        keep_record(c, ((const Thurn__ImapDone *)(const void *)m)->resume);
    const struct frame_type *t = NULL;
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == type)
            t = &rpc_table.types[i];
    check(t);
    assert_ptr_equal(t->message, m->descriptor);
    assert_true(protobuf_c_message_get_packed_size(m) <= t->max_typed);
    assert_true(raw.n <= t->max_raw);
    assert_int_equal(serial, c->serial);
    c->frames++;
    c->no_room = true;
    if (c->heard)
        c->heard(c, type, m);
    switch (type) {
    case RPC_IMAP_UPDATES:
        assert_false(c->row_open);
        say_updates(&c->said, (const void *)m);
        break;
    case RPC_IMAP_ROWS: say_rows(c, (const void *)m, raw); break;
    case RPC_IMAP_BYTES:
        assert_true(c->row_open && raw.n > 0);
        row_bytes(c, &raw);
        assert_int_equal(raw.n, 0);
        break;
    case RPC_IMAP_MAILBOXES: say_mailboxes(&c->said, (const void *)m); break;
    case RPC_IMAP_NUMBERS: {
        const Thurn__ImapNumbers *n = (const void *)m;
        buf_printf(&c->said, "n[");
        for (size_t i = 0; i < n->n_numbers; i++)
            buf_printf(&c->said, "%s%u", i ? " " : "", n->numbers[i]);
        if (n->last)
            buf_printf(&c->said, " of %u from %u to %u", n->count, n->min, n->max);
        buf_printf(&c->said, "] ");
        break;
    }
    case RPC_IMAP_BYE:
        buf_printf(&c->said, "bye(%.*s)",
                   STR_FMT(pb_str(((const Thurn__ImapBye *)(const void *)m)->status->text)));
        break;
    default:
        assert_int_equal(type, RPC_IMAP_DONE);
        say_done(c, (const void *)m);
        break;
    }
    return OK;
}

static struct err host_authenticate(void *host_session, struct str user, struct str password,
                                    struct principal *out)
{
    struct client *c = host_session;
    return directory_authenticate(c->rig->directory, user, password, out);
}

/* After each frame there is no room, once: every request stops wherever it can. */
static bool host_room(void *host_session)
{
    struct client *c = host_session;
    bool room = !c->no_room || c->rig->host.slice_bytes > 1;
    c->no_room = false;
    return room;
}

/* ------------------------------------------------------------------------------------- requests */

static void run_frame(struct client *c, struct frame *f, const struct imap_scanned *scanned)
{
    assert_int_not_equal(imap_request_needs(c->imap, f), IMAP_FORBIDDEN);
    while (imap_session_run(c->imap, f, scanned) == IMAP_RUN_YIELD && !c->dead)
        c->yields++;
}

/* As the frontend does. */
static ProtobufCBinaryData *name_request(ProtobufCMessage *m, uint8_t name[16])
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "change");
    ProtobufCBinaryData *change =
        field ? (ProtobufCBinaryData *)(void *)((uint8_t *)m + field->offset) : NULL;
    if (!change || change->len)
        return NULL;
    random_bytes(name, 16);
    *change = (ProtobufCBinaryData){16, name};
    return change;
}

static void run(struct client *c, uint16_t type, ProtobufCMessage *m,
                const struct imap_scanned *scanned)
{
    struct frame f = {.fd = -1, .serial = ++c->serial};
    struct buf packed CLEANUP(buf_free) = {0};
    uint8_t name[16];
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == type)
            f.type = &rpc_table.types[i];
    arena_init(&f.arena, 1024 * 1024);
    ProtobufCBinaryData *named = name_request(m, name);
    pb_pack(&packed, m);
    if (named)
        named->len = 0;
    f.message = pb_unpack(&f.arena, f.type->message, buf_str(&packed));
    assert_non_null(f.message);
    run_frame(c, &f, scanned);
    while (c->dead) {
        client_resume(c);
        run_frame(c, &f, scanned);
    }
    arena_free(&f.arena);
}

void ask(struct client *c, uint16_t type, ProtobufCMessage *m)
{
    run(c, type, m, NULL);
}

struct client *client_new(struct rig *r)
{
    struct client *c = mem_alloc(sizeof *c);
    c->rig = r;
    list_append(&r->clients, &c->link);
    r->host.store = r->store;
    r->host.directory = r->directory;
    r->host.message_size_limit = 64 * 1024 * 1024;
    if (!r->host.slice_bytes) {
        r->host.slice_us = 5000000;
        r->host.slice_bytes = 256 * 1024;
    }
    r->host.authenticate = host_authenticate;
    r->host.send = host_send;
    r->host.room = host_room;
    r->host.seal = host_seal;
    c->imap = imap_session_new(&r->host, c, true);
    Thurn__ImapLogin m = THURN__IMAP_LOGIN__INIT;
    m.user = pb_bytes(STR("alice@example.test"));
    m.password = pb_bytes(STR("secret"));
    ask(c, RPC_IMAP_LOGIN, &m.base);
    assert_said(c, "ok");
    return c;
}

struct client *client_in(struct rig *r, const char *mailbox)
{
    struct client *c = client_new(r);
    ask_select(c, mailbox, false);
    client_said(c);
    return c;
}

void client_free(struct client *c)
{
    list_remove(&c->link);
    imap_session_cancel(c->imap);
    imap_session_free(c->imap);
    buf_free(&c->said);
    buf_free(&c->bytes);
    buf_free(&c->record);
    free(c);
}

void client_resume(struct client *c)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 64 * 1024);
    const Thurn__ImapResume *record =
        (void *)pb_unpack(&a, &thurn__imap_resume__descriptor, buf_str(&c->record));
    assert_non_null(record);
    imap_session_cancel(c->imap);
    imap_session_free(c->imap);
    c->imap = imap_session_new(&c->rig->host, c, true);
    assert_int_equal(imap_session_resume(c->imap, record).code, E_OK);
    c->deaths += c->dead;
    c->dead = c->row_open = false;
    buf_clear(&c->bytes);
}

const char *client_said(struct client *c)
{
    static char text[256 * 1024];
    assert_true(c->said.n < sizeof text);
    memcpy(text, buf_str(&c->said).p ? buf_str(&c->said).p : (const uint8_t *)"", c->said.n);
    text[c->said.n] = 0;
    buf_clear(&c->said);
    return text;
}

static uint32_t number_of(struct cur *c)
{
    return cur_accept(c, '*') ? UINT32_MAX : (uint32_t)cur_decimal(c, UINT32_MAX);
}

Thurn__ImapSet *set_of(struct arena *a, const char *text, bool uid)
{
    Thurn__ImapSet *set = arena_new(a, Thurn__ImapSet);
    thurn__imap_set__init(set);
    set->uid = uid;
    set->ranges = arena_array(a, Thurn__NumRange *, strlen(text) + 1);
    for (struct cur c = cur_of(str_c(text)); !cur_end(&c); cur_accept(&c, ',')) {
        Thurn__NumRange *r = arena_new(a, Thurn__NumRange);
        thurn__num_range__init(r);
        r->first = r->last = number_of(&c);
        if (cur_accept(&c, ':'))
            r->last = number_of(&c);
        set->ranges[set->n_ranges++] = r;
    }
    return set;
}

void ask_select(struct client *c, const char *mailbox, bool examine)
{
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    m.mailbox = pb_bytes(str_c(mailbox));
    m.examine = examine;
    ask(c, RPC_IMAP_SELECT, &m.base);
}

void ask_noop(struct client *c)
{
    Thurn__ImapNoop m = THURN__IMAP_NOOP__INIT;
    ask(c, RPC_IMAP_NOOP, &m.base);
}

void ask_append(struct client *c, const char *mailbox, struct str message, uint32_t flags)
{
    Thurn__ImapFlags f = THURN__IMAP_FLAGS__INIT;
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    struct arena a CLEANUP(arena_free);
    struct buf record CLEANUP(buf_free) = {0};
    struct mime_result parsed;
    arena_init(&a, 256 * 1024 * 1024);
    assert_int_equal(mime_parse(message, &mime_limits_default, &a, &parsed).code, E_OK);
    pb_pack(&record, &parsed.email->base);
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages = &one;
    f.system = flags;
    one.flags = &f;
    one.internal_date = 1000000000;
    one.has_date = true;
    one.size = message.n;
    m.mailbox = pb_bytes(str_c(mailbox));
    m.messages = &messages;
    m.n_messages = 1;
    struct imap_scanned_message bytes = {message, buf_str(&record), parsed.text};
    struct imap_scanned scanned = {&bytes, 1};
    run(c, RPC_IMAP_APPEND, &m.base, &scanned);
}

void ask_append_as(struct client *c, Thurn__ImapAppend *m, const struct imap_scanned *scanned)
{
    run(c, RPC_IMAP_APPEND, &m->base, scanned);
}

void ask_store(struct client *c, const char *set, bool uid, int mode, bool silent, uint32_t flags,
               const char *keyword)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapFlags f = THURN__IMAP_FLAGS__INIT;
    Thurn__ImapStore m = THURN__IMAP_STORE__INIT;
    ProtobufCBinaryData word = pb_bytes(str_c(keyword));
    f.system = flags;
    f.n_keywords = keyword ? 1 : 0;
    f.keywords = &word;
    m.set = set_of(&a, set, uid);
    m.mode = (Thurn__ImapStore__Mode)mode;
    m.silent = silent;
    m.flags = &f;
    ask(c, RPC_IMAP_STORE, &m.base);
}

static void section_of(struct arena *a, struct str text, Thurn__Section *s)
{
    static const struct str names[] = {STR_INIT("-"),
                                       STR_INIT("HEADER"),
                                       STR_INIT("HEADER.FIELDS"),
                                       STR_INIT("HEADER.FIELDS.NOT"),
                                       STR_INIT("TEXT"),
                                       STR_INIT("MIME")};
    struct cur c = cur_of(text);
    thurn__section__init(s);
    s->path = arena_array(a, uint32_t, 16);
    while (cur_peek(&c) >= '0' && cur_peek(&c) <= '9') {
        s->path[s->n_path++] = (uint32_t)cur_decimal(&c, 1000);
        cur_accept(&c, '.');
    }
    for (size_t i = ARRAY_LEN(names); i-- > 1;)
        if (cur_accept_str(&c, names[i])) {
            s->part = (Thurn__SectionPart)i;
            break;
        }
    if (cur_accept(&c, '~'))
        s->use = THURN__SECTION_USE__USE_DECODED;
    if (cur_accept(&c, '#'))
        s->use = THURN__SECTION_USE__USE_MEASURED;
    if (cur_accept(&c, '<')) {
        s->partial = true;
        s->offset = (uint32_t)cur_decimal(&c, UINT32_MAX);
        cur_accept(&c, '.');
        s->length = (uint32_t)cur_decimal(&c, UINT32_MAX);
        cur_accept(&c, '>');
    }
    assert_true(cur_end(&c));
}

void ask_fetch(struct client *c, const char *set, bool uid, uint32_t items, const char *sections,
               bool seen)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    Thurn__Section parts[16], *pointers[16];
    m.set = set_of(&a, set, uid);
    m.items = items;
    m.set_seen = seen;
    m.sections = pointers;
    for (struct str rest = str_c(sections); sections; rest = str_skip(rest, 1)) {
        size_t end = str_find_byte(rest, ' ', 0);
        section_of(&a, str_sub(rest, 0, end), &parts[m.n_sections]);
        pointers[m.n_sections] = &parts[m.n_sections];
        m.n_sections++;
        rest = str_skip(rest, end);
        if (rest.n == 0)
            break;
    }
    ask(c, RPC_IMAP_FETCH, &m.base);
}

void ask_expunge(struct client *c, const char *uids)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapExpunge m = THURN__IMAP_EXPUNGE__INIT;
    m.set = uids ? set_of(&a, uids, true) : NULL;
    ask(c, RPC_IMAP_EXPUNGE, &m.base);
}

static void copy(struct client *c, const char *set, bool uid, const char *mailbox, bool move)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapCopy m = THURN__IMAP_COPY__INIT;
    m.set = set_of(&a, set, uid);
    m.mailbox = pb_bytes(str_c(mailbox));
    m.move = move;
    ask(c, RPC_IMAP_COPY, &m.base);
}

void ask_copy(struct client *c, const char *set, bool uid, const char *mailbox)
{
    copy(c, set, uid, mailbox, false);
}

void ask_move(struct client *c, const char *set, bool uid, const char *mailbox)
{
    copy(c, set, uid, mailbox, true);
}

void ask_enable(struct client *c, uint32_t extensions)
{
    Thurn__ImapEnable m = THURN__IMAP_ENABLE__INIT;
    m.extensions = extensions;
    ask(c, RPC_IMAP_ENABLE, &m.base);
}

void ask_resync(struct client *c, const char *mailbox, uint32_t uidvalidity, uint64_t known)
{
    Thurn__ImapResync resync = THURN__IMAP_RESYNC__INIT;
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    resync.uidvalidity = uidvalidity;
    resync.modseq = known;
    m.mailbox = pb_bytes(str_c(mailbox));
    m.condstore = true;
    m.resync = &resync;
    ask(c, RPC_IMAP_SELECT, &m.base);
}

void ask_name(struct client *c, uint16_t type, const char *mailbox)
{
    Thurn__ImapCreate create = THURN__IMAP_CREATE__INIT;
    Thurn__ImapDelete del = THURN__IMAP_DELETE__INIT;
    Thurn__ImapSubscribe subscribe = THURN__IMAP_SUBSCRIBE__INIT;
    Thurn__ImapStatus status = THURN__IMAP_STATUS__INIT;
    create.mailbox = del.mailbox = subscribe.mailbox = status.mailbox = pb_bytes(str_c(mailbox));
    subscribe.on = true;
    status.items = 31;
    switch (type) {
    case RPC_IMAP_CREATE: ask(c, type, &create.base); break;
    case RPC_IMAP_DELETE: ask(c, type, &del.base); break;
    case RPC_IMAP_SUBSCRIBE: ask(c, type, &subscribe.base); break;
    default: ask(c, type, &status.base); break;
    }
}

void ask_list(struct client *c, const char *reference, const char *pattern, bool lsub)
{
    Thurn__ImapList m = THURN__IMAP_LIST__INIT;
    ProtobufCBinaryData p = pb_bytes(str_c(pattern));
    m.reference = pb_bytes(str_c(reference));
    m.patterns = &p;
    m.n_patterns = 1;
    m.lsub = lsub;
    ask(c, RPC_IMAP_LIST, &m.base);
}
