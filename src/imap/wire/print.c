/* The untagged answers, but for FETCH. */
#include "imap/wire/wire.h"

enum { KEYWORDS_MAX = 64, NAMES_BUDGET = 128 * 1024 };

static const char CRLF[] = "\r\n";

static void print_number_line(struct buf *out, uint64_t number, const char *what)
{
    buf_put(out, STR("* "));
    buf_decimal(out, number);
    buf_byte(out, ' ');
    buf_put(out, str_c(what));
    buf_put(out, str_c(CRLF));
}

static void print_mailbox(struct buf *out, struct str utf8)
{
    CLEANUP(buf_free) struct buf name = {0};
    imap_utf7_encode(utf8, &name);
    wire_print_astring(out, buf_str(&name));
}

/* ------------------------------------------------------------------------- keywords and updates */

void imap_names_set(struct imap_view_names *v, const ProtobufCBinaryData *names, size_t n)
{
    arena_free(&v->arena);
    arena_init(&v->arena, NAMES_BUDGET);
    v->n = 0;
    v->names = arena_array(&v->arena, struct str, KEYWORDS_MAX);
    for (size_t i = 0; v->names && i < MIN(n, (size_t)KEYWORDS_MAX); i++)
        v->names[v->n++] = str_dup(&v->arena, pb_str(names[i]));
}

void imap_names_free(struct imap_view_names *v)
{
    arena_free(&v->arena);
    *v = (struct imap_view_names){0};
}

static void print_all_flags(struct buf *out, const ProtobufCBinaryData *keywords, size_t n)
{
    buf_put(out, STR("(\\Answered \\Flagged \\Deleted \\Seen \\Draft"));
    for (size_t i = 0; i < n; i++) {
        buf_byte(out, ' ');
        buf_put(out, pb_str(keywords[i]));
    }
}

static void print_flag_names(struct buf *out, const ProtobufCBinaryData *keywords, size_t n)
{
    buf_put(out, STR("* FLAGS "));
    print_all_flags(out, keywords, n);
    buf_put(out, STR(")\r\n"));
}

/* Flags that stay; "\*": new keywords can be made. */
static void print_permanent_flags(struct buf *out, const ProtobufCBinaryData *keywords, size_t n,
                                  bool read_only)
{
    buf_put(out, STR("* OK [PERMANENTFLAGS "));
    if (read_only) {
        buf_put(out, STR("()] No permanent flags permitted\r\n"));
        return;
    }
    print_all_flags(out, keywords, n);
    buf_put(out,
            n < KEYWORDS_MAX ? STR(" \\*)] Flags permitted\r\n") : STR(")] Flags permitted\r\n"));
}

static void print_flag_row(struct buf *out, const Thurn__FetchRow *row,
                           const struct imap_view_names *names, bool with_uid)
{
    wire_print_row_head(out, row->seq);
    buf_put(out, STR("FLAGS "));
    wire_print_flags(out, row->system, row->keywords, names);
    if (with_uid) {
        buf_put(out, STR(" UID "));
        buf_decimal(out, row->uid);
    }
    buf_put(out, STR(")\r\n"));
}

void imap_print_updates(struct buf *out, const Thurn__ImapUpdates *u, struct imap_view_names *names,
                        bool uid_command)
{
    for (size_t i = 0; i < u->n_expunged; i++)
        print_number_line(out, u->expunged[i], "EXPUNGE");
    if (u->has_exists) {
        print_number_line(out, u->exists, "EXISTS");
        print_number_line(out, u->recent, "RECENT");
    }
    if (u->has_flag_names) {
        imap_names_set(names, u->keywords, u->n_keywords);
        print_flag_names(out, u->keywords, u->n_keywords);
        if (!names->read_only)
            print_permanent_flags(out, u->keywords, u->n_keywords, false);
    }
    for (size_t i = 0; i < u->n_flags; i++)
        print_flag_row(out, u->flags[i], names, uid_command);
}

/* ----------------------------------------------------------------------------- mailbox listings */

static void print_attributes(struct buf *out, const Thurn__ImapMailboxRow *row)
{
    /* Without LIST-EXTENDED there is no \NonExistent: what is not there cannot be selected. */
    if (row->no_select || row->no_exist)
        buf_put(out, STR("\\Noselect"));
    if (row->name.len == 0) /* the answer that tells the separator */
        return;
    if (row->no_select || row->no_exist)
        buf_byte(out, ' ');
    buf_put(out, row->has_children ? STR("\\HasChildren") : STR("\\HasNoChildren"));
    for (size_t i = 0; i < ARRAY_LEN(wire_special_uses); i++)
        if (row->special_use & wire_special_uses[i].bit)
            buf_put(out, wire_special_uses[i].name);
}

void imap_print_mailboxes(struct buf *out, const Thurn__ImapMailboxes *m, unsigned options)
{
    for (size_t i = 0; i < m->n_rows; i++) {
        const Thurn__ImapMailboxRow *row = m->rows[i];
        if ((options & IMAP_LIST_SPECIAL_USE_ONLY) && !row->special_use)
            continue;
        buf_put(out, options & IMAP_LIST_LSUB ? STR("* LSUB (") : STR("* LIST ("));
        print_attributes(out, row);
        buf_put(out, STR(") \"/\" "));
        print_mailbox(out, pb_str(row->name));
        buf_put(out, str_c(CRLF));
    }
}

void imap_print_status(struct buf *out, struct str mailbox, uint32_t items,
                       const Thurn__ImapStatusRow *row)
{
    const struct {
        struct str name;
        uint32_t value;
    } values[] = {
        {STR(" MESSAGES "), row->messages}, {STR(" RECENT "), row->recent},
        {STR(" UIDNEXT "), row->uidnext},   {STR(" UIDVALIDITY "), row->uidvalidity},
        {STR(" UNSEEN "), row->unseen},
    };
    buf_put(out, STR("* STATUS "));
    print_mailbox(out, mailbox);
    buf_put(out, STR(" ("));
    size_t skip = 1; /* the first item has no space before it */
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!(items & 1U << i))
            continue;
        buf_put(out, str_skip(values[i].name, skip));
        buf_decimal(out, values[i].value);
        skip = 0;
    }
    buf_put(out, STR(")\r\n"));
}

/* ---------------------------------------------------------------------------- SELECT and SEARCH */

static void print_ok_code(struct buf *out, const char *code, uint64_t value, const char *text)
{
    buf_put(out, STR("* OK ["));
    buf_put(out, str_c(code));
    buf_decimal(out, value);
    buf_put(out, STR("] "));
    buf_put(out, str_c(text));
    buf_put(out, str_c(CRLF));
}

void imap_print_selected(struct buf *out, const Thurn__ImapSelected *s)
{
    print_flag_names(out, s->keywords, s->n_keywords);
    print_permanent_flags(out, s->keywords, s->n_keywords, s->read_only);
    print_number_line(out, s->exists, "EXISTS");
    print_number_line(out, s->recent, "RECENT");
    if (s->first_unseen)
        print_ok_code(out, "UNSEEN ", s->first_unseen, "First unseen message");
    print_ok_code(out, "UIDVALIDITY ", s->uidvalidity, "UIDs valid");
    print_ok_code(out, "UIDNEXT ", s->uidnext, "Predicted next UID");
}

void imap_print_numbers(struct buf *out, const Thurn__ImapNumbers *n, bool first, bool last)
{
    if (first)
        buf_put(out, STR("* SEARCH"));
    for (size_t i = 0; n && i < n->n_numbers; i++) {
        buf_byte(out, ' ');
        buf_decimal(out, n->numbers[i]);
    }
    if (last)
        buf_put(out, str_c(CRLF));
}

/* ---------------------------------------------------------------------- codes of tagged answers */

static void print_append_uid(struct buf *out, const Thurn__ImapDone *d)
{
    buf_put(out, STR("[APPENDUID "));
    buf_decimal(out, d->uidvalidity);
    buf_byte(out, ' ');
    wire_print_ranges(out, d->target_uids, d->n_target_uids);
    buf_put(out, STR("] "));
}

static void print_copy_uid(struct buf *out, const Thurn__ImapDone *d)
{
    buf_put(out, STR("[COPYUID "));
    buf_decimal(out, d->uidvalidity);
    buf_byte(out, ' ');
    wire_print_ranges(out, d->source_uids, d->n_source_uids);
    buf_byte(out, ' ');
    wire_print_ranges(out, d->target_uids, d->n_target_uids);
    buf_put(out, STR("] "));
}

static void print_success_code(struct buf *out, enum imap_verb verb, const Thurn__ImapDone *d)
{
    if (verb == IMAP_APPEND && d->n_target_uids)
        print_append_uid(out, d);
    else if (verb == IMAP_COPY && d->n_source_uids && d->n_target_uids)
        print_copy_uid(out, d);
    else if ((verb == IMAP_SELECT || verb == IMAP_EXAMINE) && d->selected)
        buf_put(out, d->selected->read_only ? STR("[READ-ONLY] ") : STR("[READ-WRITE] "));
}

/* RFC 5530; TRYCREATE is RFC 3501's, OVERQUOTA RFC 9208's too. */
static struct str failure_code(enum imap_verb verb, Thurn__Code code)
{
    switch (code) {
    case THURN__CODE__NOT_FOUND: return STR("[NONEXISTENT] ");
    case THURN__CODE__ALREADY_EXISTS: return STR("[ALREADYEXISTS] ");
    case THURN__CODE__DENIED:
        return verb == IMAP_LOGIN || verb == IMAP_AUTHENTICATE ? STR("[AUTHENTICATIONFAILED] ")
                                                               : STR("[NOPERM] ");
    case THURN__CODE__INVALID:
    case THURN__CODE__UNSUPPORTED: return STR("[CANNOT] ");
    case THURN__CODE__TOO_LARGE:
    case THURN__CODE__LIMIT_EXCEEDED: return STR("[LIMIT] ");
    case THURN__CODE__OVER_QUOTA: return STR("[OVERQUOTA] ");
    case THURN__CODE__TEMPORARY:
    case THURN__CODE__STORE_FULL: return STR("[UNAVAILABLE] ");
    case THURN__CODE__IN_USE: return STR("[INUSE] ");
    case THURN__CODE__READ_ONLY: return STR("[NOPERM] ");
    case THURN__CODE__TRY_CREATE: return STR("[TRYCREATE] ");
    case THURN__CODE__CORRUPT: return STR("[CORRUPTION] ");
    default: return STR("");
    }
}

void imap_print_done_code(struct buf *out, enum imap_verb verb, const Thurn__ImapDone *d)
{
    Thurn__Code code = d->status ? d->status->code : THURN__CODE__DONE;
    if (code == THURN__CODE__DONE)
        print_success_code(out, verb, d);
    else
        buf_put(out, failure_code(verb, code));
}
