#include "store/salvage.h"

enum { CHUNK = 256, CHUNK_BYTES = 8 << 20 };

/* -------------------------------------------------------------------------- what is lost */

static void tell_lost(struct salvage *s, const Thurn__Mailbox *pb, msg_uid uid, msg_uid last,
                      uint32_t messages, const Thurn__StoredEmail *email, const char *why)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    const struct str *address = map_get(&s->addresses, map_key_u64(&s->account.v));
    struct salvage_lost l = {.account = s->account,
                             .address = address ? *address : (struct str){0},
                             .mailbox = pb ? row_bytes(pb->name) : (struct str){0},
                             .uid = uid,
                             .last_uid = last,
                             .why = str_c(why)};
    ProtobufCMessage *m = NULL;
    if (email && email->record.len)
        m = protobuf_c_message_unpack(&thurn__email__descriptor, NULL, email->record.len,
                                      email->record.data);
    const Thurn__Email *record = (const void *)m;
    if (record && record->envelope) {
        l.message_id = row_bytes(record->envelope->message_id);
        l.subject = row_bytes(record->envelope->subject);
        l.date = row_bytes(record->envelope->date);
    }
    s->counts->lost += messages;
    s->damaged = s->damaged || last.v > uid.v; /* what was there is not known any more */
    s->report->lost(&l, s->report->arg);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}

/* ----------------------------------------------------------------------------- one message */

/* What a transaction needs until its commit. */
struct chunk {
    struct txn *t;
    struct buf bytes[CHUNK];
    size_t n;
    uint64_t size;
};

static struct err chunk_begin(struct salvage *s, struct chunk *c)
{
    return c->t ? OK : salvage_begin(s, &c->t);
}

static struct err chunk_end(struct chunk *c)
{
    struct err err = c->t ? txn_commit(c->t) : OK;
    for (size_t i = 0; i < c->n; i++)
        buf_free(&c->bytes[i]);
    c->t = NULL;
    c->n = 0;
    c->size = 0;
    return err;
}

static void chunk_drop(struct chunk *c)
{
    txn_abort(c->t);
    c->t = NULL;
    (void)!chunk_end(c).code;
}

static bool chunk_is_full(const struct chunk *c)
{
    return c->n == CHUNK || c->size >= CHUNK_BYTES;
}

/* A generated head, or none, and then all of a body, or none. */
static bool shape_is_known(const Thurn__StoredEmail *e)
{
    size_t bodies = 0;
    for (size_t i = 0; i < e->n_content; i++)
        bodies += e->content[i]->body != 0;
    return bodies <= 1 && (!bodies || (e->content[e->n_content - 1]->body &&
                                       e->content[e->n_content - 1]->offset == 0));
}

static struct err load_body(struct salvage *s, const Thurn__StoredEmail *e, struct buf *out)
{
    if (!shape_is_known(e))
        return err_make(E_CORRUPT, "its record contradicts itself");
    const Thurn__Piece *last = e->n_content ? e->content[e->n_content - 1] : NULL;
    if (!last || !last->body)
        return OK;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    struct key k;
    Thurn__BodyPlace *p;
    key_of_u64(&k, s->account, KEY_BODY, last->body);
    struct err err = row_get(s->snap->view, &k, &thurn__body_place__descriptor, s->account, &a, &p);
    if (err.code)
        return err_make(E_CORRUPT, "where its bytes lie is not known");
    TRY(segment_body_load(s->src->e, p->segment, p->offset, p->length, out));
    uint8_t hash[SHA256_LEN];
    sha256(buf_str(out), hash);
    if (body_short_hash(hash) != p->hash || p->length != last->length)
        return err_make(E_CORRUPT, "other bytes lie where its bytes should");
    salvage_note(&s->hashes, hash, sizeof hash);
    return OK;
}

/* Puts the email into the transaction. E_CORRUPT: it cannot be read; *out_known as far as it is. */
static struct err import_email(struct salvage *s, struct chunk *c, email_id id, struct arena *a,
                               Thurn__StoredEmail **out_known)
{
    TRY(snap_email(s->snap, id, a, out_known));
    Thurn__StoredEmail *e = *out_known;
    struct buf *bytes = &c->bytes[c->n++];
    struct buf flat CLEANUP(buf_free) = {0};
    *bytes = (struct buf){0};
    TRY(load_body(s, e, bytes));
    struct str text = {0};
    if (snap_email_text(s->snap, id, a, &text).code)
        text = (struct str){0};
    if (email_record_check(row_bytes(e->record), bytes->n, text.n).code) {
        email_record_flat(bytes->n, &flat);
        e->record = row_data(buf_str(&flat));
        text = (struct str){0};
    }
    struct body *body = body_new(buf_str(bytes));
    c->size += bytes->n;
    struct err err = txn_email_import(c->t, e, text, body);
    body_unref(body);
    return err;
}

/* As it was, in its mailbox. */
static struct err import_entry(struct chunk *c, mailbox_id m, const struct entry *e)
{
    struct txn_box *b;
    msg_uid uid;
    TRY(txn_box_select(c->t, m, &b));
    b->pb.uidnext = e->uid.v;
    uint64_t known =
        b->pb.n_keywords < KEYWORDS_MAX ? (UINT64_C(1) << b->pb.n_keywords) - 1 : UINT64_MAX;
    TRY(txn_entry_add(c->t, m, e->email, e->flags & FLAGS_ALL, e->keywords & known,
                      e->internal_date, &uid));
    b->pending[b->n - 1].after.modseq.v = MIN(e->modseq.v, c->t->head.modseq);
    return OK;
}

static bool is_loss(struct err e)
{
    return e.code == E_CORRUPT || e.code == E_IO || e.code == E_NOTFOUND;
}

static struct err import(struct salvage *s, struct chunk *c, const Thurn__Mailbox *pb,
                         const struct entry *e)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    Thurn__StoredEmail *known = NULL;
    TRY(chunk_begin(s, c));
    if (!salvage_has(&s->emails, &e->email.v, sizeof e->email.v)) {
        struct err err = import_email(s, c, e->email, &a, &known);
        if (is_loss(err)) {
            salvage_note(&s->lost, &e->email.v, sizeof e->email.v);
            tell_lost(s, pb, e->uid, e->uid, 1, known,
                      known ? err.why : "its record cannot be read");
            return OK;
        }
        TRY(err);
        salvage_note(&s->emails, &e->email.v, sizeof e->email.v);
    }
    s->counts->messages++;
    return import_entry(c, (mailbox_id){pb->id}, e);
}

/* ------------------------------------------------------------------------------ a mailbox */

/* Leaves out what keeps the entries from UID `from` on from being read. */
static void step_over(struct salvage *s, const Thurn__Mailbox *pb, uint32_t *from)
{
    struct entries *e = entries_known(s->snap, pb);
    if (entries_directory(s->snap, e).code) {
        tell_lost(s, pb, (msg_uid){*from}, (msg_uid){MAX(pb->uidnext, *from + 1) - 1}, pb->exists,
                  NULL, "the directory of the mailbox's blocks cannot be read");
        *from = UINT32_MAX;
        return;
    }
    if (entries_overlay(s->snap, e).code) {
        salvage_say(s->report,
                    "account %" PRIu64 ", mailbox \"%.*s\": its latest changes cannot be read; "
                    "flags may be older, and expunged messages may be back",
                    s->account.v, STR_FMT(row_bytes(pb->name)));
        s->damaged = true;
        e->n_over = 0;
        e->over_loaded = true;
        return;
    }
    for (size_t i = 0; i < e->dir.n; i++) {
        const struct block_ref *r = &e->dir.refs[i];
        if (r->last < *from || !entries_block(s->snap, e, i).code)
            continue;
        uint32_t first = MAX(r->first, *from);
        tell_lost(s, pb, (msg_uid){first}, (msg_uid){r->last}, r->count, NULL,
                  "a block of the mailbox cannot be read");
        /* What stands before it has been read, or is read once more up to there. */
        *from = r->last + 1;
        return;
    }
    *from = UINT32_MAX;
}

/* The last UID before the first block that cannot be read. */
static uint32_t readable_until(struct salvage *s, const Thurn__Mailbox *pb, uint32_t from)
{
    struct entries *e = entries_known(s->snap, pb);
    if (entries_directory(s->snap, e).code)
        return UINT32_MAX;
    for (size_t i = 0; i < e->dir.n; i++)
        if (e->dir.refs[i].last >= from && entries_block(s->snap, e, i).code)
            return e->dir.refs[i].first > from ? e->dir.refs[i].first - 1 : from;
    return UINT32_MAX;
}

/* The mailbox as it is told to clients. While messages are still coming it must not look as if
 * there were none behind the last one: blocks are made up to there. */
static struct err finish_box(struct salvage *s, struct chunk *c, const Thurn__Mailbox *pb)
{
    TRY(chunk_begin(s, c));
    struct txn_box *b = txn_box(c->t, (mailbox_id){pb->id});
    check(b != NULL); /* salvage has put its record there */
    b->pb.uidnext = MAX(pb->uidnext, b->pb.uidnext);
    b->pb.highest_modseq = MIN(MAX(pb->highest_modseq, b->pb.created_modseq), c->t->head.modseq);
    b->changed = true;
    return chunk_end(c);
}

static struct err import_all(struct salvage *s, struct chunk *c, const Thurn__Mailbox *pb)
{
    struct entry entries[CHUNK];
    mailbox_id m = {pb->id};
    uint32_t from = 1, to = readable_until(s, pb, 1);
    while (from < UINT32_MAX) {
        size_t n;
        (void)entries_known(s->snap, pb);
        struct err err =
            snap_entries(s->snap, m, (msg_uid){from}, (msg_uid){to}, entries, CHUNK, &n);
        if (is_loss(err)) {
            step_over(s, pb, &from);
            to = readable_until(s, pb, from);
            continue;
        }
        TRY(err);
        for (size_t i = 0; i < n; i++) {
            TRY(import(s, c, pb, &entries[i]));
            if (chunk_is_full(c))
                TRY(chunk_end(c));
        }
        if (n)
            from = entries[n - 1].uid.v + 1;
        if (n == CHUNK)
            continue;
        if (to == UINT32_MAX)
            break;
        from = to + 1;
        to = UINT32_MAX; /* meets the block, and steps over it */
    }
    return finish_box(s, c, pb);
}

struct err salvage_mailbox(struct salvage *s, const Thurn__Mailbox *pb)
{
    if (pb->no_select)
        return OK;
    struct chunk *c = mem_alloc(sizeof *c);
    struct err err = import_all(s, c, pb);
    if (err.code)
        chunk_drop(c);
    free(c);
    return err;
}

/* ------------------------------------------------------------------------------ "Recovered" */

static struct err recovered_box(struct chunk *c, mailbox_id *out)
{
    *out = txn_box_named(c->t, STR("Recovered"));
    return out->v ? OK : txn_mailbox_create(c->t, STR("Recovered"), 0, out);
}

static struct err unshown_email(struct salvage *s, struct chunk *c, email_id id)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    Thurn__StoredEmail *known = NULL;
    mailbox_id m;
    msg_uid uid;
    TRY(chunk_begin(s, c));
    struct err err = import_email(s, c, id, &a, &known);
    if (err.code == E_NOTFOUND)
        return OK;
    if (is_loss(err)) {
        tell_lost(s, NULL, (msg_uid){0}, (msg_uid){0}, 1, known, err.why);
        return OK;
    }
    TRY(err);
    TRY(recovered_box(c, &m));
    TRY(txn_entry_add(c->t, m, id, 0, 0, known->received / 1000000, &uid));
    s->counts->messages++;
    s->counts->found++;
    return OK;
}

static struct err unshown_body(struct salvage *s, struct chunk *c, const struct found_body *b)
{
    struct salvage_place place = {b->segment, b->offset};
    mailbox_id m;
    email_id id;
    msg_uid uid;
    if (b->dropped || salvage_has(&s->places, &place, sizeof place) ||
        salvage_has(&s->hashes, b->hash, sizeof b->hash))
        return OK;
    TRY(chunk_begin(s, c));
    struct buf *bytes = &c->bytes[c->n++];
    *bytes = (struct buf){0};
    struct err err = segment_body_load(s->src->e, b->segment, b->offset, b->length, bytes);
    if (is_loss(err)) {
        tell_lost(s, NULL, (msg_uid){0}, (msg_uid){0}, 1, NULL, err.why);
        return OK;
    }
    TRY(err);
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(bytes->n, &record);
    struct body *body = body_new(buf_str(bytes));
    struct new_email e = {.body = body, .record = buf_str(&record), .why = STR("salvage")};
    err = txn_email_add(c->t, &e, &id);
    body_unref(body);
    TRY(err);
    TRY(recovered_box(c, &m));
    TRY(txn_entry_add(c->t, m, id, 0, 0, clock_wall_s(), &uid));
    salvage_note(&s->hashes, b->hash, sizeof b->hash);
    s->counts->messages++;
    s->counts->found++;
    return OK;
}

static struct err unshown(struct salvage *s, struct chunk *c)
{
    for (uint64_t id = 1; s->damaged && id < s->reading.head.next_email; id++) {
        if (salvage_has(&s->emails, &id, sizeof id) || salvage_has(&s->lost, &id, sizeof id))
            continue;
        TRY(unshown_email(s, c, (email_id){id}));
        if (chunk_is_full(c))
            TRY(chunk_end(c));
    }
    for (size_t i = 0; i < s->src->n_bodies; i++) {
        if (s->src->bodies[i].account != s->account.v)
            continue;
        TRY(unshown_body(s, c, &s->src->bodies[i]));
        if (chunk_is_full(c))
            TRY(chunk_end(c));
    }
    return chunk_end(c);
}

struct err salvage_unshown(struct salvage *s)
{
    struct chunk *c = mem_alloc(sizeof *c);
    struct err err = unshown(s, c);
    if (err.code)
        chunk_drop(c);
    free(c);
    return err;
}
