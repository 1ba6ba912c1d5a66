#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"

/*
 * A good record to spoil: a message of 1000 bytes,
 *
 *   0 multipart/mixed        0    100   1000
 *   1   text/plain           120  150   300    text 0 to 50
 *   2   message/rfc822       320  350   800
 *   3     multipart/mixed    350  400   790
 *   4       text/html        410  420   700    text 50 to 80
 *   5   image/png            820  850   990
 */
enum { SIZE = 1000, TEXT = 80, PARTS = 6 };

struct sample {
    Thurn__Email email;
    Thurn__Envelope envelope, inner;
    Thurn__Address address, *addresses[1];
    Thurn__Part part[PARTS], *parts[PARTS];
    Thurn__HeaderField field[2], *fields[2];
};

static ProtobufCBinaryData data(const char *s)
{
    return (ProtobufCBinaryData){.len = strlen(s), .data = (uint8_t *)(uintptr_t)s};
}

static void part_is(struct sample *s, uint32_t i, uint32_t parent, uint32_t depth,
                    const uint32_t at[3])
{
    Thurn__Part *p = &s->part[i];
    thurn__part__init(p);
    s->parts[i] = p;
    p->type = data("text");
    p->subtype = data("plain");
    p->parent = parent;
    p->depth = depth;
    p->header_offset = at[0];
    p->body_offset = at[1];
    p->end_offset = at[2];
}

static void sample(struct sample *s)
{
    thurn__email__init(&s->email);
    thurn__envelope__init(&s->envelope);
    thurn__envelope__init(&s->inner);
    thurn__address__init(&s->address);
    s->addresses[0] = &s->address;
    s->envelope.n_from = 1;
    s->envelope.from = s->addresses;
    part_is(s, 0, 0, 0, (uint32_t[]){0, 100, 1000});
    part_is(s, 1, 0, 1, (uint32_t[]){120, 150, 300});
    part_is(s, 2, 0, 1, (uint32_t[]){320, 350, 800});
    part_is(s, 3, 2, 2, (uint32_t[]){350, 400, 790});
    part_is(s, 4, 3, 3, (uint32_t[]){410, 420, 700});
    part_is(s, 5, 0, 1, (uint32_t[]){820, 850, 990});
    s->part[0].multipart = s->part[3].multipart = true;
    s->part[2].message = true;
    s->part[2].envelope = &s->inner;
    s->part[1].text_length = 50;
    s->part[4].text_offset = 50;
    s->part[4].text_length = 30;
    for (unsigned i = 0; i < 2; i++) {
        thurn__header_field__init(&s->field[i]);
        s->fields[i] = &s->field[i];
        s->field[i].name = data("Subject");
        s->field[i].offset = i * 40;
        s->field[i].length = 40;
    }
    s->email.n_parts = PARTS;
    s->email.parts = s->parts;
    s->email.n_fields = 2;
    s->email.fields = s->fields;
    s->email.envelope = &s->envelope;
    s->email.size = SIZE;
}

static enum errc judge(const struct sample *s)
{
    struct buf packed CLEANUP(buf_free) = {0};
    uint8_t *room = buf_room(&packed, thurn__email__get_packed_size(&s->email));
    assert_non_null(room);
    buf_added(&packed, thurn__email__pack(&s->email, room));
    return email_record_check(buf_str(&packed), SIZE, TEXT).code;
}

#define SPOILED(...)                                                                               \
    do {                                                                                           \
        struct sample s_;                                                                          \
        struct sample *s = &s_;                                                                    \
        sample(s);                                                                                 \
        __VA_ARGS__;                                                                               \
        assert_int_equal(judge(s), E_INVALID);                                                     \
    } while (0)

static void a_good_record_is_taken(void **state)
{
    (void)state;
    struct sample s;
    sample(&s);
    assert_int_equal(judge(&s), E_OK);
}

static void parts_outside_the_message_or_their_parent_are_refused(void **state)
{
    (void)state;
    SPOILED(s->part[0].end_offset = 1001);
    SPOILED(s->part[0].end_offset = 999);
    SPOILED(s->part[0].header_offset = 1);
    SPOILED(s->part[5].end_offset = 1001);
    SPOILED(s->part[5].end_offset = UINT32_MAX);
    SPOILED(s->part[3].end_offset = 801);
    SPOILED(s->part[4].end_offset = 791);
    SPOILED(s->part[4].header_offset = 399);
    SPOILED(s->part[1].header_offset = 99);
    SPOILED(s->part[1].body_offset = 301);
    SPOILED(s->part[1].body_offset = 119);
    SPOILED(s->part[5].header_offset = 799);
    SPOILED(s->part[1].lines = 151);
    SPOILED(s->email.size = 999);
}

static void a_tree_that_is_none_is_refused(void **state)
{
    (void)state;
    SPOILED(s->part[0].parent = 1);
    SPOILED(s->part[0].depth = 1);
    SPOILED(s->part[1].parent = 1);
    SPOILED(s->part[1].parent = 5);
    SPOILED(s->part[1].depth = 0);
    SPOILED(s->part[1].depth = 2);
    SPOILED(s->part[4].depth = 2);
    SPOILED(s->part[4].depth = UINT32_MAX);
    SPOILED(s->part[4].parent = 2);
    SPOILED(s->part[5].parent = 3; s->part[5].depth = 3); /* back into a closed part */
    SPOILED(s->part[5].parent = 1; s->part[5].depth = 2);
    SPOILED(s->part[0].multipart = false);
    SPOILED(s->part[2].multipart = true);
    SPOILED(s->part[2].envelope = NULL);
    SPOILED(s->email.n_parts = 0);
    SPOILED(s->email.envelope = NULL);
    /* An embedded message has one part, not two. */
    SPOILED(s->part[5].parent = 2; s->part[5].depth = 2; s->part[5].header_offset = 791;
            s->part[5].body_offset = 791; s->part[5].end_offset = 795);
}

static void texts_fields_and_enumerations_are_checked(void **state)
{
    (void)state;
    SPOILED(s->part[4].text_length = 31);
    SPOILED(s->part[4].text_offset = UINT32_MAX; s->part[4].text_length = UINT32_MAX);
    SPOILED(s->field[1].offset = 39);
    SPOILED(s->field[1].length = 61);
    SPOILED(s->field[1].length = UINT32_MAX);
    SPOILED(s->field[1].length = 7);
    SPOILED(s->field[1].name = data(""));
    SPOILED(s->field[1].name = data("a b"));
    SPOILED(s->field[1].name = data("a\r\nb"));
    SPOILED(s->address.kind = (Thurn__Address__Kind)9);
    SPOILED(s->email.preview = data("\xff"));
    SPOILED(s->part[1].type = data(""));
    SPOILED(s->envelope.date_time = INT64_MAX);
    SPOILED(s->inner.date_time = INT64_MIN);
    SPOILED(s->inner.date_zone = 24 * 60);
}

static void bytes_that_are_no_record_are_refused(void **state)
{
    (void)state;
    assert_err(email_record_check(STR(""), 0, 0), E_INVALID);
    assert_err(email_record_check(STR("\xff\xff\xff\xff"), 0, 0), E_INVALID);
}

/* Two bytes make a part: a record of megabytes would fill the memory when unpacked. */
static void a_record_that_unpacks_to_too_much_is_refused(void **state)
{
    (void)state;
    struct buf bomb CLEANUP(buf_free) = {0};
    for (unsigned i = 0; i < 3 << 20; i++)
        buf_put(&bomb, STR("\x12\x00"));
    assert_err(email_record_check(buf_str(&bomb), 0, 0), E_INVALID);
}

static void the_flat_record_of_any_message_is_good(void **state)
{
    (void)state;
    const uint64_t sizes[] = {0, 1, 4096, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf flat CLEANUP(buf_free) = {0};
        email_record_flat(sizes[i], &flat);
        assert_ok(email_record_check(buf_str(&flat), sizes[i], 0));
        Thurn__Email *e = thurn__email__unpack(NULL, flat.n, buf_str(&flat).p);
        assert_non_null(e);
        assert_int_equal(e->broken, THURN__EMAIL__BROKEN__FLAT);
        assert_int_equal(e->n_parts, 1);
        assert_int_equal(e->parts[0]->end_offset, sizes[i]);
        thurn__email__free_unpacked(e, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_record_is_taken),
        cmocka_unit_test(parts_outside_the_message_or_their_parent_are_refused),
        cmocka_unit_test(a_tree_that_is_none_is_refused),
        cmocka_unit_test(texts_fields_and_enumerations_are_checked),
        cmocka_unit_test(bytes_that_are_no_record_are_refused),
        cmocka_unit_test(a_record_that_unpacks_to_too_much_is_refused),
        cmocka_unit_test(the_flat_record_of_any_message_is_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
