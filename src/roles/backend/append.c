#include "roles/backend/append.h"

enum {
    IN_FLIGHT = 8,           /* with the scanners at a time */
    KEPT_MAX = 64 << 20,     /* records and texts of all messages but the first */
    SCAN_INLINE = 64 * 1024, /* what a frame to a scanner takes */
};

void append_free(struct append *a)
{
    for (size_t i = 0; i < a->next; i++)
        scan_result_free(&a->items[i].scan.result);
    free(a->items);
    free(a->scanned);
    message_free(&a->bytes);
    *a = (struct append){.done = a->done};
}

struct imap_scanned append_result(const struct append *a)
{
    return (struct imap_scanned){.messages = a->scanned, .n = a->n};
}

static void append_fail(struct append *a, Thurn__Status why)
{
    if (a->status.code == THURN__CODE__DONE)
        a->status = why;
}

static void append_go_on(struct append *a);

static void append_scanned(struct scan_job *j)
{
    struct append_item *item = container_of(j, struct append_item, scan);
    struct append *a = item->append;
    size_t at = (size_t)(item - a->items);
    a->scanning--;
    a->scanned[at].record = j->result.record;
    a->scanned[at].text = j->result.text;
    a->kept += j->result.record.n + j->result.text.n;
    if (j->result.refused)
        append_fail(a, RPC_STATUS(THURN__CODE__TEMPORARY,
                                  "The message cannot be looked at now, try again later"));
    else if (a->n > 1 && a->kept > KEPT_MAX)
        append_fail(a, RPC_STATUS(THURN__CODE__LIMIT_EXCEEDED,
                                  "Too much in one command, append fewer messages at a time"));
    append_go_on(a);
}

/* Hands out messages as long as there are some, nothing has failed, and not too many are out. */
static void append_go_on(struct append *a)
{
    if (a->handing_out)
        return;
    a->handing_out = true;
    while (a->status.code == THURN__CODE__DONE && a->next < a->n && a->scanning < IN_FLIGHT) {
        a->scanning++;
        scan_submit(a->pool, &a->items[a->next++].scan);
    }
    a->handing_out = false;
    bool over = a->next == a->n || a->status.code != THURN__CODE__DONE;
    if (a->scanning == 0 && over)
        a->done(a);
}

/* The messages lie one behind the other. */
static void append_cut(struct append *a, const Thurn__ImapAppend *m, const struct frame *f)
{
    size_t offset = 0;
    for (size_t i = 0; i < a->n; i++) {
        size_t size = (size_t)m->messages[i]->size;
        struct str bytes = str_sub(a->bytes.bytes, offset, offset + size);
        bool by_fd = f->fd >= 0 && size > SCAN_INLINE;
        a->scanned[i].message = bytes;
        a->items[i].append = a;
        a->items[i].scan = (struct scan_job){.account = a->account,
                                             .message = bytes,
                                             .fd = by_fd ? f->fd : -1,
                                             .offset = by_fd ? offset : 0,
                                             .total = by_fd ? a->bytes.bytes.n : 0,
                                             .done = append_scanned};
        offset += size;
    }
}

/* E_INVALID for what no frontend asks for. */
static struct err append_sizes(const Thurn__ImapAppend *m, uint64_t message_limit,
                               uint64_t *out_total, bool *out_too_large)
{
    *out_total = 0;
    *out_too_large = false;
    if (m->n_messages > RPC_APPEND_MESSAGES)
        return err_make(E_INVALID, "too many messages in one request");
    for (size_t i = 0; i < m->n_messages; i++) {
        uint64_t size = m->messages[i]->size;
        *out_too_large = *out_too_large || size > message_limit;
        if (__builtin_add_overflow(*out_total, size, out_total))
            return err_make(E_INVALID, "messages of impossible sizes");
    }
    return OK;
}

struct err append_start(struct append *a, struct scan_pool *pool, account_id account,
                        const struct frame *f, uint64_t message_limit)
{
    const Thurn__ImapAppend *m = (const Thurn__ImapAppend *)f->message;
    uint64_t total;
    bool too_large;
    *a = (struct append){.pool = pool, .account = account, .done = a->done};
    a->status = RPC_STATUS(THURN__CODE__DONE, "");
    TRY(append_sizes(m, message_limit, &total, &too_large));
    TRY(message_take(f, total, rpc_append_limit(message_limit), &a->bytes));
    if (m->n_messages == 0) {
        append_fail(a, RPC_STATUS(THURN__CODE__INVALID, "There is no message"));
    } else if (a->bytes.too_large || too_large) {
        append_fail(a, RPC_STATUS(THURN__CODE__TOO_LARGE, "The message is too large"));
    } else {
        a->n = m->n_messages;
        a->items = mem_alloc(a->n * sizeof *a->items);
        a->scanned = mem_alloc(a->n * sizeof *a->scanned);
        append_cut(a, m, f);
    }
    append_go_on(a);
    return OK;
}
