#include "store/log.h"

static const struct str segment_magic = STR_INIT("THURNSEG");
static const struct str group_magic = STR_INIT("THGR");
static const struct str record_magic = STR_INIT("THRC");

enum { SEGMENT_HASHED = 64, GROUP_HASHED = 32 }; /* the bytes that the checksum covers */

static bool take_zeros(struct cur *c, size_t n)
{
    struct cur zeros = cur_of(cur_take(c, n));
    while (!cur_end(&zeros))
        if (cur_byte(&zeros) != 0)
            return cur_fail(c);
    return !c->bad;
}

static void take_copy(struct cur *c, uint8_t *out, size_t n)
{
    struct str s = cur_take(c, n);
    if (s.n == n)
        memcpy(out, s.p, n);
}

static void put_zeros(struct buf *out, size_t n)
{
    static const uint8_t zeros[SEGMENT_HEADER];
    check(n <= sizeof zeros);
    buf_put(out, str_of(zeros, n));
}

void segment_header_put(struct buf *out, const struct segment_header *h)
{
    size_t from = out->n;
    buf_put(out, segment_magic);
    buf_u16le(out, LOG_FORMAT);
    buf_u16le(out, h->kind);
    buf_u32le(out, 0);
    buf_put(out, str_of(h->uuid, UUID_LEN));
    buf_u64le(out, h->number);
    buf_u64le(out, h->before);
    buf_u64le(out, h->before_end);
    buf_u64le(out, h->sequence);
    uint8_t hash[SHA256_LEN];
    sha256(str_skip(buf_str(out), from), hash);
    buf_put(out, str_of(hash, sizeof hash));
    put_zeros(out, SEGMENT_HEADER - SEGMENT_HASHED - SHA256_LEN);
}

struct err segment_header_get(struct str bytes, struct segment_header *out)
{
    struct cur c = cur_of(str_sub(bytes, 0, SEGMENT_HEADER));
    struct segment_header h;
    uint8_t hash[SHA256_LEN];
    if (!cur_accept_str(&c, segment_magic) || cur_u16le(&c) != LOG_FORMAT)
        return err_make(E_INVALID, "not a segment of this format");
    h.kind = cur_u16le(&c);
    take_zeros(&c, 4);
    take_copy(&c, h.uuid, sizeof h.uuid);
    h.number = cur_u64le(&c);
    h.before = cur_u64le(&c);
    h.before_end = cur_u64le(&c);
    h.sequence = cur_u64le(&c);
    sha256(str_sub(bytes, 0, SEGMENT_HASHED), hash);
    bool intact = cur_accept_str(&c, str_of(hash, sizeof hash));
    take_zeros(&c, SEGMENT_HEADER - SEGMENT_HASHED - SHA256_LEN);
    if (!intact || c.bad || (h.kind != SEGMENT_GROUPS && h.kind != SEGMENT_BIG_BODY))
        return err_make(E_INVALID, "damaged segment header");
    *out = h;
    return OK;
}

void record_header_put(struct buf *out, const struct record_header *h)
{
    buf_put(out, record_magic);
    buf_byte(out, h->kind);
    buf_byte(out, h->format);
    buf_byte(out, h->codec);
    buf_byte(out, 0);
    buf_u64le(out, h->key_id);
    buf_u64le(out, h->account);
    buf_u64le(out, h->plain);
    buf_u64le(out, h->stored);
    buf_u64le(out, 0);
    buf_put(out, str_of(h->hash, SHA256_LEN));
}

static bool record_kind_known(const struct record_header *h)
{
    return (h->kind == RECORD_BODY || h->kind == RECORD_BATCH) && h->format == 1 && h->codec == 0 &&
           h->key_id == 0 && h->plain == h->stored;
}

struct err record_header_get(struct str bytes, struct record_header *out)
{
    struct cur c = cur_of(str_sub(bytes, 0, RECORD_HEADER));
    struct record_header h;
    if (!cur_accept_str(&c, record_magic))
        return err_make(E_INVALID, "no record");
    h.kind = cur_byte(&c);
    h.format = cur_byte(&c);
    h.codec = cur_byte(&c);
    take_zeros(&c, 1);
    h.key_id = cur_u64le(&c);
    h.account = cur_u64le(&c);
    h.plain = cur_u64le(&c);
    h.stored = cur_u64le(&c);
    take_zeros(&c, 8);
    take_copy(&c, h.hash, sizeof h.hash);
    if (c.bad || !record_kind_known(&h))
        return err_make(E_INVALID, "damaged record header");
    *out = h;
    return OK;
}

static void group_hash(const struct group_home *home, struct str header, struct str record_headers,
                       uint8_t out[SHA256_LEN])
{
    struct buf all CLEANUP(buf_free) = {0};
    buf_put(&all, str_of(home->uuid, UUID_LEN));
    buf_u64le(&all, home->segment);
    buf_put(&all, header);
    buf_put(&all, record_headers);
    check(!all.bad);
    sha256(buf_str(&all), out);
}

void group_header_make(const struct group_home *home, const struct group_header *h,
                       struct str record_headers, uint8_t out[GROUP_HEADER])
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, group_magic);
    buf_u16le(&b, LOG_FORMAT);
    buf_u16le(&b, 0);
    buf_u64le(&b, h->sequence);
    buf_u64le(&b, h->length);
    buf_u32le(&b, h->records);
    buf_u32le(&b, 0);
    uint8_t hash[SHA256_LEN];
    group_hash(home, buf_str(&b), record_headers, hash);
    buf_put(&b, str_of(hash, sizeof hash));
    check(b.p && b.n == GROUP_HEADER);
    memcpy(out, buf_str(&b).p, GROUP_HEADER);
}

struct err group_header_get(struct str bytes, struct group_header *out)
{
    struct cur c = cur_of(str_sub(bytes, 0, GROUP_HEADER));
    struct group_header h = {.sequence = 0};
    if (!cur_accept_str(&c, group_magic) || cur_u16le(&c) != LOG_FORMAT)
        return err_make(E_INVALID, "no group");
    take_zeros(&c, 2);
    h.sequence = cur_u64le(&c);
    h.length = cur_u64le(&c);
    h.records = cur_u32le(&c);
    take_zeros(&c, 4);
    take_copy(&c, h.hash, sizeof h.hash);
    if (c.bad || h.length < GROUP_HEADER || h.length % 8 || h.sequence == 0)
        return err_make(E_INVALID, "damaged group header");
    *out = h;
    return OK;
}

static bool take_record(struct cur *c, uint64_t offset, struct record *out)
{
    struct record r = {.offset = offset};
    if (record_header_get(cur_take(c, RECORD_HEADER), &r.header).code != E_OK || c->bad ||
        r.header.stored > cur_left(c)) {
        c->bad = true;
        return false;
    }
    r.payload = cur_take(c, (size_t)r.header.stored);
    take_zeros(c, (8 - r.header.stored % 8) % 8);
    if (c->bad)
        return false;
    *out = r;
    return true;
}

static bool payload_intact(const struct record *r)
{
    uint8_t hash[SHA256_LEN];
    sha256(r->payload, hash);
    return memcmp(hash, r->header.hash, sizeof hash) == 0;
}

/* Goes through the records and collects their headers. */
static bool records_intact(struct str records, uint32_t count, bool check_bodies,
                           struct buf *record_headers)
{
    struct cur c = cur_of(records);
    for (uint32_t i = 0; i < count; i++) {
        struct str header = str_sub(records, c.at, c.at + RECORD_HEADER);
        struct record r = {.offset = 0};
        if (!take_record(&c, 0, &r))
            return false;
        if ((check_bodies || r.header.kind == RECORD_BATCH) && !payload_intact(&r))
            return false;
        buf_put(record_headers, header);
    }
    return cur_end(&c) && !c.bad && !record_headers->bad;
}

struct err group_open(struct str bytes, const struct group_home *home, uint64_t offset,
                      bool check_bodies, struct group *out)
{
    struct group g = {.offset = offset + GROUP_HEADER};
    TRY(group_header_get(bytes, &g.header));
    if (g.header.length > bytes.n)
        return err_make(E_INVALID, "group cut off");
    struct str records = str_sub(bytes, GROUP_HEADER, (size_t)g.header.length);
    struct buf heads CLEANUP(buf_free) = {0};
    if (!records_intact(records, g.header.records, check_bodies, &heads))
        return err_make(E_INVALID, "damaged record");
    uint8_t hash[SHA256_LEN];
    group_hash(home, str_sub(bytes, 0, GROUP_HASHED), buf_str(&heads), hash);
    if (memcmp(hash, g.header.hash, sizeof hash) != 0)
        return err_make(E_INVALID, "wrong group checksum");
    g.records = cur_of(records);
    *out = g;
    return OK;
}

bool group_next(struct group *g, struct record *out)
{
    if (cur_end(&g->records))
        return false;
    check(take_record(&g->records, g->offset, out)); /* group_open has been through them */
    g->offset += record_size(out->header.stored);
    return true;
}
