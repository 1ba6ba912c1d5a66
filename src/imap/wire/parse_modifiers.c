/* What extensions add to commands: modifiers in parentheses (RFC 4466, RFC 7162), the options of
 * SEARCH RETURN (RFC 4731), ENABLE (RFC 5161) and ID (RFC 2971). */
#include "imap/wire/wire.h"

uint64_t wire_modseq(struct wire_parse *w)
{
    uint64_t v = cur_decimal(&w->c, INT64_MAX);
    if (wire_bad(w))
        (void)wire_fail(w, "A modseq is missing or too large");
    return v;
}

static uint64_t nz_modseq(struct wire_parse *w)
{
    uint64_t v = wire_modseq(w);
    if (!wire_bad(w) && v == 0)
        (void)wire_fail(w, "A modseq may not be 0 here");
    return v;
}

/* "(1234567890 715194045007 41,43:211 (1,5 41,45))", RFC 7162 section 3.2.5. The list at the end,
 * which pairs sequence numbers with UIDs, only helps servers that have forgotten expunges. */
static Thurn__ImapResync *resync(struct wire_parse *w)
{
    Thurn__ImapResync *m = WIRE_NEW(w, ImapResync, imap_resync);
    if (!m)
        return NULL;
    (void)wire_expect(w, '(', "QRESYNC has a list of values");
    m->uidvalidity = wire_nz_number(w);
    (void)wire_space(w);
    m->modseq = nz_modseq(w);
    bool more = cur_accept(&w->c, ' ');
    if (more && cur_peek(&w->c) != '(') {
        m->known = wire_set(w, true);
        more = cur_accept(&w->c, ' ');
    }
    if (more) {
        (void)wire_expect(w, '(', "QRESYNC has a list of values");
        (void)wire_set(w, false);
        (void)wire_space(w);
        (void)wire_set(w, true);
        (void)wire_expect(w, ')', "A list is not ended");
    }
    (void)wire_expect(w, ')', "The values of QRESYNC are not ended");
    return m;
}

void wire_select_parameters(struct wire_parse *w, Thurn__ImapSelect *m)
{
    if (!cur_accept_str(&w->c, STR(" (")))
        return;
    do {
        if (cur_accept_istr(&w->c, STR("QRESYNC ")))
            m->resync = resync(w);
        else if (!cur_accept_istr(&w->c, STR("CONDSTORE")))
            (void)wire_fail(w, "There is no such parameter of SELECT");
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    m->condstore = true;
    (void)wire_expect(w, ')', "The list of parameters is not ended");
}

void wire_fetch_modifiers(struct wire_parse *w, Thurn__ImapFetch *m)
{
    if (!cur_accept_str(&w->c, STR(" (")))
        return;
    do {
        if (cur_accept_istr(&w->c, STR("CHANGEDSINCE ")))
            m->changed_since = nz_modseq(w);
        else if (cur_accept_istr(&w->c, STR("VANISHED")))
            m->vanished = true;
        else
            (void)wire_fail(w, "There is no such modifier of FETCH");
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    if (m->vanished && (!w->cmd->uid || !m->changed_since))
        (void)wire_fail(w, "VANISHED needs UID FETCH and CHANGEDSINCE");
    (void)wire_expect(w, ')', "The list of modifiers is not ended");
}

void wire_store_modifiers(struct wire_parse *w, Thurn__ImapStore *m)
{
    if (!cur_accept(&w->c, '('))
        return;
    if (!cur_accept_istr(&w->c, STR("UNCHANGEDSINCE ")))
        (void)wire_fail(w, "There is no such modifier of STORE");
    m->conditional = true;
    m->unchanged_since = wire_modseq(w);
    (void)wire_expect(w, ')', "The list of modifiers is not ended");
    (void)wire_space(w);
}

uint32_t wire_search_returns(struct wire_parse *w)
{
    static const struct wire_named_bit options[] = {
        {STR_INIT("MIN"), THURN__SEARCH_RETURN__RETURN_MIN},
        {STR_INIT("MAX"), THURN__SEARCH_RETURN__RETURN_MAX},
        {STR_INIT("COUNT"), THURN__SEARCH_RETURN__RETURN_COUNT},
        {STR_INIT("ALL"), THURN__SEARCH_RETURN__RETURN_ALL},
    };
    uint32_t returns = 0;
    if (!cur_accept_istr(&w->c, STR("RETURN (")))
        return 0;
    while (!wire_bad(w) && cur_peek(&w->c) != ')') {
        struct str name = wire_atom(w);
        uint32_t bit = 0;
        for (size_t i = 0; i < ARRAY_LEN(options); i++)
            if (str_ieq(name, options[i].name))
                bit = options[i].bit;
        if (!bit)
            (void)wire_fail(w, "SEARCH returns MIN, MAX, COUNT and ALL");
        returns |= bit;
        if (cur_peek(&w->c) != ')')
            (void)wire_space(w);
    }
    (void)wire_expect(w, ')', "The list of return options is not ended");
    (void)wire_space(w);
    return returns ? returns : THURN__SEARCH_RETURN__RETURN_ALL;
}

/* What is not known is not enabled, and the answer says so. */
void wire_parse_enable(struct wire_parse *w)
{
    Thurn__ImapEnable *m = WIRE_NEW(w, ImapEnable, imap_enable);
    if (!m)
        return;
    (void)wire_space(w);
    do {
        struct str name = wire_atom(w);
        if (str_ieq(name, STR("CONDSTORE")))
            m->extensions |= THURN__EXTENSION__EXTENSION_CONDSTORE;
        else if (str_ieq(name, STR("QRESYNC")))
            m->extensions |= THURN__EXTENSION__EXTENSION_QRESYNC;
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    w->cmd->request = &m->base;
}

static void id_fields(struct wire_parse *w, struct imap_id_field *fields)
{
    size_t n = 0;
    while (!wire_bad(w) && cur_peek(&w->c) != ')') {
        if (n == WIRE_ID_FIELDS) {
            (void)wire_fail(w, "ID has too many fields");
            return;
        }
        struct imap_id_field *f = &fields[n++];
        f->name = wire_string(w);
        (void)wire_space(w);
        if (!cur_accept_istr(&w->c, STR("NIL")))
            f->value = wire_string(w);
        if (f->name.n > WIRE_ID_NAME || f->value.n > WIRE_ID_VALUE)
            (void)wire_fail(w, "A field of ID is too long");
        if (cur_peek(&w->c) != ')')
            (void)wire_space(w);
    }
    w->cmd->id = fields;
    w->cmd->n_id = n;
}

void wire_parse_id(struct wire_parse *w)
{
    (void)wire_space(w);
    if (cur_accept_istr(&w->c, STR("NIL")))
        return;
    struct imap_id_field *fields = WIRE_NEW_ARRAY(w, struct imap_id_field, WIRE_ID_FIELDS);
    if (!fields)
        return;
    (void)wire_expect(w, '(', "ID takes NIL or a list of fields");
    id_fields(w, fields);
    (void)wire_expect(w, ')', "The list of fields is not ended");
}
