/* The untagged answers, but for FETCH. */
#include "imap/wire/wire.h"

enum { KEYWORDS_MAX = 64 };

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
    size_t kept = MIN(n, (size_t)KEYWORDS_MAX), bytes = 0;
    free(v->names);
    v->names = NULL;
    v->n = kept;
    if (kept == 0)
        return;
    for (size_t i = 0; i < kept; i++)
        bytes += names[i].len;
    v->names = mem_alloc(kept * sizeof *v->names + bytes);
    uint8_t *text = (uint8_t *)(v->names + kept);
    for (size_t i = 0; i < kept; i++) {
        struct str name = pb_str(names[i]);
        if (name.n)
            memcpy(text, name.p, name.n);
        v->names[i] = str_of(text, name.n);
        text += name.n;
    }
}

void imap_names_free(struct imap_view_names *v)
{
    free(v->names);
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

static void print_ok_code(struct buf *out, const char *code, uint64_t value, const char *text)
{
    buf_put(out, STR("* OK ["));
    buf_put(out, str_c(code));
    buf_decimal(out, value);
    buf_put(out, STR("] "));
    buf_put(out, str_c(text));
    buf_put(out, str_c(CRLF));
}

static void print_copied(struct buf *out, uint32_t uidvalidity, Thurn__NumRange *const *from,
                         size_t n_from, Thurn__NumRange *const *to, size_t n_to)
{
    buf_put(out, STR("[COPYUID "));
    buf_decimal(out, uidvalidity);
    buf_byte(out, ' ');
    wire_print_ranges(out, from, n_from);
    buf_byte(out, ' ');
    wire_print_ranges(out, to, n_to);
    buf_put(out, STR("] "));
}

/* A client that is told modseqs may be told nothing else (STORE .SILENT). */
static bool row_shows_flags(const Thurn__FetchRow *row)
{
    return row->items & THURN__FETCH_ITEM__FETCH_FLAGS ||
           !(row->items & THURN__FETCH_ITEM__FETCH_MODSEQ);
}

static void print_flag_row(struct buf *out, const Thurn__FetchRow *row,
                           const struct imap_view_names *names, bool with_uid)
{
    bool flags = row_shows_flags(row);
    wire_print_row_head(out, row->seq);
    if (flags) {
        buf_put(out, STR("FLAGS "));
        wire_print_flags(out, row->system, row->keywords, names);
    }
    if (with_uid) {
        buf_put(out, flags ? STR(" UID ") : STR("UID "));
        buf_decimal(out, row->uid);
    }
    if (row->items & THURN__FETCH_ITEM__FETCH_MODSEQ) {
        buf_put(out, flags || with_uid ? STR(" MODSEQ (") : STR("MODSEQ ("));
        buf_decimal(out, row->modseq);
        buf_byte(out, ')');
    }
    buf_put(out, STR(")\r\n"));
}

void imap_print_updates(struct buf *out, const Thurn__ImapUpdates *u, struct imap_view_names *names,
                        bool uid_command)
{
    if (u->highest_modseq)
        print_ok_code(out, "HIGHESTMODSEQ ", u->highest_modseq, "Changes are told with modseqs");
    if (u->n_moved_from && u->n_moved_to) {
        buf_put(out, STR("* OK "));
        print_copied(out, u->moved_uidvalidity, u->moved_from, u->n_moved_from, u->moved_to,
                     u->n_moved_to);
        buf_put(out, STR("Moved\r\n"));
    }
    if (u->selected) {
        imap_names_set(names, u->selected->keywords, u->selected->n_keywords);
        names->read_only = u->selected->read_only;
        imap_print_selected(out, u->selected);
    }
    if (u->n_vanished) {
        buf_put(out, u->earlier ? STR("* VANISHED (EARLIER) ") : STR("* VANISHED "));
        wire_print_ranges(out, u->vanished, u->n_vanished);
        buf_put(out, str_c(CRLF));
    }
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
        print_flag_row(out, u->flags[i], names, uid_command || u->with_uids);
}

/* ----------------------------------------------------------------------------- mailbox listings */

/* Names that Gmail gave to special uses before RFC 6154; the others are the same. */
static const struct wire_named_bit xlist_uses[] = {
    {STR_INIT(" \\AllMail"), 1}, {STR_INIT(" \\Starred"), 8}, {STR_INIT(" \\Spam"), 16}};

static struct str special_use_name(const struct wire_named_bit *use, unsigned options)
{
    for (size_t i = 0; options & IMAP_LIST_XLIST && i < ARRAY_LEN(xlist_uses); i++)
        if (xlist_uses[i].bit == use->bit)
            return xlist_uses[i].name;
    return use->name;
}

static void print_attributes(struct buf *out, const Thurn__ImapMailboxRow *row, unsigned options)
{
    /* Without LIST-EXTENDED there is no \NonExistent: what is not there cannot be selected. */
    bool no_exist = row->no_exist && options & IMAP_LIST_EXTENDED;
    bool no_select = row->no_select || row->no_exist;
    if (no_select)
        buf_put(out, no_exist ? STR("\\NonExistent") : STR("\\Noselect"));
    if (row->name.len == 0) /* the answer that tells the separator */
        return;
    if (no_select)
        buf_byte(out, ' ');
    buf_put(out, row->has_children ? STR("\\HasChildren") : STR("\\HasNoChildren"));
    if (row->subscribed && options & IMAP_LIST_SUBSCRIBED)
        buf_put(out, STR(" \\Subscribed"));
    if (options & IMAP_LIST_XLIST && str_eq(pb_str(row->name), STR("INBOX")))
        buf_put(out, STR(" \\Inbox"));
    for (size_t i = 0; i < ARRAY_LEN(wire_special_uses); i++)
        if (row->special_use & wire_special_uses[i].bit)
            buf_put(out, special_use_name(&wire_special_uses[i], options));
}

void imap_print_mailboxes(struct buf *out, const Thurn__ImapMailboxes *m, unsigned options,
                          uint32_t status_items)
{
    for (size_t i = 0; i < m->n_rows; i++) {
        const Thurn__ImapMailboxRow *row = m->rows[i];
        buf_put(out, options & IMAP_LIST_LSUB    ? STR("* LSUB (")
                     : options & IMAP_LIST_XLIST ? STR("* XLIST (")
                                                 : STR("* LIST ("));
        print_attributes(out, row, options);
        buf_put(out, STR(") \"/\" "));
        print_mailbox(out, pb_str(row->name));
        buf_put(out, row->child_info ? STR(" (CHILDINFO (\"SUBSCRIBED\"))\r\n") : STR("\r\n"));
        if (row->mailbox_status)
            imap_print_status(out, pb_str(row->name), status_items, row->mailbox_status);
    }
}

void imap_print_status(struct buf *out, struct str mailbox, uint32_t items,
                       const Thurn__ImapStatusRow *row)
{
    const struct {
        struct str name;
        uint32_t bit;
        uint64_t value;
    } values[] = {
        {STR(" MESSAGES "), 1, row->messages}, {STR(" RECENT "), 2, row->recent},
        {STR(" UIDNEXT "), 4, row->uidnext},   {STR(" UIDVALIDITY "), 8, row->uidvalidity},
        {STR(" UNSEEN "), 16, row->unseen},    {STR(" HIGHESTMODSEQ "), 32, row->highest_modseq},
        {STR(" DELETED "), 256, row->deleted}, {STR(" DELETED-STORAGE "), 512, row->deleted_bytes},
    };
    buf_put(out, STR("* STATUS "));
    print_mailbox(out, mailbox);
    buf_put(out, STR(" ("));
    size_t skip = 1; /* the first item has no space before it */
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!(items & values[i].bit))
            continue;
        buf_put(out, str_skip(values[i].name, skip));
        buf_decimal(out, values[i].value);
        skip = 0;
    }
    buf_put(out, STR(")\r\n"));
}

/* ---------------------------------------------------------------------------------------- quota */

static void print_resource(struct buf *out, struct str name, uint64_t used, uint64_t limit)
{
    buf_put(out, name);
    buf_decimal(out, used);
    buf_byte(out, ' ');
    buf_decimal(out, limit);
}

/* STORAGE counts in units of 1024 bytes (RFC 9208 section 5.1): what is used is rounded up. */
void imap_print_quota(struct buf *out, const Thurn__ImapQuotaUse *q)
{
    buf_put(out, STR("* QUOTA \"\" ("));
    if (q->bytes_limit)
        print_resource(out, STR("STORAGE "), q->bytes / 1024 + (q->bytes % 1024 != 0),
                       q->bytes_limit / 1024);
    if (q->bytes_limit && q->messages_limit)
        buf_byte(out, ' ');
    if (q->messages_limit)
        print_resource(out, STR("MESSAGE "), q->messages, q->messages_limit);
    buf_put(out, STR(")\r\n"));
}

void imap_print_quota_root(struct buf *out, struct str mailbox, const Thurn__ImapQuotaUse *q)
{
    buf_put(out, STR("* QUOTAROOT "));
    print_mailbox(out, mailbox);
    buf_put(out, q ? STR(" \"\"\r\n") : STR("\r\n"));
    if (q)
        imap_print_quota(out, q);
}

/* ---------------------------------------------------------------------------- SELECT and ENABLE */

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
    if (s->highest_modseq)
        print_ok_code(out, "HIGHESTMODSEQ ", s->highest_modseq, "Highest modseq");
}

void imap_print_enabled(struct buf *out, uint32_t extensions)
{
    buf_put(out, STR("* ENABLED"));
    if (extensions & THURN__EXTENSION__EXTENSION_CONDSTORE)
        buf_put(out, STR(" CONDSTORE"));
    if (extensions & THURN__EXTENSION__EXTENSION_QRESYNC)
        buf_put(out, STR(" QRESYNC"));
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

static void print_known(struct buf *out, uint64_t highest_modseq)
{
    buf_put(out, STR("[HIGHESTMODSEQ "));
    buf_decimal(out, highest_modseq);
    buf_put(out, STR("] "));
}

static void print_modified(struct buf *out, const Thurn__ImapDone *d)
{
    buf_put(out, STR("[MODIFIED "));
    wire_print_ranges(out, d->modified, d->n_modified);
    buf_put(out, STR("] "));
}

static void print_success_code(struct buf *out, enum imap_verb verb, const Thurn__ImapDone *d)
{
    if (verb == IMAP_APPEND && d->n_target_uids)
        print_append_uid(out, d);
    else if (verb == IMAP_COPY && d->n_source_uids && d->n_target_uids)
        print_copied(out, d->uidvalidity, d->source_uids, d->n_source_uids, d->target_uids,
                     d->n_target_uids);
    else if (d->highest_modseq)
        print_known(out, d->highest_modseq);
    else if (verb == IMAP_STORE && d->n_modified)
        print_modified(out, d);
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
    case THURN__CODE__USE_ATTR: return STR("[USEATTR] ");
    case THURN__CODE__UNKNOWN_CTE: return STR("[UNKNOWN-CTE] ");
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
