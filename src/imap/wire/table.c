#include "imap/wire/wire.h"

enum { RPC_IMAP_NONE = 0 };

/* clang-format off */
#define ROW(VERB, states_, flags_, parse_, frame_, capability_, when_, rfc)                        \
    [IMAP_##VERB] = {.name = STR_INIT(#VERB), .verb = IMAP_##VERB,                                 \
                     .states = WIRE_STATES_##states_, .flags = WIRE_##flags_,                      \
                     .parse = wire_parse_##parse_, .frame = RPC_IMAP_##frame_,                     \
                     .capability = (capability_), .when = SHOW_##when_},
const struct wire_command wire_commands[IMAP_VERBS] = {IMAP_COMMANDS(ROW)};
#undef ROW

static const struct {
    const char *capability;
    enum wire_when when;
} extensions[] = {
#define ROW(capability, when, rfc, where) {capability, SHOW_##when},
    IMAP_EXTENSIONS(ROW)
#undef ROW
};
/* clang-format on */

static bool is_tag_char(uint8_t c)
{
    return c != '+' && wire_is_astring_char(c);
}

static const struct wire_command *command_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(wire_commands); i++)
        if (str_ieq(name, wire_commands[i].name))
            return &wire_commands[i];
    return NULL;
}

static const char *wrong_state(const struct wire_command *row, enum imap_state state)
{
    if (state != IMAP_NOT_AUTHENTICATED && row->states == IMAP_NOT_AUTHENTICATED)
        return "You are logged in already";
    return state == IMAP_NOT_AUTHENTICATED ? "Log in first" : "Select a mailbox first";
}

struct str wire_tag_of(struct str line)
{
    struct cur c = cur_of(line);
    struct str tag = cur_take_while(&c, is_tag_char);
    bool usable = tag.n <= WIRE_TAG_MAX && (cur_end(&c) || cur_peek(&c) == ' ');
    return usable ? tag : (struct str){NULL, 0};
}

static bool head_tag(struct wire_parse *w)
{
    struct str tag = wire_tag_of(w->c.s);
    w->cmd->tag = tag.n ? tag : STR("*");
    if (tag.n == 0)
        return wire_fail(w, "A command begins with a tag");
    cur_skip(&w->c, tag.n);
    return cur_accept(&w->c, ' ') || wire_fail(w, "A command name must follow the tag");
}

bool wire_parse_head(struct wire_parse *w, enum imap_state state, const struct wire_command **out)
{
    if (!head_tag(w))
        return false;
    struct str name = cur_take_while(&w->c, wire_is_atom_char);
    bool uid = str_ieq(name, STR("UID"));
    if (uid) {
        (void)cur_accept(&w->c, ' ');
        name = cur_take_while(&w->c, wire_is_atom_char);
    }
    const struct wire_command *row = command_find(name);
    if (!row || (uid && !(row->flags & WIRE_UID)))
        return wire_fail(w, "Unknown command");
    if (!(row->states & state))
        return wire_fail(w, wrong_state(row, state));
    w->cmd->verb = row->verb;
    w->cmd->uid = uid;
    w->cmd->frame = row->frame;
    *out = row;
    return true;
}

static bool is_shown(enum wire_when when, const struct imap_situation *s)
{
    bool before_login = s->state == IMAP_NOT_AUTHENTICATED;
    switch (when) {
    case SHOW_NEVER: return false;
    case SHOW_ALWAYS: return true;
    case SHOW_BEFORE_LOGIN: return before_login;
    case SHOW_STARTTLS: return before_login && s->starttls;
    case SHOW_LOGIN: return before_login && s->login;
    case SHOW_NO_LOGIN: return before_login && !s->login;
    case SHOW_COMPRESS: return !before_login && s->compress;
    }
    return false;
}

static void show(struct buf *out, const char *capability, bool shown)
{
    if (!shown)
        return;
    buf_byte(out, ' ');
    buf_put(out, str_c(capability));
}

void imap_print_capability(struct buf *out, const struct imap_situation *s)
{
    buf_put(out, STR("CAPABILITY"));
    for (size_t i = 0; i < ARRAY_LEN(wire_commands); i++)
        show(out, wire_commands[i].capability, is_shown(wire_commands[i].when, s));
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
        show(out, extensions[i].capability, is_shown(extensions[i].when, s));
}
