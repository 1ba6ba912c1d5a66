/*
 * ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2) from the record of an email.
 *
 * The parts stand in the record as a list in order of appearance. Rendering walks the list and
 * closes parentheses by the parts' parents, so that nesting costs no stack. A record whose list
 * does not fit together is shown as one text part.
 */
#include "imap/wire/wire.h"

#define NIL STR("NIL")

/* ------------------------------------------------------------------------------------- envelope */

static void print_address(struct buf *out, const Thurn__Address *a)
{
    buf_byte(out, '(');
    switch (a->kind) {
    case THURN__ADDRESS__KIND__GROUP_START:
        buf_put(out, STR("NIL NIL "));
        wire_print_string(out, pb_str(a->mailbox));
        buf_put(out, STR(" NIL"));
        break;
    case THURN__ADDRESS__KIND__GROUP_END: buf_put(out, STR("NIL NIL NIL NIL")); break;
    default: /* NIL as mailbox or host would say that it is a group */
        wire_print_nstring(out, pb_str(a->name));
        buf_byte(out, ' ');
        wire_print_nstring(out, pb_str(a->route));
        buf_byte(out, ' ');
        wire_print_string(out, pb_str(a->mailbox));
        buf_byte(out, ' ');
        wire_print_string(out, pb_str(a->host));
        break;
    }
    buf_byte(out, ')');
}

static void print_addresses(struct buf *out, Thurn__Address *const *list, size_t n)
{
    buf_byte(out, ' ');
    if (n == 0) {
        buf_put(out, NIL);
        return;
    }
    buf_byte(out, '(');
    for (size_t i = 0; i < n; i++)
        print_address(out, list[i]);
    buf_byte(out, ')');
}

/* Without a Sender or Reply-To field the server puts From there. */
static void print_addresses_or_from(struct buf *out, Thurn__Address *const *list, size_t n,
                                    const Thurn__Envelope *e)
{
    if (n)
        print_addresses(out, list, n);
    else
        print_addresses(out, e->from, e->n_from);
}

/* NULL is the envelope of a message without a header. */
static void print_envelope(struct buf *out, const Thurn__Envelope *e)
{
    static const Thurn__Envelope empty = THURN__ENVELOPE__INIT;
    if (!e)
        e = &empty;
    buf_byte(out, '(');
    wire_print_nstring(out, pb_str(e->date));
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(e->subject));
    print_addresses(out, e->from, e->n_from);
    print_addresses_or_from(out, e->sender, e->n_sender, e);
    print_addresses_or_from(out, e->reply_to, e->n_reply_to, e);
    print_addresses(out, e->to, e->n_to);
    print_addresses(out, e->cc, e->n_cc);
    print_addresses(out, e->bcc, e->n_bcc);
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(e->in_reply_to));
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(e->message_id));
    buf_byte(out, ')');
}

/* --------------------------------------------------------------------------- fields of one part */

/* Type names and the like, in capitals, as in RFC 3501's examples. */
static void print_word(struct buf *out, struct str s)
{
    uint8_t upper[128];
    if (s.n > sizeof upper) {
        wire_print_string(out, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++)
        upper[i] = byte_upper(s.p[i]);
    wire_print_string(out, str_of(upper, s.n));
}

static void print_params(struct buf *out, Thurn__Param *const *params, size_t n)
{
    if (n == 0) {
        buf_put(out, NIL);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        buf_byte(out, i ? ' ' : '(');
        print_word(out, pb_str(params[i]->name));
        buf_byte(out, ' ');
        wire_print_string(out, pb_str(params[i]->value));
    }
    buf_byte(out, ')');
}

static void print_disposition(struct buf *out, const Thurn__Part *part)
{
    if (part->disposition.len == 0) {
        buf_put(out, NIL);
        return;
    }
    buf_byte(out, '(');
    print_word(out, pb_str(part->disposition));
    buf_byte(out, ' ');
    print_params(out, part->disposition_params, part->n_disposition_params);
    buf_byte(out, ')');
}

static void print_language(struct buf *out, const Thurn__Part *part)
{
    if (part->n_language <= 1) {
        wire_print_nstring(out, part->n_language ? pb_str(part->language[0]) : STR(""));
        return;
    }
    for (size_t i = 0; i < part->n_language; i++) {
        buf_byte(out, i ? ' ' : '(');
        wire_print_string(out, pb_str(part->language[i]));
    }
    buf_byte(out, ')');
}

/* " disposition language location": the end of every BODYSTRUCTURE. */
static void print_extension(struct buf *out, const Thurn__Part *part)
{
    buf_byte(out, ' ');
    print_disposition(out, part);
    buf_byte(out, ' ');
    print_language(out, part);
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(part->location));
}

static uint32_t part_octets(const Thurn__Part *part)
{
    return part->end_offset > part->body_offset ? part->end_offset - part->body_offset : 0;
}

/* "type" "subtype" params id description encoding octets */
static void print_fields(struct buf *out, const Thurn__Part *part)
{
    print_word(out, pb_str(part->type));
    buf_byte(out, ' ');
    print_word(out, pb_str(part->subtype));
    buf_byte(out, ' ');
    print_params(out, part->params, part->n_params);
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(part->content_id));
    buf_byte(out, ' ');
    wire_print_nstring(out, pb_str(part->description));
    buf_byte(out, ' ');
    print_word(out, part->encoding.len ? pb_str(part->encoding) : STR("7BIT"));
    buf_byte(out, ' ');
    buf_decimal(out, part_octets(part));
}

/* A text part where the grammar wants a part and there is none. */
static void print_no_part(struct buf *out, bool extended, uint64_t size)
{
    buf_put(out, STR("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" "));
    buf_decimal(out, size);
    buf_put(out, extended ? STR(" 0 NIL NIL NIL NIL)") : STR(" 0)"));
}

/* ------------------------------------------------------------------------------------ structure */

struct structure {
    struct buf *out;
    bool extended; /* BODYSTRUCTURE */
    Thurn__Part *const *parts;
    size_t n;
};

/* By the grammar a message/rfc822 part has an envelope and a body, taken apart or not. */
static bool is_rfc822(const Thurn__Part *part)
{
    return str_ieq(pb_str(part->type), STR("message")) &&
           str_ieq(pb_str(part->subtype), STR("rfc822"));
}

/* Whether the part's children are shown. RFC 3501 knows no message/global: it is a leaf. */
static bool shows_children(const Thurn__Part *part)
{
    return part->multipart || (part->message && is_rfc822(part));
}

/* The list begins with the only part without parent; every other part has a parent that is open
 * where it stands, can have children, and if it is a message has no child yet. */
static bool structure_is_sound(const struct structure *s)
{
    if (s->n == 0 || s->parts[0]->type.len == 0)
        return false;
    for (size_t i = 1, open = 0; i < s->n; open = i++) {
        const Thurn__Part *part = s->parts[i];
        while (open != part->parent && open != 0)
            open = s->parts[open]->parent;
        const Thurn__Part *parent = s->parts[open];
        bool only_child = parent->multipart || open + 1 == i;
        if (open != part->parent || !(parent->multipart || parent->message) || !only_child)
            return false;
        if (part->type.len == 0)
            return false;
    }
    return true;
}

static void part_open(const struct structure *s, const Thurn__Part *part)
{
    buf_byte(s->out, '(');
    if (part->multipart)
        return;
    print_fields(s->out, part);
    if (!is_rfc822(part))
        return;
    buf_byte(s->out, ' ');
    print_envelope(s->out, part->envelope);
    buf_byte(s->out, ' ');
}

static void part_close(const struct structure *s, const Thurn__Part *part, bool has_child)
{
    struct buf *out = s->out;
    if (!has_child && (part->multipart || is_rfc822(part)))
        print_no_part(out, s->extended, 0);
    if (part->multipart) {
        buf_byte(out, ' ');
        print_word(out, pb_str(part->subtype));
    } else if (is_rfc822(part) || str_ieq(pb_str(part->type), STR("text"))) {
        buf_byte(out, ' ');
        buf_decimal(out, part->lines);
    }
    if (s->extended) {
        buf_byte(out, ' ');
        if (part->multipart)
            print_params(out, part->params, part->n_params);
        else
            wire_print_nstring(out, pb_str(part->md5));
        print_extension(out, part);
    }
    buf_byte(out, ')');
}

/* The next part that is shown: behind the descendants of `at` if they are not. */
static size_t next_shown(const struct structure *s, size_t at)
{
    size_t next = at + 1;
    if (!shows_children(s->parts[at]))
        while (next < s->n && s->parts[next]->parent >= at)
            next++;
    return next;
}

static void print_structure(const struct structure *s)
{
    size_t open = 0; /* the innermost part that is not closed */
    part_open(s, s->parts[0]);
    for (size_t next = next_shown(s, 0), last = 0;; next = next_shown(s, next)) {
        size_t parent = next < s->n ? s->parts[next]->parent : SIZE_MAX;
        while (open != parent) {
            part_close(s, s->parts[open], open != last);
            if (open == 0)
                return;
            open = s->parts[open]->parent;
        }
        part_open(s, s->parts[next]);
        open = last = next;
    }
}

void wire_print_record(struct buf *out, enum wire_item item, const Thurn__Email *email,
                       uint64_t size)
{
    if (item == ITEM_ENVELOPE) {
        print_envelope(out, email ? email->envelope : NULL);
        return;
    }
    struct structure s = {.out = out, .extended = item == ITEM_BODYSTRUCTURE};
    if (email) {
        s.parts = email->parts;
        s.n = email->n_parts;
    }
    if (structure_is_sound(&s))
        print_structure(&s);
    else
        print_no_part(out, s.extended, size);
}
