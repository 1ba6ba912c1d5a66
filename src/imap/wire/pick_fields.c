/* HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 3501 section 6.4.5) from a header's bytes. */
#include "imap/wire/wire.h"
#include "mime/mime.h"

static bool is_named(const struct wire_section *s, struct str name)
{
    for (size_t i = 0; i < s->n_names; i++)
        if (str_ieq(name, s->names[i]))
            return true;
    return false;
}

void wire_pick_fields(const struct wire_section *s, struct str header, struct buf *out)
{
    struct cur c = cur_of(header);
    for (struct mime_field f; mime_field_next(&c, &f);)
        if (is_named(s, f.name) != s->pick_not)
            buf_put(out, f.whole);
    buf_put(out, STR("\r\n"));
}
