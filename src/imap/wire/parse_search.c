/*
 * SEARCH (RFC 3501 section 6.4.4): keys into a flat program in prefix order. Groups that are open
 * stand on a stack of fixed height, so that depth of input is no depth of calls.
 */
#include "imap/wire/wire.h"
#include "mime/mime.h"

enum key_argument {
    KEY_NONE,
    KEY_FLAG,
    KEY_UNFLAG,
    KEY_TEXT,
    KEY_HEADER,
    KEY_KEYWORD,
    KEY_UNKEYWORD,
    KEY_NUMBER,
    KEY_DATE,
    KEY_UID,
    KEY_NOT,
    KEY_OR,
    KEY_MODSEQ
};

struct key {
    struct str name;
    enum key_argument argument;
    uint32_t op; /* SearchOp; with KEY_FLAG and KEY_UNFLAG the flag's bit */
};

/* clang-format off */
#define OP(op) THURN__SEARCH_OP__SEARCH_##op
#define FLAG(flag) THURN__SYSTEM_FLAG__FLAG_##flag
static const struct key keys[] = {
    {STR_INIT("ALL"),        KEY_NONE,      OP(ALL)},
    {STR_INIT("ANSWERED"),   KEY_FLAG,      FLAG(ANSWERED)},
    {STR_INIT("BCC"),        KEY_TEXT,      OP(BCC)},
    {STR_INIT("BEFORE"),     KEY_DATE,      OP(BEFORE)},
    {STR_INIT("BODY"),       KEY_TEXT,      OP(BODY)},
    {STR_INIT("CC"),         KEY_TEXT,      OP(CC)},
    {STR_INIT("DELETED"),    KEY_FLAG,      FLAG(DELETED)},
    {STR_INIT("DRAFT"),      KEY_FLAG,      FLAG(DRAFT)},
    {STR_INIT("FLAGGED"),    KEY_FLAG,      FLAG(FLAGGED)},
    {STR_INIT("FROM"),       KEY_TEXT,      OP(FROM)},
    {STR_INIT("HEADER"),     KEY_HEADER,    OP(HEADER)},
    {STR_INIT("KEYWORD"),    KEY_KEYWORD,   OP(KEYWORD)},
    {STR_INIT("LARGER"),     KEY_NUMBER,    OP(LARGER)},
    {STR_INIT("MODSEQ"),     KEY_MODSEQ,    OP(MODSEQ)},
    {STR_INIT("NEW"),        KEY_NONE,      OP(NEW)},
    {STR_INIT("NOT"),        KEY_NOT,       OP(NOT)},
    {STR_INIT("OLD"),        KEY_NONE,      OP(OLD)},
    {STR_INIT("ON"),         KEY_DATE,      OP(ON)},
    {STR_INIT("OR"),         KEY_OR,        OP(OR)},
    {STR_INIT("RECENT"),     KEY_FLAG,      FLAG(RECENT)},
    {STR_INIT("SEEN"),       KEY_FLAG,      FLAG(SEEN)},
    {STR_INIT("SENTBEFORE"), KEY_DATE,      OP(SENTBEFORE)},
    {STR_INIT("SENTON"),     KEY_DATE,      OP(SENTON)},
    {STR_INIT("SENTSINCE"),  KEY_DATE,      OP(SENTSINCE)},
    {STR_INIT("SINCE"),      KEY_DATE,      OP(SINCE)},
    {STR_INIT("SMALLER"),    KEY_NUMBER,    OP(SMALLER)},
    {STR_INIT("SUBJECT"),    KEY_TEXT,      OP(SUBJECT)},
    {STR_INIT("TEXT"),       KEY_TEXT,      OP(TEXT)},
    {STR_INIT("TO"),         KEY_TEXT,      OP(TO)},
    {STR_INIT("UID"),        KEY_UID,       OP(SET)},
    {STR_INIT("UNANSWERED"), KEY_UNFLAG,    FLAG(ANSWERED)},
    {STR_INIT("UNDELETED"),  KEY_UNFLAG,    FLAG(DELETED)},
    {STR_INIT("UNDRAFT"),    KEY_UNFLAG,    FLAG(DRAFT)},
    {STR_INIT("UNFLAGGED"),  KEY_UNFLAG,    FLAG(FLAGGED)},
    {STR_INIT("UNKEYWORD"),  KEY_UNKEYWORD, OP(KEYWORD)},
    {STR_INIT("UNSEEN"),     KEY_UNFLAG,    FLAG(SEEN)},
};
#undef FLAG
/* clang-format on */

/* A group whose end has not come. */
struct group {
    Thurn__SearchNode *node;
    unsigned wanted; /* keys still to come; 0: a list, ended by ")" or the end */
};

struct program {
    struct wire_parse *w;
    Thurn__SearchNode **nodes;
    size_t n;
    struct group open[WIRE_SEARCH_DEPTH];
    size_t depth;
};

/* NULL without room, and the command has failed. */
static Thurn__SearchNode *node_add(struct program *p, uint32_t op)
{
    if (p->n == WIRE_SEARCH_NODES) {
        (void)wire_fail(p->w, "The search has too many keys");
        return NULL;
    }
    Thurn__SearchNode *node = WIRE_NEW(p->w, SearchNode, search_node);
    if (!node)
        return NULL;
    node->op = (Thurn__SearchOp)op;
    p->nodes[p->n++] = node;
    return node;
}

static void group_open(struct program *p, uint32_t op, unsigned wanted)
{
    Thurn__SearchNode *node = node_add(p, op);
    if (p->depth == WIRE_SEARCH_DEPTH)
        (void)wire_fail(p->w, "The search is nested too deeply");
    if (!node || wire_bad(p->w))
        return;
    node->children = wanted;
    p->open[p->depth++] = (struct group){node, wanted};
}

/* A key is complete, and with it perhaps groups that wanted so many. */
static void key_done(struct program *p)
{
    while (p->depth) {
        struct group *g = &p->open[p->depth - 1];
        if (g->wanted == 0) {
            g->node->children++;
            return;
        }
        if (--g->wanted)
            return;
        p->depth--;
    }
}

static void flag_key(struct program *p, uint32_t flag, bool negated)
{
    Thurn__SearchNode *not_node = negated ? node_add(p, OP(NOT)) : NULL;
    Thurn__SearchNode *node = node_add(p, OP(FLAG));
    if (not_node)
        not_node->children = 1;
    if (node)
        node->number = flag;
}

static void keyword_key(struct program *p, bool negated)
{
    Thurn__SearchNode *not_node = negated ? node_add(p, OP(NOT)) : NULL;
    Thurn__SearchNode *node = node_add(p, OP(KEYWORD));
    if (not_node)
        not_node->children = 1;
    (void)wire_space(p->w);
    struct str keyword = wire_atom(p->w);
    if (node)
        node->text = pb_bytes(keyword);
}

const struct str imap_charsets = STR_INIT(
    "US-ASCII UTF-8 UTF-7 ISO-8859-1 ISO-8859-2 ISO-8859-3 ISO-8859-4 ISO-8859-5 ISO-8859-6 "
    "ISO-8859-7 ISO-8859-8 ISO-8859-9 ISO-8859-13 ISO-8859-15 windows-1250 windows-1251 "
    "windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258 "
    "KOI8-R KOI8-U ISO-2022-JP Shift_JIS EUC-JP GB2312 GBK GB18030 Big5 EUC-KR TIS-620");

/* A text in the search's charset, as UTF-8 in the arena. */
static struct str text_decoded(struct wire_parse *w, struct str s)
{
    CLEANUP(buf_free) struct buf utf8 = {0};
    if (w->charset.n == 0 || s.n == 0)
        return s;
    mime_text_to_utf8(w->charset, s, &utf8);
    struct str kept = str_dup(w->a, buf_str(&utf8));
    if (utf8.bad || kept.n != utf8.n)
        (void)wire_fail(w, "The command is too large");
    return kept;
}

static ProtobufCBinaryData text(struct wire_parse *w)
{
    (void)wire_space(w);
    struct str s = text_decoded(w, wire_astring(w));
    if (!str_is_utf8(s))
        (void)wire_fail(w, "A search text is not in UTF-8");
    return pb_bytes(s);
}

/* RFC 7162 section 3.1.5. Modseqs are of messages here: whose flag it was does not matter. */
static uint64_t modseq_key(struct wire_parse *w)
{
    if (cur_peek(&w->c) == '"') {
        (void)wire_string(w);
        (void)wire_space(w);
        bool kind = cur_accept_istr(&w->c, STR("all")) || cur_accept_istr(&w->c, STR("priv")) ||
                    cur_accept_istr(&w->c, STR("shared"));
        if (!kind)
            (void)wire_fail(w, "MODSEQ of a flag is of kind all, priv or shared");
        (void)wire_space(w);
    }
    return wire_modseq(w);
}

static void argument_key(struct program *p, const struct key *key)
{
    struct wire_parse *w = p->w;
    Thurn__SearchNode *node = node_add(p, key->op);
    if (!node)
        return;
    if (key->argument == KEY_HEADER)
        node->header = text(w);
    if (key->argument == KEY_HEADER || key->argument == KEY_TEXT) {
        node->text = text(w);
        return;
    }
    if (key->argument == KEY_NONE)
        return;
    (void)wire_space(w);
    if (key->argument == KEY_DATE)
        node->date = wire_date(w);
    else if (key->argument == KEY_MODSEQ)
        node->number = modseq_key(w);
    else if (key->argument == KEY_NUMBER)
        node->number = cur_decimal(&w->c, INT64_MAX);
    else
        node->set = wire_set(w, true);
    if (wire_bad(w))
        (void)wire_fail(w, "A search key's number is missing or too large");
}

static const struct key *key_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_ieq(name, keys[i].name))
            return &keys[i];
    return NULL;
}

/* True: the key is complete; false: it has opened a group. */
static bool named_key(struct program *p)
{
    const struct key *key = key_find(wire_atom(p->w));
    if (!key)
        return wire_fail(p->w, "Unknown search key");
    switch (key->argument) {
    case KEY_OR:
    case KEY_NOT:
        group_open(p, key->op, key->argument == KEY_OR ? 2 : 1);
        (void)wire_space(p->w);
        return false;
    case KEY_FLAG:
    case KEY_UNFLAG: flag_key(p, key->op, key->argument == KEY_UNFLAG); return true;
    case KEY_KEYWORD:
    case KEY_UNKEYWORD: keyword_key(p, key->argument == KEY_UNKEYWORD); return true;
    default: argument_key(p, key); return true;
    }
}

static bool key(struct program *p)
{
    int c = cur_peek(&p->w->c);
    if (c == '(') {
        cur_skip(&p->w->c, 1);
        group_open(p, OP(AND), 0);
        return false;
    }
    if (c != '*' && !(c >= '0' && c <= '9'))
        return named_key(p);
    Thurn__SearchNode *node = node_add(p, OP(SET));
    Thurn__ImapSet *set = wire_set(p->w, false);
    if (node)
        node->set = set;
    return true;
}

/* Behind a complete key lists end; true: another key follows. */
static bool after_key(struct program *p)
{
    key_done(p);
    while (!wire_bad(p->w) && cur_accept(&p->w->c, ')')) {
        struct group *g = &p->open[p->depth - 1];
        if (p->depth == 1 || g->wanted)
            return wire_fail(p->w, g->wanted ? "A search key is missing" : "A ) has no (");
        p->depth--;
        key_done(p);
    }
    if (!cur_end(&p->w->c))
        return wire_space(p->w);
    return p->depth != 1 && wire_fail(p->w, "The search ends too early");
}

static void charset(struct wire_parse *w)
{
    if (!cur_accept_istr(&w->c, STR("CHARSET ")))
        return;
    struct str name = wire_astring(w);
    bool utf8 = str_ieq(name, STR("UTF-8")) || str_ieq(name, STR("US-ASCII"));
    if (!wire_bad(w) && !utf8) {
        w->charset = name;
        w->cmd->bad_charset = !mime_charset_is_known(name);
    }
    (void)wire_space(w);
}

void wire_parse_search(struct wire_parse *w)
{
    (void)wire_space(w);
    uint32_t returns = wire_search_returns(w);
    charset(w);
    if (w->cmd->bad_charset) { /* its keys cannot be understood */
        w->cmd->frame = 0;
        (void)cur_rest(&w->c);
        return;
    }
    Thurn__ImapSearch *m = WIRE_NEW(w, ImapSearch, imap_search);
    struct program p = {.w = w};
    p.nodes = WIRE_NEW_ARRAY(w, Thurn__SearchNode *, WIRE_SEARCH_NODES);
    if (!m || !p.nodes)
        return;
    group_open(&p, OP(AND), 0);
    for (bool more = true; more && !wire_bad(w);)
        more = !key(&p) || after_key(&p);
    m->nodes = p.nodes;
    m->n_nodes = p.n;
    m->uid = w->cmd->uid;
    m->returns = returns;
    w->cmd->request = &m->base;
}
