/* LIST, LSUB and XLIST (RFC 3501 sections 6.3.8 and 6.3.9), with the extended form of LIST (RFC
 * 5258), SPECIAL-USE (RFC 6154), CHILDREN (RFC 3348) and STATUS (RFC 5819). */
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

static void selection_option(struct wire_parse *w, Thurn__ImapList *m)
{
    struct str name = wire_atom(w);
    if (str_ieq(name, STR("SUBSCRIBED")))
        m->select |= THURN__LIST_SELECT__LIST_SUBSCRIBED;
    else if (str_ieq(name, STR("RECURSIVEMATCH")))
        m->select |= THURN__LIST_SELECT__LIST_RECURSIVEMATCH;
    else if (str_ieq(name, STR("SPECIAL-USE")))
        m->select |= THURN__LIST_SELECT__LIST_SPECIAL_USE;
    else if (!str_ieq(name, STR("REMOTE"))) /* there are none */
        (void)wire_fail(w, "There is no such selection option of LIST");
}

/* "(SUBSCRIBED RECURSIVEMATCH)" before the reference. */
static void selection_options(struct wire_parse *w, Thurn__ImapList *m)
{
    if (!cur_accept(&w->c, '('))
        return;
    w->cmd->list_options |= IMAP_LIST_EXTENDED;
    if (!cur_accept(&w->c, ')')) {
        do
            selection_option(w, m);
        while (!wire_bad(w) && cur_accept(&w->c, ' '));
        (void)wire_expect(w, ')', "The list of selection options is not ended");
    }
    if (m->select & THURN__LIST_SELECT__LIST_SUBSCRIBED)
        w->cmd->list_options |= IMAP_LIST_SUBSCRIBED;
    else if (m->select & THURN__LIST_SELECT__LIST_RECURSIVEMATCH)
        (void)wire_fail(w, "RECURSIVEMATCH needs SUBSCRIBED");
    (void)wire_space(w);
}

static void return_option(struct wire_parse *w, Thurn__ImapList *m)
{
    struct str option = wire_atom(w);
    if (str_ieq(option, STR("SUBSCRIBED"))) {
        w->cmd->list_options |= IMAP_LIST_SUBSCRIBED;
    } else if (str_ieq(option, STR("STATUS"))) {
        (void)wire_space(w);
        (void)wire_expect(w, '(', "A list of status items is missing");
        m->status_items = wire_status_items(w);
    } else if (!str_ieq(option, STR("SPECIAL-USE")) && !str_ieq(option, STR("CHILDREN"))) {
        /* Those two are returned in any case. */
        (void)wire_fail(w, "There is no such return option of LIST");
    }
}

static void return_options(struct wire_parse *w, Thurn__ImapList *m)
{
    if (!cur_accept_istr(&w->c, STR(" RETURN (")))
        return;
    w->cmd->list_options |= IMAP_LIST_EXTENDED;
    if (cur_accept(&w->c, ')'))
        return;
    do
        return_option(w, m);
    while (!wire_bad(w) && cur_accept(&w->c, ' '));
    (void)wire_expect(w, ')', "The list of return options is not ended");
}

static Thurn__ImapList *list_new(struct wire_parse *w, unsigned options)
{
    Thurn__ImapList *m = WIRE_NEW(w, ImapList, imap_list);
    if (!m)
        return NULL;
    m->patterns = WIRE_NEW_ARRAY(w, ProtobufCBinaryData, PATTERNS_MAX);
    m->lsub = options & IMAP_LIST_LSUB;
    w->cmd->list_options = options;
    w->cmd->request = &m->base;
    (void)wire_space(w);
    return m;
}

static void list_simple(struct wire_parse *w, unsigned options)
{
    Thurn__ImapList *m = list_new(w, options);
    if (!m)
        return;
    m->reference = pb_bytes(wire_mailbox_decode(w, wire_astring(w)));
    (void)wire_space(w);
    pattern(w, m);
}

void wire_parse_list(struct wire_parse *w)
{
    Thurn__ImapList *m = list_new(w, 0);
    if (!m)
        return;
    selection_options(w, m);
    m->reference = pb_bytes(wire_mailbox_decode(w, wire_astring(w)));
    (void)wire_space(w);
    if (!cur_accept(&w->c, '(')) {
        pattern(w, m);
    } else {
        w->cmd->list_options |= IMAP_LIST_EXTENDED;
        do
            pattern(w, m);
        while (!wire_bad(w) && cur_accept(&w->c, ' '));
        (void)wire_expect(w, ')', "The list of patterns is not ended");
    }
    return_options(w, m);
}

void wire_parse_lsub(struct wire_parse *w)
{
    list_simple(w, IMAP_LIST_LSUB);
}

void wire_parse_xlist(struct wire_parse *w)
{
    list_simple(w, IMAP_LIST_XLIST);
}
