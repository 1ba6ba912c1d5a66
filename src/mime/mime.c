#include "mime/mime_int.h"

const struct mime_limits mime_limits_default = {
    .depth = 100,
    .parts = 10000,
    .fields = 5000,
    .header_bytes = 1024 * 1024,
    .field_text = 256 * 1024,
    .addresses = 5000,
    .text = 8 * 1024 * 1024,
};

void *mime_job_alloc(struct mime_job *j, size_t n)
{
    void *p = j->full ? NULL : arena_alloc(j->arena, n);
    if (!p)
        j->full = true;
    return p;
}

struct str mime_job_keep(struct mime_job *j, const struct buf *b)
{
    struct str s = str_dup(j->arena, buf_str(b));
    if (b->bad || (b->n && !s.p))
        j->full = true;
    return s;
}

struct str mime_lower(struct mime_job *j, struct str s)
{
    uint8_t *p = mime_job_alloc(j, s.n);
    for (size_t i = 0; p && i < s.n; i++)
        p[i] = byte_lower(s.p[i]);
    return str_of(p, p ? s.n : 0);
}

static void gather_parts(struct mime_job *j, Thurn__Email *email)
{
    email->parts = mime_job_array(j, Thurn__Part *, j->n_parts);
    for (struct mime_node *n = j->first; n && email->parts; n = n->next)
        email->parts[email->n_parts++] = &n->part;
}

static void gather_fields(struct mime_job *j, Thurn__Email *email)
{
    email->fields = mime_job_array(j, Thurn__HeaderField *, j->n_fields);
    for (struct mime_field_node *n = j->fields; n && email->fields; n = n->next)
        email->fields[email->n_fields++] = &n->field;
}

struct err mime_parse(struct str message, const struct mime_limits *limits, struct arena *a,
                      struct mime_result *out)
{
    if (message.n >= UINT32_MAX)
        return err_make(E_LIMIT, "the message is larger than 4 GB");
    struct mime_job j = {.msg = message.n ? message : STR(""), .limits = limits, .arena = a};
    Thurn__Email *email = mime_job_alloc(&j, sizeof *email);
    if (!email)
        return err_make(E_LIMIT, "the message's arena is used up");
    *email = (Thurn__Email)THURN__EMAIL__INIT;
    email->parser = MIME_PARSER_VERSION;
    email->size = message.n;

    struct buf text CLEANUP(buf_free) = {.max = MAX(limits->text, 1U)};
    mime_walk(&j);
    if (!j.full)
        mime_texts(&j, &text, email);
    if (str_find_byte(message, 0, 0) < message.n)
        j.broken |= THURN__EMAIL__BROKEN__NUL_BYTE;
    gather_parts(&j, email);
    gather_fields(&j, email);
    email->envelope = j.envelope;
    email->broken = j.broken;
    text.bad = false; /* that it was cut is in `broken` */
    struct str kept = mime_job_keep(&j, &text);
    if (j.full)
        return err_make(E_LIMIT, "the message's arena is used up");
    *out = (struct mime_result){email, kept};
    return OK;
}
