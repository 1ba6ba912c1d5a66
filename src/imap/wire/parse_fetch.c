/* FETCH (RFC 3501 section 6.4.5): what is asked of the backend, and how its answer is printed. */
#include "imap/wire/wire.h"

struct fetch {
    struct wire_parse *w;
    Thurn__ImapFetch *request;
    struct imap_fetch_print *print;
    struct buf label; /* of the section being read */
};

/* ---------------------------------------------------------------------------------- fixed items */

struct fixed_item {
    struct str name;
    enum wire_item item;
    uint32_t bits; /* FetchItem */
};

/* clang-format off */
#define FETCH(item) THURN__FETCH_ITEM__FETCH_##item
static const struct fixed_item fixed_items[] = {
    {STR_INIT("FLAGS"),         ITEM_FLAGS,         FETCH(FLAGS)},
    {STR_INIT("UID"),           ITEM_UID,           FETCH(UID)},
    {STR_INIT("INTERNALDATE"),  ITEM_INTERNALDATE,  FETCH(INTERNALDATE)},
    {STR_INIT("RFC822.SIZE"),   ITEM_SIZE,          FETCH(SIZE)},
    {STR_INIT("ENVELOPE"),      ITEM_ENVELOPE,      FETCH(RECORD)},
    {STR_INIT("BODY"),          ITEM_BODY,          FETCH(RECORD)},
    {STR_INIT("BODYSTRUCTURE"), ITEM_BODYSTRUCTURE, FETCH(RECORD)},
    {STR_INIT("MODSEQ"),        ITEM_MODSEQ,        FETCH(MODSEQ)},
};
#undef FETCH

static const struct {
    struct str name;
    uint8_t n;
    enum wire_item items[5];
} macros[] = {
    {STR_INIT("ALL"),  4, {ITEM_FLAGS, ITEM_INTERNALDATE, ITEM_SIZE, ITEM_ENVELOPE}},
    {STR_INIT("FAST"), 3, {ITEM_FLAGS, ITEM_INTERNALDATE, ITEM_SIZE}},
    {STR_INIT("FULL"), 5, {ITEM_FLAGS, ITEM_INTERNALDATE, ITEM_SIZE, ITEM_ENVELOPE, ITEM_BODY}},
};
/* clang-format on */

static void add_item(struct fetch *f, enum wire_item item)
{
    for (size_t i = 0; i < f->print->n_items; i++)
        if (f->print->items[i] == item)
            return;
    f->print->items[f->print->n_items++] = (uint8_t)item;
    for (size_t i = 0; i < ARRAY_LEN(fixed_items); i++)
        if (fixed_items[i].item == item)
            f->request->items |= fixed_items[i].bits;
}

static bool add_macro(struct fetch *f, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(macros); i++) {
        if (!str_ieq(name, macros[i].name))
            continue;
        for (size_t k = 0; k < macros[i].n; k++)
            add_item(f, macros[i].items[k]);
        return true;
    }
    return false;
}

static bool add_fixed(struct fetch *f, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed_items); i++) {
        if (!str_ieq(name, fixed_items[i].name))
            continue;
        add_item(f, fixed_items[i].item);
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------- sections */

static bool section_add(struct fetch *f, Thurn__Section **section, struct wire_section **printed)
{
    struct wire_parse *w = f->w;
    if (f->request->n_sections == WIRE_SECTIONS_MAX) {
        (void)wire_fail(w, "FETCH asks for too many sections");
        return false;
    }
    if (!f->request->sections) {
        f->request->sections = WIRE_NEW_ARRAY(w, Thurn__Section *, WIRE_SECTIONS_MAX);
        f->print->sections = WIRE_NEW_ARRAY(w, struct wire_section, WIRE_SECTIONS_MAX);
    }
    *section = WIRE_NEW(w, Section, section);
    if (wire_bad(w))
        return false;
    f->request->sections[f->request->n_sections++] = *section;
    *printed = &f->print->sections[f->print->n_sections++];
    return true;
}

static void add_rfc822(struct fetch *f, Thurn__SectionPart part, struct str label, bool seen)
{
    Thurn__Section *section = NULL;
    struct wire_section *printed = NULL;
    if (!section_add(f, &section, &printed))
        return;
    section->part = part;
    printed->label = label;
    f->request->set_seen |= seen;
}

/* The numbers before a section's part; true: a part must follow. */
static bool section_path(struct fetch *f, Thurn__Section *section)
{
    struct wire_parse *w = f->w;
    size_t room = 1;
    int c;
    for (size_t i = 0; (c = cur_peek_at(&w->c, i)) == '.' || (c >= '0' && c <= '9'); i++)
        room += c == '.';
    section->path = WIRE_NEW_ARRAY(w, uint32_t, room);
    if (!section->path)
        return false;
    while ((c = cur_peek(&w->c)) >= '0' && c <= '9') {
        uint32_t number = wire_nz_number(w);
        if (wire_bad(w))
            return false;
        section->path[section->n_path++] = number;
        buf_decimal(&f->label, number);
        if (!cur_accept(&w->c, '.'))
            return false;
        buf_byte(&f->label, '.');
    }
    return true;
}

/* RFC 5322: printable characters but the colon. */
static bool is_field_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == ':')
            return false;
    return s.n > 0;
}

static void field_names(struct fetch *f, struct wire_section *printed)
{
    struct wire_parse *w = f->w;
    size_t room = 1;
    for (size_t i = 0; cur_peek_at(&w->c, i) >= 0 && cur_peek_at(&w->c, i) != ']'; i++)
        room += cur_peek_at(&w->c, i) == ' ';
    printed->names = WIRE_NEW_ARRAY(w, struct str, room);
    if (!printed->names || !wire_space(w))
        return;
    (void)wire_expect(w, '(', "A list of field names is missing");
    do {
        struct str name = wire_astring(w);
        if (wire_bad(w) || printed->n_names == room || !is_field_name(name)) {
            (void)wire_fail(w, "A field name is missing or malformed");
            return;
        }
        buf_put(&f->label, printed->n_names ? STR(" ") : STR(" ("));
        wire_print_astring(&f->label, name);
        printed->names[printed->n_names++] = name;
    } while (cur_accept(&w->c, ' '));
    (void)wire_expect(w, ')', "The list of field names is not ended");
    buf_byte(&f->label, ')');
}

static void section_part(struct fetch *f, Thurn__Section *section, struct wire_section *printed)
{
    /* clang-format off */
    static const struct {
        struct str name;
        Thurn__SectionPart part;
    } parts[] = {
        {STR_INIT("HEADER"),            THURN__SECTION_PART__SECTION_HEADER},
        {STR_INIT("HEADER.FIELDS"),     THURN__SECTION_PART__SECTION_HEADER_FIELDS},
        {STR_INIT("HEADER.FIELDS.NOT"), THURN__SECTION_PART__SECTION_HEADER_FIELDS_NOT},
        {STR_INIT("TEXT"),              THURN__SECTION_PART__SECTION_TEXT},
        {STR_INIT("MIME"),              THURN__SECTION_PART__SECTION_MIME},
    };
    /* clang-format on */
    struct str name = wire_atom(f->w);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!str_ieq(name, parts[i].name))
            continue;
        section->part = parts[i].part;
        buf_put(&f->label, parts[i].name);
    }
    if (section->part == THURN__SECTION_PART__SECTION_ALL ||
        (section->part == THURN__SECTION_PART__SECTION_MIME && section->n_path == 0))
        (void)wire_fail(f->w, "There is no such section");
    printed->pick_not = section->part == THURN__SECTION_PART__SECTION_HEADER_FIELDS_NOT;
    printed->pick =
        printed->pick_not || section->part == THURN__SECTION_PART__SECTION_HEADER_FIELDS;
    if (printed->pick)
        field_names(f, printed);
}

/* "<0.2048>"; the answer repeats the offset only. */
static void section_partial(struct fetch *f, Thurn__Section *section, struct wire_section *printed)
{
    struct wire_parse *w = f->w;
    if (!cur_accept(&w->c, '<'))
        return;
    section->partial = printed->partial = true;
    section->offset = printed->offset = wire_number(w);
    (void)wire_expect(w, '.', "A partial has an offset and a length");
    section->length = printed->length = wire_nz_number(w);
    (void)wire_expect(w, '>', "A partial is not ended");
    buf_byte(&f->label, '<');
    buf_decimal(&f->label, section->offset);
    buf_byte(&f->label, '>');
}

static void section_label(struct fetch *f, struct wire_section *printed)
{
    printed->label = str_dup(f->w->a, buf_str(&f->label));
    if (f->label.bad || printed->label.n == 0)
        (void)wire_fail(f->w, "The command is too large");
}

/* From behind "BODY[". */
static void add_section(struct fetch *f)
{
    Thurn__Section *section = NULL;
    struct wire_section *printed = NULL;
    if (!section_add(f, &section, &printed))
        return;
    bool ended = cur_peek(&f->w->c) == ']';
    if (!ended && section_path(f, section))
        section_part(f, section, printed);
    (void)wire_expect(f->w, ']', "A section is not ended");
    buf_byte(&f->label, ']');
    section_partial(f, section, printed);
    section_label(f, printed);
}

/* From behind "[": "1.2]", RFC 3516. What is shown is added, and before it, if the client wants the
 * bytes, the same part to be measured: a literal says first how long it is. */
static void add_binary(struct fetch *f, enum wire_section_kind kind)
{
    Thurn__Section *measured = NULL, *section = NULL;
    struct wire_section *unseen = NULL, *printed = NULL;
    bool binary = kind == SECTION_BINARY;
    if ((binary && !section_add(f, &measured, &unseen)) || !section_add(f, &section, &printed))
        return;
    if (cur_peek(&f->w->c) != ']' && section_path(f, section))
        (void)wire_fail(f->w, "BINARY takes the numbers of a part");
    (void)wire_expect(f->w, ']', "A section is not ended");
    buf_byte(&f->label, ']');
    section->use = binary ? THURN__SECTION_USE__USE_DECODED : THURN__SECTION_USE__USE_MEASURED;
    printed->kind = kind;
    if (binary) {
        section_partial(f, section, printed);
        measured->path = section->path;
        measured->n_path = section->n_path;
        measured->use = THURN__SECTION_USE__USE_MEASURED;
        unseen->kind = SECTION_MEASURED;
    }
    section_label(f, printed);
}

/* ---------------------------------------------------------------------------------- the command */

static bool is_item_char(uint8_t c)
{
    return c == '.' || byte_is_alpha(c) || byte_is_digit(c);
}

/* What takes a section in brackets, from the bracket on. */
static void bracketed(struct fetch *f, struct str name)
{
    /* clang-format off */
    static const struct {
        struct str name, shown;
        enum wire_section_kind kind;
        bool seen;
    } items[] = {
        {STR_INIT("BODY"),        STR_INIT("BODY["),        SECTION_BYTES,  true},
        {STR_INIT("BODY.PEEK"),   STR_INIT("BODY["),        SECTION_BYTES,  false},
        {STR_INIT("BINARY"),      STR_INIT("BINARY["),      SECTION_BINARY, true},
        {STR_INIT("BINARY.PEEK"), STR_INIT("BINARY["),      SECTION_BINARY, false},
        {STR_INIT("BINARY.SIZE"), STR_INIT("BINARY.SIZE["), SECTION_SIZE,   false},
    };
    /* clang-format on */
    size_t i = 0;
    while (i < ARRAY_LEN(items) && !str_ieq(name, items[i].name))
        i++;
    if (i == ARRAY_LEN(items)) {
        (void)wire_fail(f->w, "Unknown FETCH item");
        return;
    }
    cur_skip(&f->w->c, 1);
    buf_clear(&f->label);
    buf_put(&f->label, items[i].shown);
    if (items[i].kind == SECTION_BYTES)
        add_section(f);
    else
        add_binary(f, items[i].kind);
    f->request->set_seen |= items[i].seen;
}

static void item(struct fetch *f, bool may_be_macro)
{
    struct str name = cur_take_while(&f->w->c, is_item_char);
    if (cur_peek(&f->w->c) == '[') {
        bracketed(f, name);
    } else if (str_ieq(name, STR("RFC822"))) {
        add_rfc822(f, THURN__SECTION_PART__SECTION_ALL, STR("RFC822"), true);
    } else if (str_ieq(name, STR("RFC822.HEADER"))) {
        add_rfc822(f, THURN__SECTION_PART__SECTION_HEADER, STR("RFC822.HEADER"), false);
    } else if (str_ieq(name, STR("RFC822.TEXT"))) {
        add_rfc822(f, THURN__SECTION_PART__SECTION_TEXT, STR("RFC822.TEXT"), true);
    } else if (!add_fixed(f, name) && !(may_be_macro && add_macro(f, name))) {
        (void)wire_fail(f->w, "Unknown FETCH item");
    }
}

void wire_parse_fetch(struct wire_parse *w)
{
    struct fetch f = {.w = w};
    f.request = WIRE_NEW(w, ImapFetch, imap_fetch);
    f.print = WIRE_NEW_ARRAY(w, struct imap_fetch_print, 1);
    if (!f.request || !f.print)
        return;
    (void)wire_space(w);
    f.request->set = wire_set(w, w->cmd->uid);
    (void)wire_space(w);
    if (!cur_accept(&w->c, '(')) {
        item(&f, true);
    } else {
        do
            item(&f, false);
        while (!wire_bad(w) && cur_accept(&w->c, ' '));
        (void)wire_expect(w, ')', "The list of FETCH items is not ended");
    }
    wire_fetch_modifiers(w, f.request);
    if (f.request->changed_since) /* RFC 7162 section 3.1.4.1 */
        add_item(&f, ITEM_MODSEQ);
    if (w->cmd->uid)
        add_item(&f, ITEM_UID);
    buf_free(&f.label);
    w->cmd->request = &f.request->base;
    w->cmd->print = f.print;
}
