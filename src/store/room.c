#include "store/engine_private.h"

/*
 * Who may take what is left of the disk. RocksDB cannot go on after it has met a full disk, so the
 * last part of it belongs to the index (index_reserve), a little to files that are written ahead.
 * In front of that lies a part for changes that bring no mail: flags, expunges, removals. New mail
 * ends where that part begins.
 */
enum {
    SLACK = 16 << 20,         /* RocksDB's manifest and notes, the log's zeros */
    CHANGES_ROOM = 256 << 20, /* for changes without mail, */
    CHANGES_PART = 16         /* on a small disk this part of it */
};

struct err disk_has_room(struct engine *e, enum room_for what, uint64_t bytes)
{
    uint64_t free_bytes, total;
    if (e->disk->space(e->disk, e->log_dir, &free_bytes, &total) < 0)
        return err_sys("asking for free space");
    uint64_t need = SLACK + atomic_load(&e->promised);
    if (what == ROOM_FOR_MAIL)
        need += MIN((uint64_t)CHANGES_ROOM, total / CHANGES_PART);
    /* In the log, and at most as much again in the index. */
    if (__builtin_mul_overflow(bytes, 2, &bytes) || __builtin_add_overflow(need, bytes, &need))
        return err_make(E_LIMIT, "too much for one change");
    if (free_bytes > need &&
        (free_bytes - need > INDEX_RESERVE_MAX || free_bytes - need > index_reserve(e->index))) {
        if (what == ROOM_FOR_MAIL && atomic_load(&e->full) && atomic_exchange(&e->full, false))
            log_info("store.disk.room-again", LF_U64("free", free_bytes));
        return OK;
    }
    if (!atomic_exchange(&e->full, true))
        log_error("store.disk.nearly-full", LF_U64("free", free_bytes), LF_U64("size", total));
    return err_make(E_FULL, "the file system of the store is nearly full");
}

struct err engine_has_room(struct engine *e, uint64_t bytes)
{
    return disk_has_room(e, ROOM_FOR_MAIL, bytes);
}
