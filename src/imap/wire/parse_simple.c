/* The commands whose arguments are a few words: RFC 3501 sections 6.1 to 6.4. */
#include "imap/wire/wire.h"

void wire_parse_none(struct wire_parse *w)
{
    (void)w;
}

void wire_parse_noop(struct wire_parse *w)
{
    Thurn__ImapNoop *m = WIRE_NEW(w, ImapNoop, imap_noop);
    if (!m)
        return;
    m->check = w->cmd->verb == IMAP_CHECK;
    w->cmd->request = &m->base;
}

void wire_parse_close(struct wire_parse *w)
{
    Thurn__ImapClose *m = WIRE_NEW(w, ImapClose, imap_close);
    if (!m)
        return;
    m->expunge = w->cmd->verb == IMAP_CLOSE;
    w->cmd->request = &m->base;
}

/* ---------------------------------------------------------------------------------- logging in */

void wire_parse_authenticate(struct wire_parse *w)
{
    (void)wire_space(w);
    w->cmd->mechanism = wire_atom(w);
    if (!cur_accept(&w->c, ' '))
        return;
    w->cmd->has_initial = true;
    struct str initial = wire_atom(w); /* base64 is made of atom characters */
    w->cmd->initial = str_eq(initial, STR("=")) ? (struct str){NULL, 0} : initial;
}

void wire_parse_compress(struct wire_parse *w)
{
    (void)wire_space(w);
    w->cmd->mechanism = wire_atom(w);
}

void wire_parse_login(struct wire_parse *w)
{
    Thurn__ImapLogin *m = WIRE_NEW(w, ImapLogin, imap_login);
    if (!m)
        return;
    (void)wire_space(w);
    m->user = pb_bytes(wire_astring(w));
    (void)wire_space(w);
    m->password = pb_bytes(wire_astring(w));
    w->cmd->request = &m->base;
}

/* ----------------------------------------------------------------------------------- mailboxes */

void wire_parse_select(struct wire_parse *w)
{
    Thurn__ImapSelect *m = WIRE_NEW(w, ImapSelect, imap_select);
    if (!m)
        return;
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    m->examine = w->cmd->verb == IMAP_EXAMINE;
    wire_select_parameters(w, m);
    w->cmd->request = &m->base;
}

/* RFC 6154 section 3: "(USE (\Drafts \Sent))". */
static uint32_t create_uses(struct wire_parse *w)
{
    uint32_t uses = 0;
    if (!cur_accept_istr(&w->c, STR("(USE (")))
        (void)wire_fail(w, "CREATE takes (USE (...)) only");
    do {
        (void)wire_expect(w, '\\', "A special use begins with \\");
        uses |= wire_special_use(wire_atom(w));
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    if (!cur_accept_str(&w->c, STR("))")))
        (void)wire_fail(w, "The list of special uses is not ended");
    return uses;
}

void wire_parse_create(struct wire_parse *w)
{
    Thurn__ImapCreate *m = WIRE_NEW(w, ImapCreate, imap_create);
    if (!m)
        return;
    (void)wire_space(w);
    struct str name = wire_mailbox(w);
    /* "foo/" announces that names below foo will follow; there is nothing to prepare (6.3.3). */
    if (name.n > 1 && str_ends(name, STR("/")))
        name = wire_mailbox_canonical(str_sub(name, 0, name.n - 1));
    m->mailbox = pb_bytes(name);
    if (cur_accept(&w->c, ' '))
        m->special_use = create_uses(w);
    w->cmd->request = &m->base;
}

void wire_parse_delete(struct wire_parse *w)
{
    Thurn__ImapDelete *m = WIRE_NEW(w, ImapDelete, imap_delete);
    if (!m)
        return;
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    w->cmd->request = &m->base;
}

void wire_parse_rename(struct wire_parse *w)
{
    Thurn__ImapRename *m = WIRE_NEW(w, ImapRename, imap_rename);
    if (!m)
        return;
    (void)wire_space(w);
    m->from = pb_bytes(wire_mailbox(w));
    (void)wire_space(w);
    m->to = pb_bytes(wire_mailbox(w));
    w->cmd->request = &m->base;
}

void wire_parse_subscribe(struct wire_parse *w)
{
    Thurn__ImapSubscribe *m = WIRE_NEW(w, ImapSubscribe, imap_subscribe);
    if (!m)
        return;
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    m->on = w->cmd->verb == IMAP_SUBSCRIBE;
    w->cmd->request = &m->base;
}

static uint32_t status_item(struct str name)
{
    static const struct wire_named_bit items[] = {
        {STR_INIT("MESSAGES"), 1},  {STR_INIT("RECENT"), 2},
        {STR_INIT("UIDNEXT"), 4},   {STR_INIT("UIDVALIDITY"), 8},
        {STR_INIT("UNSEEN"), 16},   {STR_INIT("HIGHESTMODSEQ"), 32},
        {STR_INIT("DELETED"), 256}, {STR_INIT("DELETED-STORAGE"), 512}};
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        if (str_ieq(name, items[i].name))
            return items[i].bit;
    return 0;
}

uint32_t wire_status_items(struct wire_parse *w)
{
    uint32_t items = 0;
    do {
        uint32_t item = status_item(wire_atom(w));
        if (!item)
            (void)wire_fail(w, "There is no such status item");
        items |= item;
    } while (!wire_bad(w) && cur_accept(&w->c, ' '));
    (void)wire_expect(w, ')', "The list of status items is not ended");
    return items;
}

void wire_parse_status(struct wire_parse *w)
{
    Thurn__ImapStatus *m = WIRE_NEW(w, ImapStatus, imap_status);
    if (!m)
        return;
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    (void)wire_space(w);
    (void)wire_expect(w, '(', "A list of status items is missing");
    m->items = wire_status_items(w);
    w->cmd->request = &m->base;
}

/* The list has room for a power of two of messages. */
static void append_list(struct wire_parse *w, Thurn__ImapAppend *m, Thurn__AppendMessage *message)
{
    size_t n = m->n_messages;
    if ((n & (n - 1)) == 0) {
        Thurn__AppendMessage **more = WIRE_NEW_ARRAY(w, Thurn__AppendMessage *, n ? n * 2 : 1);
        if (!more)
            return;
        if (n)
            memcpy(more, m->messages, n * sizeof(Thurn__AppendMessage *));
        m->messages = more;
    }
    m->messages[m->n_messages++] = message;
}

void wire_append_message(struct wire_parse *w, Thurn__ImapAppend *m)
{
    Thurn__AppendMessage *message = WIRE_NEW(w, AppendMessage, append_message);
    if (!message)
        return;
    (void)wire_space(w);
    if (cur_peek(&w->c) == '(') {
        message->flags = wire_flags(w, false);
        (void)wire_space(w);
    }
    if (cur_peek(&w->c) == '"') {
        message->has_date = true;
        message->internal_date = wire_date_time(w);
        (void)wire_space(w);
    }
    if (!w->message_follows)
        (void)wire_fail(w, "A literal with the message must follow");
    message->size = w->message_size;
    if (!wire_bad(w))
        append_list(w, m, message);
}

/* Up to the first message, which the caller of imap_parse takes itself. */
void wire_parse_append(struct wire_parse *w)
{
    Thurn__ImapAppend *m = WIRE_NEW(w, ImapAppend, imap_append);
    if (!m)
        return;
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    wire_append_message(w, m);
    w->cmd->request = &m->base;
}

/* --------------------------------------------------------------------------------------- quotas */

/* RFC 9208: there is one root, whose name is empty. */
void wire_parse_quota(struct wire_parse *w)
{
    Thurn__ImapQuota *m = WIRE_NEW(w, ImapQuota, imap_quota);
    if (!m)
        return;
    (void)wire_space(w);
    if (w->cmd->verb == IMAP_GETQUOTAROOT)
        m->mailbox = pb_bytes(wire_mailbox(w));
    else
        m->root = pb_bytes(wire_astring(w));
    w->cmd->request = &m->base;
}

/* Whatever is asked for is refused: quotas are the administrator's. */
void wire_parse_setquota(struct wire_parse *w)
{
    (void)wire_space(w);
    (void)wire_astring(w);
    (void)wire_space(w);
    (void)cur_rest(&w->c);
}

/* ---------------------------------------------------------------------------- selected mailbox */

void wire_parse_expunge(struct wire_parse *w)
{
    Thurn__ImapExpunge *m = WIRE_NEW(w, ImapExpunge, imap_expunge);
    if (!m)
        return;
    if (w->cmd->uid) {
        (void)wire_space(w);
        m->set = wire_set(w, true);
    }
    w->cmd->request = &m->base;
}

void wire_parse_store(struct wire_parse *w)
{
    Thurn__ImapStore *m = WIRE_NEW(w, ImapStore, imap_store);
    if (!m)
        return;
    (void)wire_space(w);
    m->set = wire_set(w, w->cmd->uid);
    (void)wire_space(w);
    wire_store_modifiers(w, m);
    if (cur_accept(&w->c, '+'))
        m->mode = THURN__IMAP_STORE__MODE__ADD;
    else if (cur_accept(&w->c, '-'))
        m->mode = THURN__IMAP_STORE__MODE__REMOVE;
    if (!cur_accept_istr(&w->c, STR("FLAGS")))
        (void)wire_fail(w, "STORE changes FLAGS, +FLAGS or -FLAGS");
    m->silent = cur_accept_istr(&w->c, STR(".SILENT"));
    (void)wire_space(w);
    m->flags = wire_flags(w, true);
    w->cmd->request = &m->base;
}

void wire_parse_copy(struct wire_parse *w)
{
    Thurn__ImapCopy *m = WIRE_NEW(w, ImapCopy, imap_copy);
    if (!m)
        return;
    (void)wire_space(w);
    m->set = wire_set(w, w->cmd->uid);
    (void)wire_space(w);
    m->mailbox = pb_bytes(wire_mailbox(w));
    m->move = w->cmd->verb == IMAP_MOVE;
    w->cmd->request = &m->base;
}
