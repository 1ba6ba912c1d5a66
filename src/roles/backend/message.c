#include "roles/backend/message.h"

struct err message_take(const struct frame *f, uint64_t size, uint64_t limit, struct message *out)
{
    struct message m = {.too_large = size > limit || size > UINT32_MAX};
    if (m.too_large) {
        /* The bytes do not matter any more. */
    } else if (f->fd >= 0) {
        TRY(sealed_map(f->fd, (size_t)size, &m.map));
        m.bytes = m.map;
    } else if (f->raw.n == size) {
        m.bytes = f->raw;
    } else {
        return err_make(E_INVALID, "a message of another size than announced");
    }
    *out = m;
    return OK;
}

void message_free(struct message *m)
{
    if (m->map.p)
        sealed_unmap(m->map);
    *m = (struct message){0};
}
