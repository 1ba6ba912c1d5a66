#include "store/check.h"

/* Slots of history, and the index by which those that are to end are found. */

struct check_slot {
    struct slot last;
    size_t n;
};

static bool check_has(struct checker *c, const struct key *k)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct str value;
    bool has = view_get(c->view, key_str(k), &a, &value).code == E_OK;
    arena_free(&a);
    return has;
}

static void check_slot(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_slot *s = arg;
    struct cur key = cur_of(rest), in = cur_of(value);
    row_expect_account(&in, c->account);
    struct slot slot = {.first = cur_varint(&in), .end = (int64_t)key_read_u64(&key)};
    if (key.bad || !cur_end(&key) || in.bad || !cur_end(&in) || slot.end <= 0) {
        check_say(c, "a slot of history is damaged");
        return;
    }
    if (slot.first > c->head->modseq || slot.end > c->head->slot_end ||
        (s->n && slot.first <= s->last.first))
        check_say(c, "the slot of history that ends at %" PRId64 " contradicts the account's head",
                  slot.end);
    struct key due;
    key_of_due(&due, slot.end, c->account);
    if (!check_has(c, &due))
        check_say(c, "the slot of history that ends at %" PRId64 " would never be let go",
                  slot.end);
    if (s->n++ == 0)
        c->oldest = slot.first;
    s->last = slot;
}

struct err check_slots(struct checker *c)
{
    struct check_slot s = {0};
    c->oldest = UINT64_MAX;
    return check_kind(c, KEY_SLOT, check_slot, &s);
}

static bool check_due_key(struct str key, struct str value, void *arg)
{
    (void)value;
    struct checker *c = arg;
    struct cur in = cur_of(str_skip(key, 1));
    int64_t end = (int64_t)key_read_u64(&in);
    account_id account = {key_read_u64(&in)};
    struct key slot;
    key_of_slot(&slot, account, end);
    if (in.bad || !cur_end(&in))
        check_say(c, "a key of the index of history that is to end is damaged");
    else if (!check_has(c, &slot))
        check_say(c, "account %" PRIu64 ": has no slot of history that ends at %" PRId64, account.v,
                  end);
    return true;
}

struct err check_due(struct checker *c)
{
    struct key from = {.n = 0}, to = {.n = 0};
    key_byte(&from, DUE_SPACE);
    key_byte(&to, DUE_SPACE + 1);
    return view_scan(c->view, key_str(&from), key_str(&to), check_due_key, c);
}
