#include "store/model.h"
#include "store/body.h"

static struct txn_email *txn_email_known(struct txn *t, email_id id)
{
    return map_get(&t->emails, map_key_u64(&id.v));
}

struct err txn_email_get(struct txn *t, email_id id, struct txn_email **out)
{
    struct txn_email *e = txn_email_known(t, id);
    if (!e) {
        Thurn__StoredEmail *pb;
        TRY(snap_email_whole(txn_snap(t), id, &t->arena, &pb));
        e = arena_new(&t->arena, struct txn_email);
        if (!e)
            return err_make(E_LIMIT, "too many emails in one transaction");
        e->pb = pb;
        map_set(&t->emails, map_key_u64(&id.v), e);
    }
    *out = e;
    return OK;
}

static struct err piece_new(struct arena *a, Thurn__StoredEmail *pb, Thurn__Piece **out)
{
    Thurn__Piece *p = arena_new(a, Thurn__Piece);
    if (!p)
        return err_make(E_LIMIT, "too many emails in one transaction");
    thurn__piece__init(p);
    pb->content[pb->n_content++] = p;
    *out = p;
    return OK;
}

/* Copies a slice for the time of the transaction. */
static struct err email_keep(struct arena *a, struct str s, ProtobufCBinaryData *out)
{
    struct str copy = str_dup(a, s);
    if (s.n && !copy.p)
        return err_make(E_LIMIT, "an email exceeds the memory for a transaction");
    *out = row_data(copy);
    return OK;
}

struct err txn_email_listing(struct txn *t, struct txn_email *e, struct str *out)
{
    if (!e->listing.n) {
        buf_clear(&t->scratch);
        listing_of_record(row_bytes(e->pb->record), &t->scratch);
        TRY(buf_err(&t->scratch));
        e->listing = str_dup(&t->arena, buf_str(&t->scratch));
        if (!e->listing.n)
            return err_make(E_LIMIT, "an email exceeds the memory for a transaction");
    }
    *out = e->listing;
    return OK;
}

static struct err email_content(struct txn *t, const struct new_email *e, Thurn__StoredEmail *pb)
{
    pb->content = arena_array(&t->arena, Thurn__Piece *, 2);
    if (!pb->content)
        return err_make(E_LIMIT, "too many emails in one transaction");
    Thurn__Piece *p;
    if (e->head.n) {
        TRY(piece_new(&t->arena, pb, &p));
        TRY(email_keep(&t->arena, e->head, &p->head));
    }
    if (e->body->bytes.n) {
        TRY(piece_new(&t->arena, pb, &p));
        p->body = t->head.next_body;
        p->length = e->body->bytes.n;
    }
    pb->size = e->head.n + e->body->bytes.n;
    pb->head_size = (uint32_t)e->head.n;
    return OK;
}

struct err txn_email_add(struct txn *t, const struct new_email *e, email_id *out)
{
    if (e->head.n > UINT32_MAX)
        return err_make(E_INVALID, "the generated head is too large");
    Thurn__StoredEmail *pb = arena_new(&t->arena, Thurn__StoredEmail);
    struct txn_email *te = arena_new(&t->arena, struct txn_email);
    if (!pb || !te)
        return err_make(E_LIMIT, "too many emails in one transaction");
    thurn__stored_email__init(pb);
    pb->account = t->account->id.v;
    pb->id = t->head.next_email;
    pb->received = (int64_t)clock_wall_us();
    TRY(email_content(t, e, pb));
    TRY(email_keep(&t->arena, e->record, &pb->record));
    TRY(email_keep(&t->arena, e->why, &pb->why));
    TRY(email_keep(&t->arena, e->trace, &pb->trace));
    ProtobufCBinaryData text;
    TRY(email_keep(&t->arena, e->text, &text));
    *te = (struct txn_email){.pb = pb, .text = row_bytes(text), .fresh = true};
    te->body = body_ref(e->body);
    map_set(&t->emails, map_key_u64(&pb->id), te);
    t->head.next_email++;
    t->head.next_body++;
    *out = (email_id){pb->id};
    return OK;
}

struct err txn_email_import(struct txn *t, const Thurn__StoredEmail *pb, struct str text,
                            struct body *body)
{
    struct buf packed CLEANUP(buf_free) = {.max = SIZE_MAX};
    row_pack(&packed, pb);
    TRY(buf_err(&packed));
    struct txn_email *te = arena_new(&t->arena, struct txn_email);
    ProtobufCBinaryData kept;
    if (!te)
        return err_make(E_LIMIT, "too many emails in one transaction");
    TRY(email_keep(&t->arena, text, &kept));
    *te = (struct txn_email){.text = row_bytes(kept), .fresh = true};
    TRY(row_unpack(&thurn__stored_email__descriptor, buf_str(&packed), t->account->id, &t->arena,
                   &te->pb));
    te->pb->refs = 0;
    te->body = body_ref(body);
    map_set(&t->emails, map_key_u64(&te->pb->id), te);
    return OK;
}

static void email_write_fresh(struct txn *t, struct txn_email *e)
{
    struct batch *b = &t->commit.batch;
    account_id account = t->account->id;
    struct key k;
    if (e->body->bytes.n) {
        key_of_u64(&k, account, KEY_BODY, e->pb->content[e->pb->n_content - 1]->body);
        batch_body(b, key_str(&k), account, e->body);
    }
    if (e->text.n) {
        buf_clear(&t->scratch);
        text_pack(&t->scratch, account, e->text);
        key_of_u64(&k, account, KEY_TEXT, e->pb->id);
        batch_put(b, key_str(&k), buf_str(&t->scratch));
    }
    t->head.emails++;
}

static void email_write(struct str key, void *value, void *arg)
{
    (void)key;
    struct txn *t = arg;
    struct txn_email *e = value;
    if (e->pb->refs == 0)
        return; /* nobody kept it */
    if (e->fresh)
        email_write_fresh(t, e);
    struct key k;
    key_of_u64(&k, t->account->id, KEY_EMAIL, e->pb->id);
    row_put(&t->commit.batch, &k, e->pb);
}

/* Each body belongs to one email of the account. */
static struct err email_drop_bodies(struct txn *t, const Thurn__StoredEmail *pb)
{
    for (size_t i = 0; i < pb->n_content; i++) {
        struct key k;
        Thurn__BodyPlace *place;
        if (!pb->content[i]->body)
            continue;
        key_of_u64(&k, t->account->id, KEY_BODY, pb->content[i]->body);
        struct err err = row_get(txn_snap(t)->view, &k, &thurn__body_place__descriptor,
                                 t->account->id, &t->arena, &place);
        if (err.code == E_OK)
            batch_body_drop(&t->commit.batch, key_str(&k), place);
        else if (err.code != E_NOTFOUND)
            return err;
    }
    return OK;
}

struct err txn_email_release(struct txn *t, email_id id)
{
    struct txn_email *e;
    struct err err = txn_email_get(t, id, &e);
    if (err.code == E_NOTFOUND || (!err.code && e->pb->refs == 0))
        return err_make(E_CORRUPT, "the email of a dead entry is missing");
    TRY(err);
    if (--e->pb->refs)
        return OK;
    struct key k;
    key_of_u64(&k, t->account->id, KEY_EMAIL, id.v);
    batch_delete(&t->commit.batch, key_str(&k));
    key_of_u64(&k, t->account->id, KEY_TEXT, id.v);
    batch_delete(&t->commit.batch, key_str(&k));
    t->head.emails--;
    return email_drop_bodies(t, e->pb);
}

void txn_emails_write(struct txn *t)
{
    map_each(&t->emails, email_write, t);
}
