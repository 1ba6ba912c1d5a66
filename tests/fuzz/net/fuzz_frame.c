#include "base/base.h"

#include "net/frame.h"
#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What came out of a stream: must not depend on how it was cut. */
struct outcome {
    size_t frames;
    uint64_t sum;
    enum errc end;
};

static struct err take_frames(struct frame_parser *p, struct str in, struct outcome *o)
{
    for (bool complete = true; complete;) {
        struct frame_parts parts;
        TRY(frame_parser_next(p, &in, &parts, &complete));
        if (!complete)
            break;
        check(parts.typed.n <= parts.head.type->max_typed);
        check(parts.raw.n <= parts.head.type->max_raw);
        struct frame *f;
        TRY(frame_unpack(&parts, -1, &f));
        check(f->arena.used <= f->arena.budget);
        check(protobuf_c_message_check(f->message));
        o->frames++;
        for (size_t i = 0; i < f->raw.n; i++)
            o->sum = o->sum * 31 + f->raw.p[i];
        o->sum = o->sum * 31 + protobuf_c_message_get_packed_size(f->message);
        frame_free(f);
    }
    check(in.n == 0);
    return OK;
}

static struct outcome run(struct str all, size_t step)
{
    struct outcome o = {0};
    struct frame_parser p;
    frame_parser_init(&p, &rpc_table);
    for (size_t at = 0; at < all.n && o.end == E_OK; at += step)
        o.end = take_frames(&p, str_sub(all, at, at + step), &o).code;
    frame_parser_free(&p);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    struct str all = str_of(data + 1, n - 1);
    struct outcome whole = run(all, MAX(all.n, (size_t)1));
    struct outcome cut = run(all, data[0] + (size_t)1);
    check(whole.frames == cut.frames && whole.sum == cut.sum && whole.end == cut.end);
    return 0;
}
