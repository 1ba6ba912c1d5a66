/* LIST and LSUB (RFC 3501 sections 6.3.8 and 6.3.9), with as much of the extended form (RFC 5258)
 * as SPECIAL-USE (RFC 6154) and CHILDREN ask for. */
#include "imap/wire/wire.h"

enum { PATTERNS_MAX = 16 };

static void pattern(struct wire_parse *w, Thurn__ImapList *m)
{
    if (m->n_patterns == PATTERNS_MAX)
        (void)wire_fail(w, "Too many mailbox patterns");
    struct str s = wire_mailbox_decode(w, wire_list_pattern(w));
    if (!wire_bad(w))
        m->patterns[m->n_patterns++] = pb_bytes(s);
}

/* "(SPECIAL-USE)" before the reference: only mailboxes with a special use. */
static void selection_options(struct wire_parse *w)
{
    if (!cur_accept(&w->c, '('))
        return;
    if (!cur_accept(&w->c, ')')) {
        if (!str_ieq(wire_atom(w), STR("SPECIAL-USE")))
            (void)wire_fail(w, "LIST selects by SPECIAL-USE only");
        w->cmd->list_options |= IMAP_LIST_SPECIAL_USE_ONLY;
        (void)wire_expect(w, ')', "LIST selects by SPECIAL-USE only");
    }
    (void)wire_space(w);
}

/* "RETURN (SPECIAL-USE CHILDREN)": both are returned in any case. */
static void return_options(struct wire_parse *w)
{
    if (!cur_accept_istr(&w->c, STR(" RETURN (")))
        return;
    if (cur_accept(&w->c, ')'))
        return;
    do {
        struct str option = wire_atom(w);
        if (!str_ieq(option, STR("SPECIAL-USE")) && !str_ieq(option, STR("CHILDREN")))
            (void)wire_fail(w, "LIST returns SPECIAL-USE and CHILDREN only");
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    (void)wire_expect(w, ')', "The list of return options is not ended");
}

static void list_common(struct wire_parse *w, bool lsub)
{
    Thurn__ImapList *m = WIRE_NEW(w, ImapList, imap_list);
    if (!m)
        return;
    m->patterns = WIRE_NEW_ARRAY(w, ProtobufCBinaryData, PATTERNS_MAX);
    m->lsub = lsub;
    w->cmd->list_options = lsub ? IMAP_LIST_LSUB : 0;
    w->cmd->request = &m->base;
    (void)wire_space(w);
    if (!lsub)
        selection_options(w);
    m->reference = pb_bytes(wire_mailbox_decode(w, wire_astring(w)));
    (void)wire_space(w);
    if (lsub || !cur_accept(&w->c, '(')) {
        pattern(w, m);
    } else {
        do
            pattern(w, m);
        while (!wire_bad(w) && cur_accept(&w->c, ' '));
        (void)wire_expect(w, ')', "The list of patterns is not ended");
    }
    if (!lsub)
        return_options(w);
}

void wire_parse_list(struct wire_parse *w)
{
    list_common(w, false);
}

void wire_parse_lsub(struct wire_parse *w)
{
    list_common(w, true);
}
