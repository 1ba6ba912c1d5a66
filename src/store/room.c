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
    CHANGES_PART = 16,        /* on a small disk this part of it */
};
/* With so much more than all that, nobody fills the disk before it is asked again. */
static const uint64_t PLENTY = UINT64_C(4) << 30;
static const uint64_t PLENTY_US = 50000;

/* Logs both turns, not each refusal: it is over when there is room enough for a while. */
static void tell(struct engine *e, bool full, uint64_t free_bytes)
{
    if (atomic_load(&e->full) == full || atomic_exchange(&e->full, full) == full)
        return;
    if (full)
        log_error("store.disk.nearly-full", LF_U64("free", free_bytes));
    else
        log_info("store.disk.room-again", LF_U64("free", free_bytes));
}

struct err disk_has_room(struct engine *e, enum room_for what, uint64_t bytes)
{
    uint64_t free_bytes, total, now = clock_mono_us();
    if (bytes < PLENTY / 4 && now < atomic_load(&e->plenty_until))
        return OK;
    if (e->disk->space(e->disk, e->log_dir, &free_bytes, &total) < 0)
        return err_sys("asking for free space");
    uint64_t changes = MIN((uint64_t)CHANGES_ROOM, total / CHANGES_PART);
    uint64_t need = SLACK + atomic_load(&e->promised);
    if (what == ROOM_FOR_MAIL)
        need += changes;
    /* In the log, and at most as much again in the index. */
    if (__builtin_mul_overflow(bytes, 2, &bytes) || __builtin_add_overflow(need, bytes, &need))
        return err_make(E_LIMIT, "too much for one change");
    uint64_t left = free_bytes > need ? free_bytes - need : 0;
    uint64_t reserve = INDEX_RESERVE_MAX;
    if (left < reserve + changes)
        reserve = index_reserve(e->index);
    if (left <= reserve) {
        tell(e, true, free_bytes);
        return err_make(E_FULL, "the file system of the store is nearly full");
    }
    if (what == ROOM_FOR_MAIL && left - reserve >= changes)
        tell(e, false, free_bytes);
    if (left > PLENTY + reserve + changes)
        atomic_store(&e->plenty_until, now + PLENTY_US);
    return OK;
}
