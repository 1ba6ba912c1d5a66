/* What the tests of this folder have in common. */
#ifndef THURN_MIME_TEST_H
#define THURN_MIME_TEST_H

#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "mime/mime_int.h"
#include "record_check.h"

struct parsed {
    struct arena arena;
    struct str message;
    struct mime_result result;
    const Thurn__Email *email;
};

static inline void parsed_free(struct parsed *p)
{
    arena_free(&p->arena);
}

static inline void parse_within(struct parsed *p, struct str message,
                                const struct mime_limits *limits)
{
    arena_init(&p->arena, 64 << 20);
    p->message = message;
    struct err e = mime_parse(message, limits, &p->arena, &p->result);
    assert_int_equal(e.code, E_OK);
    p->email = p->result.email;
    record_check(&p->result, message);
}

static inline void parse(struct parsed *p, const char *message)
{
    parse_within(p, str_c(message), &mime_limits_default);
}

#define PARSED(name, message)                                                                      \
    struct parsed name CLEANUP(parsed_free) = {0};                                                 \
    parse(&name, message)

static inline void assert_slice(struct str s, const char *want)
{
    if (!str_eq(s, str_c(want)))
        fail_msg("expected \"%s\", have \"%.*s\"", want, STR_FMT(s));
}

static inline void assert_pb(ProtobufCBinaryData b, const char *want)
{
    assert_slice(mime_str(b), want);
}

/* BODY[n.MIME] (or the header), BODY[n] and the text for search of a part. */
static inline struct str header_of(const struct parsed *p, size_t i)
{
    return str_sub(p->message, p->email->parts[i]->header_offset, p->email->parts[i]->body_offset);
}
static inline struct str body_of(const struct parsed *p, size_t i)
{
    return str_sub(p->message, p->email->parts[i]->body_offset, p->email->parts[i]->end_offset);
}
static inline struct str text_of(const struct parsed *p, size_t i)
{
    const Thurn__Part *part = p->email->parts[i];
    if (part->text_is_body)
        return body_of(p, i);
    return str_sub(p->result.text, part->text_offset,
                   (size_t)part->text_offset + part->text_length);
}
static inline bool is_broken(const struct parsed *p, uint32_t bit)
{
    return (p->email->broken & bit) != 0;
}

#endif
