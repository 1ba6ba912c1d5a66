#include "store/index.h"

enum {
    DEFAULT_CACHE = 64 << 20,
    WRITE_BUFFER = 32 << 20,
    BLOCK_SIZE = 8 << 10,
    FILTER_BITS = 10,
    TABLE_FORMAT = 5,
    OPEN_FILES = 1024, /* a process may hold 20,000 descriptors, most of them are for others */
};

static const double MEMORY_FILTER = 0.01; /* of WRITE_BUFFER */
static const uint8_t applied_key[] = {ENGINE_KEY, 'a'};

static const char *text(const void *p)
{
    return (const char *)p;
}

/* Everything that shapes the files is named here, not left to RocksDB's defaults, which change
 * with its releases. */
static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_format_version(t, TABLE_FORMAT);
    rocksdb_block_based_options_set_checksum(t, 1); /* CRC32c */
    rocksdb_block_based_options_set_block_size(t, BLOCK_SIZE);
    rocksdb_block_based_options_set_filter_policy(
        t, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(t, 1);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    return t;
}

static rocksdb_options_t *db_options(rocksdb_cache_t *cache)
{
    static const int levels[] = {
        rocksdb_no_compression,  rocksdb_no_compression,  rocksdb_lz4_compression,
        rocksdb_lz4_compression, rocksdb_lz4_compression, rocksdb_lz4_compression,
        rocksdb_lz4_compression,
    };
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    /* Most keys that are asked for are not among the newest, or nowhere: that is found out without
     * a search in what is in memory. */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMORY_FILTER);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_open_files(o, OPEN_FILES);
    rocksdb_options_set_num_levels(o, (int)ARRAY_LEN(levels));
    rocksdb_options_set_compression_per_level(o, levels, ARRAY_LEN(levels));
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 0);
    rocksdb_options_set_max_bytes_for_level_base(o, 4 * (uint64_t)WRITE_BUFFER);
    rocksdb_options_set_target_file_size_base(o, WRITE_BUFFER);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_info_log_level(o, 2); /* warnings */
    rocksdb_options_set_max_log_file_size(o, 1 << 20);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    rocksdb_block_based_table_options_t *t = table_options(cache);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    return o;
}

static void index_free(struct index *ix)
{
    rocksdb_writebatch_destroy(ix->batch);
    rocksdb_writeoptions_destroy(ix->write);
    rocksdb_readoptions_destroy(ix->read);
    rocksdb_options_destroy(ix->options);
    rocksdb_cache_destroy(ix->cache);
    free(ix);
}

void index_quiet(void)
{
    static _Thread_local bool quiet;
    if (!quiet)
        rocksdb_set_perf_level(rocksdb_disable);
    quiet = true;
}

/* RocksDB says it in words only: a disk that fails, or the data that is on it. */
static struct err open_error(const char *error)
{
    static const int disk[] = {EIO, ENOSPC, EDQUOT, EROFS};
    for (size_t i = 0; i < ARRAY_LEN(disk); i++) {
        struct str said = str_c(error), sought = str_c(strerror(disk[i]));
        if (str_find(said, sought, 0) < said.n)
            return err_make(E_IO, "the disk fails under the index");
    }
    return err_make(E_CORRUPT, "the index cannot be opened");
}

struct err index_open(const char *path, uint64_t cache_size, struct index **out, struct buf *why)
{
    struct index *ix = mem_alloc(sizeof *ix);
    ix->cache = rocksdb_cache_create_lru(cache_size ? (size_t)cache_size : DEFAULT_CACHE);
    ix->options = db_options(ix->cache);
    ix->read = rocksdb_readoptions_create();
    ix->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(ix->write, 1);
    ix->batch = rocksdb_writebatch_create();
    char *error = NULL;
    ix->db = rocksdb_open(ix->options, path, &error);
    if (error) {
        buf_put(why, str_c(error));
        struct err e = open_error(error);
        rocksdb_free(error);
        index_free(ix);
        return e;
    }
    *out = ix;
    return OK;
}

static struct err index_flush(struct index *ix, bool wait)
{
    char *error = NULL;
    rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(f, wait);
    rocksdb_flush(ix->db, f, &error);
    rocksdb_flushoptions_destroy(f);
    if (!error)
        return OK;
    /* Nothing is lost: the log is replayed at the next start. */
    log_warn("store.index.flush-failed", LF_C("why", error));
    rocksdb_free(error);
    return err_make(E_IO, "the index cannot be written");
}

struct err index_flush_now(struct index *ix)
{
    return index_flush(ix, true);
}

void index_close(struct index *ix)
{
    if (!ix)
        return;
    (void)!index_flush(ix, true).code;
    rocksdb_close(ix->db);
    index_free(ix);
}

struct err index_applied(struct index *ix, struct applied *out)
{
    char *error = NULL;
    size_t n;
    char *value = rocksdb_get(ix->db, ix->read, text(applied_key), sizeof applied_key, &n, &error);
    if (error) {
        rocksdb_free(error);
        return err_make(E_IO, "the index cannot be read");
    }
    if (!value)
        return err_make(E_NOTFOUND, "empty index");
    struct cur c = cur_of(str_of(value, n));
    struct applied a = {0};
    a.segment = cur_u64le(&c);
    a.offset = cur_u64le(&c);
    a.sequence = cur_u64le(&c);
    bool bad = c.bad || !cur_end(&c);
    rocksdb_free(value);
    if (bad)
        return err_make(E_CORRUPT, "the mark of what the index holds is damaged");
    *out = a;
    return OK;
}

static void reverse_prefix(struct key *k, uint64_t segment)
{
    key_byte(k, ENGINE_KEY);
    key_byte(k, 'r');
    key_u64(k, segment);
}

static void reverse_key(struct key *k, const struct op *op)
{
    reverse_prefix(k, op->place.segment);
    key_u64(k, op->place.offset);
    key_u64(k, op->place.account);
    key_bytes(k, op->key);
}

static void put(struct index *ix, struct str key, struct str value)
{
    rocksdb_writebatch_put(ix->batch, text(key.p), key.n, text(value.p), value.n);
}

static void delete_key(struct index *ix, struct str key)
{
    rocksdb_writebatch_delete(ix->batch, text(key.p), key.n);
}

static void put_body(struct index *ix, const struct op *op)
{
    uint8_t packed[64];
    check(thurn__body_place__get_packed_size(&op->place) <= sizeof packed);
    put(ix, op->key, str_of(packed, thurn__body_place__pack(&op->place, packed)));
    struct key reverse;
    reverse.n = 0;
    reverse_key(&reverse, op);
    struct buf length CLEANUP(buf_free) = {0};
    buf_varint(&length, op->place.length);
    put(ix, key_str(&reverse), buf_str(&length));
}

static void drop_body(struct index *ix, const struct op *op)
{
    delete_key(ix, op->key);
    struct key reverse;
    reverse.n = 0;
    reverse_key(&reverse, op);
    delete_key(ix, key_str(&reverse));
}

struct err index_add(struct index *ix, struct str ops)
{
    struct cur c = cur_of(ops);
    struct op op;
    while (batch_next(&c, &op)) {
        switch (op.kind) {
        case OP_PUT: put(ix, op.key, op.value); break;
        case OP_DELETE: delete_key(ix, op.key); break;
        case OP_RANGE:
            rocksdb_writebatch_delete_range(ix->batch, text(op.key.p), op.key.n, text(op.value.p),
                                            op.value.n);
            break;
        case OP_BODY: put_body(ix, &op); break;
        default: check(op.kind == OP_DROP); drop_body(ix, &op);
        }
    }
    return c.bad ? err_make(E_CORRUPT, "malformed batch in the log") : OK;
}

struct err index_commit(struct index *ix, const struct applied *applied)
{
    struct buf mark CLEANUP(buf_free) = {0};
    buf_u64le(&mark, applied->segment);
    buf_u64le(&mark, applied->offset);
    buf_u64le(&mark, applied->sequence);
    put(ix, str_of(applied_key, sizeof applied_key), buf_str(&mark));
    index_quiet();
    char *error = NULL;
    rocksdb_write(ix->db, ix->write, ix->batch, &error);
    rocksdb_writebatch_clear(ix->batch);
    if (!error)
        return OK;
    log_error("store.index.write-failed", LF_C("why", error));
    rocksdb_free(error);
    return err_make(E_IO, "the index cannot be written");
}

static uint64_t property(struct index *ix, const char *name)
{
    uint64_t value;
    return rocksdb_property_int(ix->db, name, &value) == 0 ? value : INDEX_RESERVE_MAX;
}

void index_bound_replay(struct index *ix, uint64_t log_bytes, uint64_t limit)
{
    ix->unflushed += log_bytes;
    if (ix->unflushed < limit)
        return;
    /* While it is writing anyway, or behind with its compactions, the call might block. */
    if (property(ix, "rocksdb.num-immutable-mem-table") > 0 ||
        property(ix, "rocksdb.is-write-stopped") > 0 ||
        property(ix, "rocksdb.actual-delayed-write-rate") > 0)
        return;
    ix->unflushed = 0;
    (void)!index_flush(ix, false).code;
}

/* What is in memory becomes files, which are then merged with those that are there: their inputs
 * are removed only after the output is complete. One compaction runs at a time, and takes more than
 * half of the greatest reserve only if the small files of level 0 have piled up. Files are
 * allocated a tenth larger while they are written. */
uint64_t index_reserve(struct index *ix)
{
    uint64_t memory = property(ix, "rocksdb.size-all-mem-tables");
    uint64_t files = property(ix, "rocksdb.total-sst-files-size");
    uint64_t merged = memory + files;
    return MIN(memory + merged + merged / 8, (uint64_t)INDEX_RESERVE_MAX);
}

struct err index_place(struct index *ix, struct str key, Thurn__BodyPlace *out)
{
    char *error = NULL;
    size_t n;
    char *value = rocksdb_get(ix->db, ix->read, text(key.p), key.n, &n, &error);
    if (error) {
        rocksdb_free(error);
        return err_make(E_IO, "the index cannot be read");
    }
    if (!value)
        return err_make(E_NOTFOUND, "no such place");
    Thurn__BodyPlace *place = thurn__body_place__unpack(NULL, n, (const uint8_t *)value);
    rocksdb_free(value);
    if (!place)
        return err_make(E_CORRUPT, "the place of a body cannot be unpacked");
    *out = *place;
    out->base.n_unknown_fields = 0;
    out->base.unknown_fields = NULL;
    thurn__body_place__free_unpacked(place, NULL);
    return OK;
}

/* Where a reverse key leads; false if it belongs to another segment. */
static bool owner_of(struct str key, struct str value, struct str prefix, struct owner *out)
{
    if (!str_starts(key, prefix))
        return false;
    struct cur k = cur_of(str_skip(key, prefix.n)), v = cur_of(value);
    out->offset = key_read_u64(&k);
    out->account = key_read_u64(&k);
    out->key = cur_rest(&k);
    out->length = cur_varint(&v);
    return !k.bad && !v.bad;
}

static struct str iterator_bytes(const char *(*get)(const rocksdb_iterator_t *, size_t *),
                                 const rocksdb_iterator_t *it)
{
    size_t n;
    const char *p = get(it, &n);
    return str_of(p, n);
}

struct err index_owners(struct index *ix, uint64_t segment, uint64_t from,
                        bool (*each)(const struct owner *o, void *arg), void *arg)
{
    struct key prefix = {.n = 0}, first;
    reverse_prefix(&prefix, segment);
    first = prefix;
    key_u64(&first, from);
    rocksdb_iterator_t *it = rocksdb_create_iterator(ix->db, ix->read);
    struct owner o;
    for (rocksdb_iter_seek(it, text(first.b), first.n);
         rocksdb_iter_valid(it) &&
         owner_of(iterator_bytes(rocksdb_iter_key, it), iterator_bytes(rocksdb_iter_value, it),
                  key_str(&prefix), &o) &&
         each(&o, arg);
         rocksdb_iter_next(it))
        continue;
    char *error = NULL;
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    if (!error)
        return OK;
    rocksdb_free(error);
    return err_make(E_IO, "the index cannot be read");
}

static bool one_owner(const struct owner *o, void *arg)
{
    (void)o;
    *(bool *)arg = true;
    return false;
}

struct err index_segment_owned(struct index *ix, uint64_t segment, bool *out)
{
    bool owned = false;
    TRY(index_owners(ix, segment, 0, one_owner, &owned));
    *out = owned;
    return OK;
}

struct err index_next_segment(struct index *ix, uint64_t from, uint64_t *out)
{
    struct key first = {.n = 0}, prefix = {.n = 0};
    reverse_prefix(&first, from);
    key_byte(&prefix, ENGINE_KEY);
    key_byte(&prefix, 'r');
    rocksdb_iterator_t *it = rocksdb_create_iterator(ix->db, ix->read);
    rocksdb_iter_seek(it, text(first.b), first.n);
    struct str key = {0};
    if (rocksdb_iter_valid(it))
        key = iterator_bytes(rocksdb_iter_key, it);
    struct cur c = cur_of(str_skip(key, prefix.n));
    bool found = str_starts(key, key_str(&prefix));
    uint64_t number = found ? key_read_u64(&c) : 0;
    char *error = NULL;
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    if (error || (found && c.bad)) {
        rocksdb_free(error);
        return err_make(E_IO, "the index cannot be read");
    }
    if (!found)
        return err_make(E_NOTFOUND, "no later segment");
    *out = number;
    return OK;
}

bool index_readable(struct index *ix, struct buf *why)
{
    rocksdb_readoptions_t *all = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(all, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator(ix->db, all);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it))
        continue;
    char *error = NULL;
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(all);
    if (error)
        buf_put(why, str_c(error));
    bool readable = !error;
    rocksdb_free(error);
    return readable;
}
