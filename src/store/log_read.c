#include "store/engine_private.h"

void segment_slots_init(struct engine *e)
{
    for (size_t i = 0; i < ARRAY_LEN(e->slots); i++)
        check(pthread_mutex_init(&e->slots[i].lock, NULL) == 0);
}

void segment_file_put(struct engine *e, struct segment_file *f)
{
    if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    e->disk->close(e->disk, f->fd);
    free(f);
}

void segment_slots_close(struct engine *e)
{
    for (size_t i = 0; i < ARRAY_LEN(e->slots); i++) {
        segment_file_put(e, e->slots[i].file);
        pthread_mutex_destroy(&e->slots[i].lock);
    }
}

void segment_file_forget(struct engine *e, uint64_t number)
{
    struct segment_slot *slot = &e->slots[number % OPEN_SEGMENTS];
    struct segment_file *old = NULL;
    pthread_mutex_lock(&slot->lock);
    if (slot->file && slot->file->number == number) {
        old = slot->file;
        slot->file = NULL;
    }
    pthread_mutex_unlock(&slot->lock);
    segment_file_put(e, old);
}

static struct err open_file(struct engine *e, uint64_t number, struct segment_file **out)
{
    char path[PATH_LEN];
    segment_path(e, number, path);
    int fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    if (fd < 0)
        return errno == ENOENT ? err_make(E_CORRUPT, "a segment of the log is missing")
                               : err_sys("opening a log segment");
    struct segment_file *f = mem_alloc(sizeof *f);
    atomic_init(&f->refs, 1);
    f->number = number;
    f->fd = fd;
    *out = f;
    return OK;
}

/* An open segment with a reference for the caller; it may push another one out of its slot. */
struct err segment_file_get(struct engine *e, uint64_t number, struct segment_file **out)
{
    struct segment_slot *slot = &e->slots[number % OPEN_SEGMENTS];
    struct segment_file *old = NULL;
    struct err err = OK;
    pthread_mutex_lock(&slot->lock);
    if (!slot->file || slot->file->number != number) {
        struct segment_file *f;
        err = open_file(e, number, &f);
        if (!err.code) {
            old = slot->file;
            slot->file = f;
        }
    }
    if (!err.code) {
        atomic_fetch_add(&slot->file->refs, 1);
        *out = slot->file;
    }
    pthread_mutex_unlock(&slot->lock);
    segment_file_put(e, old);
    return err;
}

/* Whether these bytes are the header of the body meant. */
static struct err check_header(struct str bytes, const Thurn__BodyPlace *place,
                               struct record_header *out)
{
    if (record_header_get(bytes, out).code || out->kind != RECORD_BODY ||
        out->plain != place->length || body_short_hash(out->hash) != place->hash)
        return err_make(E_CORRUPT, "another record than the body meant");
    return OK;
}

static struct err check_bytes(struct str body, const struct record_header *h)
{
    uint8_t hash[SHA256_LEN];
    sha256(body, hash);
    return memcmp(hash, h->hash, sizeof hash) == 0
               ? OK
               : err_make(E_CORRUPT, "the body does not match its checksum");
}

struct err engine_body_tell(const Thurn__BodyPlace *place, struct err err)
{
    if (err.code == E_CORRUPT || err.code == E_IO)
        log_error("store.body.damaged", LF_U64("account", place->account),
                  LF_U64("segment", place->segment), LF_U64("offset", place->offset), LF_ERR(err));
    return err;
}

static struct err read_range(struct engine *e, int fd, const Thurn__BodyPlace *place,
                             uint64_t offset, uint8_t *out, size_t n, struct record_header *h)
{
    uint8_t header[RECORD_HEADER];
    TRY(disk_read(e->disk, fd, header, sizeof header, place->offset));
    TRY(check_header(str_of(header, sizeof header), place, h));
    return disk_read(e->disk, fd, out, n, place->offset + RECORD_HEADER + offset);
}

struct err engine_body_read(struct engine *e, const Thurn__BodyPlace *place, uint64_t offset,
                            uint8_t *out, size_t n, uint8_t out_hash[SHA256_LEN])
{
    struct record_header h;
    struct segment_file *f;
    if (offset > place->length || n > place->length - offset)
        return err_make(E_INVALID, "range outside the body");
    struct err err = segment_file_get(e, place->segment, &f);
    if (err.code)
        return engine_body_tell(place, err);
    err = read_range(e, f->fd, place, offset, out, n, &h);
    segment_file_put(e, f);
    if (err.code == E_OK)
        memcpy(out_hash, h.hash, sizeof h.hash);
    return engine_body_tell(place, err);
}

static struct err load_whole(struct engine *e, const Thurn__BodyPlace *place, struct buf *out)
{
    struct record_header h;
    struct segment_file *f;
    size_t n;
    buf_clear(out);
    bool fits = !__builtin_add_overflow(place->length, (size_t)RECORD_HEADER, &n);
    uint8_t *p = fits ? buf_room(out, n) : NULL;
    if (!p)
        return err_make(E_LIMIT, "no memory for a body");
    TRY(segment_file_get(e, place->segment, &f));
    struct err err = disk_read(e->disk, f->fd, p, n, place->offset);
    segment_file_put(e, f);
    TRY(err);
    TRY(check_header(str_of(p, RECORD_HEADER), place, &h));
    buf_added(out, n);
    buf_consume(out, RECORD_HEADER);
    return check_bytes(buf_str(out), &h);
}

struct err engine_body_load(struct engine *e, const Thurn__BodyPlace *place, struct buf *out)
{
    return engine_body_tell(place, load_whole(e, place, out));
}

struct err segment_body_load(struct engine *e, uint64_t segment, uint64_t offset, uint64_t length,
                             struct buf *out)
{
    struct record_header h;
    struct segment_file *f;
    uint8_t bytes[RECORD_HEADER];
    TRY(segment_file_get(e, segment, &f));
    struct err err = disk_read(e->disk, f->fd, bytes, sizeof bytes, offset);
    if (!err.code && (record_header_get(str_of(bytes, sizeof bytes), &h).code ||
                      h.kind != RECORD_BODY || h.plain != length))
        err = err_make(E_CORRUPT, "another record than the body meant");
    out->max = SIZE_MAX;
    uint8_t *p = err.code ? NULL : buf_room(out, (size_t)length);
    if (!err.code && !p)
        err = err_make(E_LIMIT, "no memory for a body");
    if (!err.code)
        err = disk_read(e->disk, f->fd, p, (size_t)length, offset + RECORD_HEADER);
    segment_file_put(e, f);
    TRY(err);
    buf_added(out, (size_t)length);
    return check_bytes(buf_str(out), &h);
}

struct err engine_body_verify(struct engine *e, const Thurn__BodyPlace *place)
{
    struct buf bytes CLEANUP(buf_free) = {0};
    uint8_t hash[SHA256_LEN];
    TRY(segment_body_load(e, place->segment, place->offset, place->length, &bytes));
    sha256(buf_str(&bytes), hash);
    return body_short_hash(hash) == place->hash
               ? OK
               : err_make(E_CORRUPT, "another record than the body meant");
}
