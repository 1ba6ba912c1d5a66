#include "base/base.h"

#include "roles/frontend/body.h"

void body_init(struct body *b, uint64_t limit, struct body_budget *budget)
{
    *b = (struct body){.budget = budget, .large.fd = -1, .limit = limit};
}

static void body_drop(struct body *b)
{
    if (b->budget)
        b->budget->held -= b->charged;
    b->charged = 0;
    buf_free(&b->small);
    sealed_free(&b->large);
}

void body_free(struct body *b)
{
    body_drop(b);
    body_init(b, b->limit, b->budget);
}

static struct err body_charge(struct body *b, uint64_t n)
{
    if (b->budget->held + n > b->budget->most)
        return err_make(E_LIMIT, "all messages coming in together hold receive_memory");
    b->budget->held += n;
    b->charged += n;
    return OK;
}

static struct err body_put_small(struct body *b, struct str bytes)
{
    buf_put(&b->small, bytes);
    return buf_err(&b->small);
}

static struct err body_put_large(struct body *b, struct str bytes)
{
    if (b->large.fd < 0) {
        TRY(sealed_new(&b->large, b->limit));
        TRY(sealed_put(&b->large, buf_str(&b->small)));
        buf_free(&b->small);
    }
    return sealed_put(&b->large, bytes);
}

void body_put(struct body *b, struct str bytes)
{
    if (b->too_large || b->failed)
        return;
    if (bytes.n > b->limit - b->size) { /* size <= limit always */
        b->too_large = true;
        body_drop(b);
        return;
    }
    b->size += bytes.n;
    struct err e = body_charge(b, bytes.n);
    if (e.code == E_OK)
        e = b->size > BODY_INLINE ? body_put_large(b, bytes) : body_put_small(b, bytes);
    if (e.code != E_OK) {
        log_error("frontend.no-memory-for-message", LF_U64("size", b->size), LF_ERR(e));
        b->failed = true;
        body_drop(b);
    }
}

struct err body_finish(struct body *b, struct str *raw, int *fd)
{
    if (b->large.fd >= 0 && !b->finished)
        TRY(sealed_finish(&b->large));
    b->finished = true;
    *raw = buf_str(&b->small);
    *fd = b->large.fd;
    return OK;
}
