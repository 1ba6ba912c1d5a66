/*
 * Collecting a command from a stream: lines, and the literals that they announce (RFC 3501 section
 * 4.3, RFC 7888). What is refused is dropped as far as the client will send it, so that the session
 * can go on.
 */
#include "imap/wire/wire.h"

static const char LINE_TOO_LONG[] = "The command line is too long";
static const char LITERAL_TOO_LONG[] = "The literal is too large";
static const char MESSAGE_TOO_LONG[] = "The message is too large";
static const char MESSAGES_TOO_LONG[] = "The messages of the command are too large together";
static const char MESSAGES_TOO_MANY[] = "At most 1000 messages in one APPEND";
static_assert(RPC_APPEND_MESSAGES == 1000, "as the text says");
static const char COMMAND_TOO_LONG[] = "The command is too large";

/* Codes of a NO. */
static const char TOOBIG[] = "TOOBIG", LIMIT[] = "LIMIT";

void imap_parser_init(struct imap_parser *p, const struct imap_limits *limits)
{
    *p = (struct imap_parser){.limits = *limits};
}

static void parser_reset(struct imap_parser *p)
{
    buf_free(&p->line);
    *p = (struct imap_parser){.limits = p->limits};
}

void imap_parser_free(struct imap_parser *p)
{
    parser_reset(p);
}

/* ------------------------------------------------------------------------------------- literals */

struct announced {
    bool is, non_sync;
    uint64_t n;   /* UINT64_MAX if it is beyond all numbers */
    size_t begin; /* of the "{" */
};

static struct str without_line_end(struct str line)
{
    if (str_ends(line, STR("\n")))
        line = str_sub(line, 0, line.n - 1);
    return str_ends(line, STR("\r")) ? str_sub(line, 0, line.n - 1) : line;
}

/* Whether the line (with its end) announces a literal: "{n}" or "{n+}" before the end. */
static struct announced announced_by(struct str line)
{
    struct announced none = {0};
    struct str s = without_line_end(line);
    if (s.n == 0 || !str_ends(s, STR("}")))
        return none;
    size_t end = s.n - 1;
    bool non_sync = end && s.p[end - 1] == '+';
    end -= non_sync;
    size_t begin = end;
    while (begin && byte_is_digit(s.p[begin - 1]))
        begin--;
    if (begin == end || begin == 0 || s.p[begin - 1] != '{')
        return none;
    struct announced found = {.is = true, .non_sync = non_sync, .begin = begin - 1};
    if (str_to_u64(str_sub(s, begin, end), &found.n).code != E_OK)
        found.n = UINT64_MAX;
    return found;
}

/* ------------------------------------------------------------------------------------- dropping */

/* How much of "{n+}" stands at the end of what has been dropped. */
enum drop_seen { DROP_TEXT, DROP_DIGITS, DROP_PLUS, DROP_SYNC, DROP_NON_SYNC };

static void drop_look(struct imap_parser *p, uint8_t c)
{
    if (c == '{') {
        p->drop_seen = DROP_DIGITS;
        p->drop_number = 0;
    } else if (p->drop_seen == DROP_DIGITS && byte_is_digit(c)) {
        uint64_t n = p->drop_number;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, c - '0', &n))
            n = UINT64_MAX / 10; /* stays beyond all limits */
        p->drop_number = n;
    } else if (p->drop_seen == DROP_DIGITS && c == '+') {
        p->drop_seen = DROP_PLUS;
    } else if (p->drop_seen == DROP_DIGITS && c == '}') {
        p->drop_seen = DROP_SYNC;
    } else if (p->drop_seen == DROP_PLUS && c == '}') {
        p->drop_seen = DROP_NON_SYNC;
    } else if (c != '\r' || p->drop_seen < DROP_SYNC) {
        p->drop_seen = DROP_TEXT;
    }
}

static void keep_tag_only(struct buf *line)
{
    size_t space = str_find_byte(buf_str(line), ' ', 0);
    buf_cut(line, space < line->n && space <= WIRE_TAG_MAX ? space : 0);
}

/* From now on the command's bytes are dropped; the next byte of input belongs to the literal, if
 * there is one, else to the current line, of which `seen` has been taken: all of it, so that how
 * the line was cut makes no difference. */
static void drop_begin(struct imap_parser *p, enum imap_parse as, const char *error,
                       uint64_t literal, struct str seen)
{
    p->dropping = true;
    p->drop_as = as;
    p->drop_error = error;
    p->drop_literal = literal;
    uint64_t most = 4 * MAX(p->limits.message, (uint64_t)p->limits.command);
    p->drop_left = most - MIN(most, (uint64_t)seen.n);
    p->drop_seen = DROP_TEXT;
    for (size_t i = 0; i < seen.n; i++)
        drop_look(p, seen.p[i]);
    keep_tag_only(&p->line);
    p->literals = 0;
    p->segment = 0;
    p->literal_left = 0;
}

enum dropped { DROPPED_MORE, DROPPED_ALL, DROPPED_TOO_MUCH };

/* Whether a line end that has just been dropped ends the command. */
static bool drop_line_end(struct imap_parser *p)
{
    bool goes_on = p->drop_seen == DROP_NON_SYNC;
    p->drop_literal = goes_on ? p->drop_number : 0;
    p->drop_seen = DROP_TEXT;
    return !goes_on;
}

static enum dropped drop(struct imap_parser *p, struct buf *in)
{
    for (;;) {
        if (p->drop_literal > p->drop_left)
            return DROPPED_TOO_MUCH;
        size_t n = (size_t)MIN(p->drop_literal, (uint64_t)in->n);
        buf_consume(in, n);
        p->drop_literal -= n;
        p->drop_left -= n;
        struct str s = buf_str(in);
        if (s.n == 0)
            return DROPPED_MORE;
        size_t end = str_find_byte(s, '\n', 0);
        size_t used = MIN(end + 1, s.n);
        if (used > p->drop_left)
            return DROPPED_TOO_MUCH;
        for (size_t i = 0; i < MIN(end, s.n); i++)
            drop_look(p, s.p[i]);
        bool line_ended = end < s.n;
        buf_consume(in, used);
        p->drop_left -= used;
        if (line_ended && drop_line_end(p))
            return DROPPED_ALL;
    }
}

static void fatal(struct imap_parsed *out)
{
    out->what = IMAP_PARSE_TOO_LONG;
    out->fatal = true;
    if (!out->error)
        out->error = LINE_TOO_LONG;
}

/* The tag of a line, for the answer, in the arena. */
static struct str tag_for_answer(struct str line, struct arena *a)
{
    struct str tag = str_dup(a, wire_tag_of(line));
    return tag.n ? tag : STR("*");
}

/* Drops on; `out` says MORE or what became of the command. `a` may be NULL: no tag. */
static void drop_on(struct imap_parser *p, struct buf *in, struct arena *a, struct imap_parsed *out)
{
    enum dropped d = drop(p, in);
    if (d == DROPPED_MORE)
        return;
    out->what = p->drop_as;
    out->error = p->drop_error;
    out->no = p->drop_no;
    if (a)
        out->command.tag = tag_for_answer(buf_str(&p->line), a);
    if (d == DROPPED_TOO_MUCH)
        fatal(out);
    parser_reset(p);
}

/* ------------------------------------------------------------------------------------- commands */

static void answer_bad(struct imap_parsed *out, const char *error, struct arena *a)
{
    struct str tag = tag_for_answer(out->command.tag, a);
    *out = (struct imap_parsed){.what = IMAP_PARSE_BAD, .error = error, .command.tag = tag};
}

static bool fits_frame(const struct imap_command *cmd)
{
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == cmd->frame)
            return protobuf_c_message_get_packed_size(cmd->request) <= rpc_table.types[i].max_typed;
    return false;
}

/* Parses a command whose bytes are in the arena; fills what, command and error of `out`. */
static void parse_whole(struct str line, enum imap_state state, struct arena *a,
                        const struct announced *message, struct imap_parsed *out)
{
    struct wire_parse w = {.c = cur_of(line),
                           .a = a,
                           .cmd = &out->command,
                           .message_follows = message != NULL,
                           .message_size = message ? message->n : 0};
    const struct wire_command *row;
    if (wire_parse_head(&w, state, &row)) {
        row->parse(&w);
        if (!wire_bad(&w) && !cur_end(&w.c))
            (void)wire_fail(&w, "There is more behind the command than belongs to it");
        if (!wire_bad(&w) && out->command.request && !fits_frame(&out->command))
            (void)wire_fail(&w, COMMAND_TOO_LONG);
    }
    if (wire_bad(&w))
        answer_bad(out, w.error, a);
    else
        out->what = message ? IMAP_PARSE_MESSAGE : IMAP_PARSE_COMMAND;
}

static void command_ended(struct imap_parser *p, struct str line, enum imap_state state,
                          struct arena *a, struct imap_parsed *out)
{
    line = without_line_end(line);
    struct str kept = str_dup(a, line);
    if (line.n && !kept.n) {
        out->what = IMAP_PARSE_TOO_LONG;
        out->command.tag = tag_for_answer(line, a);
        out->error = LINE_TOO_LONG;
    } else {
        parse_whole(kept, state, a, NULL, out);
    }
}

/* Refuses the command at an announced literal, with a NO if there is a code for it. True: `out` has
 * the result; false: it is being dropped, since the client sends on without waiting. `a` may be
 * NULL: no tag. */
static bool refuse_at_literal(struct imap_parser *p, const struct announced *lit,
                              enum imap_parse as, const char *error, const char *no,
                              struct arena *a, struct imap_parsed *out)
{
    *out = (struct imap_parsed){.what = IMAP_PARSE_MORE};
    if (lit->non_sync) {
        drop_begin(p, as, error, lit->n, (struct str){NULL, 0});
        p->drop_no = no;
        return false;
    }
    out->what = as;
    out->error = error;
    out->no = no;
    if (a)
        out->command.tag = tag_for_answer(buf_str(&p->line), a);
    parser_reset(p);
    return true;
}

/* What stands before a message's literal, which may be a literal8 (RFC 3516 section 7). */
static struct str before_message(struct str line, size_t literal_begin)
{
    struct str s = str_sub(line, 0, literal_begin);
    return str_ends(s, STR("~")) ? str_sub(s, 0, s.n - 1) : s;
}

/* APPEND up to its message: all before it is parsed now. */
static bool message_announced(struct imap_parser *p, const struct announced *lit,
                              enum imap_state state, struct arena *a, struct imap_parsed *out)
{
    if (lit->n > p->limits.message)
        return refuse_at_literal(p, lit, IMAP_PARSE_TOO_LONG, MESSAGE_TOO_LONG, TOOBIG, a, out);
    struct str kept = str_dup(a, before_message(buf_str(&p->line), p->segment + lit->begin));
    if (kept.n)
        parse_whole(kept, state, a, lit, out);
    else
        answer_bad(out, LINE_TOO_LONG, a);
    if (out->what == IMAP_PARSE_BAD)
        return refuse_at_literal(p, lit, IMAP_PARSE_BAD, out->error, NULL, a, out);
    out->literal = lit->n;
    out->non_sync = lit->non_sync;
    parser_reset(p);
    return true;
}

/* A line has come to its end with the announcement of a literal. True: `out` has a result. */
static bool literal_announced(struct imap_parser *p, const struct announced *lit,
                              enum imap_state state, struct arena *a, struct imap_parsed *out)
{
    struct imap_command cmd = {0};
    struct wire_parse w = {.c = cur_of(buf_str(&p->line)), .a = a, .cmd = &cmd};
    const struct wire_command *row;
    if (!wire_parse_head(&w, state, &row))
        return refuse_at_literal(p, lit, IMAP_PARSE_BAD, w.error, NULL, a, out);
    /* The first argument, the mailbox, may be a literal too. */
    bool is_argument = row->verb != IMAP_APPEND || p->segment + lit->begin <= w.c.at + 1;
    if (!is_argument)
        return message_announced(p, lit, state, a, out);
    if (lit->n > p->limits.literal ||
        lit->n > p->limits.command - MIN(p->limits.command, p->line.n))
        return refuse_at_literal(p, lit, IMAP_PARSE_TOO_LONG, LITERAL_TOO_LONG, NULL, a, out);
    p->literal_left = lit->n;
    p->literals += lit->n;
    p->segment = p->line.n + lit->n;
    if (lit->non_sync)
        return false;
    out->what = IMAP_PARSE_LITERAL;
    out->literal = lit->n;
    return true;
}

/* Moves bytes of the current literal. */
static void take_literal(struct imap_parser *p, struct buf *in)
{
    size_t n = (size_t)MIN(p->literal_left, (uint64_t)in->n);
    buf_put(&p->line, str_sub(buf_str(in), 0, n));
    buf_consume(in, n);
    p->literal_left -= n;
}

/* Takes a piece of the current line, up to its end or what there is. True: `out` has a result. */
static bool take_line(struct imap_parser *p, struct buf *in, enum imap_state state, struct arena *a,
                      struct imap_parsed *out)
{
    struct str s = buf_str(in);
    size_t end = str_find_byte(s, '\n', 0);
    bool ended = end < s.n;
    struct str piece = str_sub(s, 0, end + ended);
    if (p->line.n - p->literals + piece.n > p->limits.line + STR("\r\n").n) {
        size_t n = p->line.n;
        buf_put(&p->line, str_sub(piece, 0, WIRE_TAG_MAX + 1)); /* the tag may end there */
        drop_begin(p, IMAP_PARSE_TOO_LONG, LINE_TOO_LONG, 0,
                   str_sub(buf_str(&p->line), p->segment, n));
        return false;
    }
    bool whole = ended && p->line.n == 0 && !announced_by(piece).is;
    if (whole) { /* the usual case: nothing is kept */
        command_ended(p, piece, state, a, out);
        buf_consume(in, piece.n);
        return true;
    }
    buf_put(&p->line, piece);
    if (p->line.bad) {
        drop_begin(p, IMAP_PARSE_TOO_LONG, LINE_TOO_LONG, 0,
                   str_skip(buf_str(&p->line), p->segment));
        return false;
    }
    buf_consume(in, piece.n);
    if (!ended)
        return false;
    struct announced lit = announced_by(str_skip(buf_str(&p->line), p->segment));
    if (lit.is)
        return literal_announced(p, &lit, state, a, out);
    command_ended(p, buf_str(&p->line), state, a, out);
    parser_reset(p);
    return true;
}

void imap_parse(struct imap_parser *p, struct buf *in, enum imap_state state, struct arena *a,
                struct imap_parsed *out)
{
    *out = (struct imap_parsed){.what = IMAP_PARSE_MORE};
    for (;;) {
        if (p->dropping) {
            drop_on(p, in, a, out);
            return;
        }
        if (p->literal_left)
            take_literal(p, in);
        if (in->n == 0 || take_line(p, in, state, a, out))
            return;
    }
}

/* ----------------------------------------------------------------------- behind a message (APPEND)
 */

/* The first thing that is wrong with another message; NULL: nothing. */
static const char *message_too_much(const struct imap_parser *p, const Thurn__ImapAppend *append,
                                    uint64_t n, const char **no)
{
    uint64_t all = 0;
    for (size_t i = 0; i < append->n_messages; i++)
        all += append->messages[i]->size; /* each is within the limit */
    *no = append->n_messages == RPC_APPEND_MESSAGES ? LIMIT : TOOBIG;
    if (append->n_messages == RPC_APPEND_MESSAGES)
        return MESSAGES_TOO_MANY;
    if (n > p->limits.message)
        return MESSAGE_TOO_LONG;
    return n > rpc_append_limit(p->limits.message) - all ? MESSAGES_TOO_LONG : NULL;
}

/* Another message. True: `out` has a result. */
static bool tail_message(struct imap_parser *p, const struct announced *lit, struct arena *a,
                         struct imap_command *cmd, struct imap_parsed *out)
{
    Thurn__ImapAppend *append = (Thurn__ImapAppend *)cmd->request;
    const char *no;
    const char *error = message_too_much(p, append, lit->n, &no);
    if (error)
        return refuse_at_literal(p, lit, IMAP_PARSE_TOO_LONG, error, no, NULL, out);
    struct str before = before_message(buf_str(&p->line), lit->begin);
    struct wire_parse w = {.c = cur_of(str_dup(a, before)),
                           .a = a,
                           .cmd = cmd,
                           .message_follows = true,
                           .message_size = lit->n};
    wire_append_message(&w, append);
    if (!wire_bad(&w) && !cur_end(&w.c))
        (void)wire_fail(&w, "Before a message only flags and a date may stand");
    if (wire_bad(&w))
        return refuse_at_literal(p, lit, IMAP_PARSE_BAD, w.error, NULL, NULL, out);
    out->what = IMAP_PARSE_MESSAGE;
    out->literal = lit->n;
    out->non_sync = lit->non_sync;
    parser_reset(p);
    return true;
}

/* The line behind a message is whole. True: `out` has a result. */
static bool tail_line(struct imap_parser *p, struct arena *a, struct imap_command *cmd,
                      struct imap_parsed *out)
{
    struct announced lit = announced_by(buf_str(&p->line));
    if (lit.is)
        return tail_message(p, &lit, a, cmd, out);
    bool ended = without_line_end(buf_str(&p->line)).n == 0;
    bool fits = fits_frame(cmd);
    out->what = ended && fits ? IMAP_PARSE_COMMAND : IMAP_PARSE_BAD;
    if (out->what == IMAP_PARSE_BAD)
        out->error =
            ended ? COMMAND_TOO_LONG : "Behind a message the command ends or another one follows";
    parser_reset(p);
    return true;
}

void imap_parse_tail(struct imap_parser *p, struct buf *in, struct arena *a,
                     struct imap_command *cmd, struct imap_parsed *out)
{
    *out = (struct imap_parsed){.what = IMAP_PARSE_MORE};
    if (!p->dropping) {
        struct str s = buf_str(in);
        size_t end = str_find_byte(s, '\n', 0);
        struct str piece = str_sub(s, 0, MIN(end + 1, s.n));
        size_t before = p->line.n;
        if (before + piece.n <= p->limits.line + STR("\r\n").n)
            buf_put(&p->line, piece);
        if (p->line.n != before + piece.n) {
            drop_begin(p, IMAP_PARSE_TOO_LONG, LINE_TOO_LONG, 0, buf_str(&p->line));
        } else {
            buf_consume(in, piece.n);
            if (end == s.n || tail_line(p, a, cmd, out))
                return;
        }
    }
    drop_on(p, in, NULL, out);
}

/* ------------------------------------------------------------------------- lines of other kinds */

void imap_parse_line(struct imap_parser *p, struct buf *in, struct arena *a,
                     struct imap_parsed *out)
{
    *out = (struct imap_parsed){.what = IMAP_PARSE_MORE};
    struct str s = buf_str(in);
    size_t end = str_find_byte(s, '\n', 0);
    size_t used = MIN(end + 1, s.n);
    if (!p->dropping && p->line.n + used > p->limits.line + STR("\r\n").n)
        drop_begin(p, IMAP_PARSE_TOO_LONG, LINE_TOO_LONG, 0, buf_str(&p->line));
    if (p->dropping) {
        drop_on(p, in, NULL, out);
        return;
    }
    buf_put(&p->line, str_sub(s, 0, used));
    buf_consume(in, used);
    if (end == s.n)
        return;
    struct str line = without_line_end(buf_str(&p->line));
    out->line = str_dup(a, line);
    out->what = out->line.n == line.n ? IMAP_PARSE_COMMAND : IMAP_PARSE_TOO_LONG;
    out->error = out->what == IMAP_PARSE_TOO_LONG ? LINE_TOO_LONG : NULL;
    parser_reset(p);
}

void imap_parse_done(struct imap_parser *p, struct buf *in, struct imap_parsed *out)
{
    enum { DONE_MAX = 64 };
    *out = (struct imap_parsed){.what = IMAP_PARSE_MORE};
    struct str s = buf_str(in);
    size_t end = str_find_byte(s, '\n', 0);
    if (!p->dropping && end < s.n && str_ieq(str_trim(str_sub(s, 0, end)), STR("DONE"))) {
        buf_consume(in, end + 1);
        out->what = IMAP_PARSE_COMMAND;
        return;
    }
    if (!p->dropping && (end < s.n || s.n > DONE_MAX))
        drop_begin(p, IMAP_PARSE_BAD, "IDLE ends with DONE", 0, (struct str){NULL, 0});
    if (p->dropping)
        drop_on(p, in, NULL, out);
}
