#include "base/base.h"

#include "roles/frontend/imap_client.h"

enum {
    IMAP_LINE_MAX = 64 * KB,
    IMAP_LITERAL_MAX = 64 * KB,
    IMAP_COMMAND_MAX = 256 * KB,
    IMAP_ARENA_MAX = 4096 * KB, /* a command in its parsed form: a search program is the largest */
};

/* --------------------------------------------------------------------------------- end of a
 * command */

static void imap_forget_command(struct imap_client *i)
{
    imap_fetch_printer_free(i->printer);
    i->printer = NULL;
    i->numbers = (struct imap_numbers){0};
    i->selected_told = i->idle_over = i->idle_bad = i->append_asking = false;
    map_free(&i->listed);
    body_free(&i->body);
    i->raw = (struct str){0};
    arena_free(&i->arena);
    free((void *)(uintptr_t)i->idle_tag.p);
    i->idle_tag = (struct str){0};
    i->cmd = (struct imap_command){0};
    i->c.step = imap_step_command;
}

void imap_finish(struct imap_client *i, struct str word, struct str text)
{
    struct buf *out = client_out(&i->c);
    buf_put(out, i->cmd.tag.n ? i->cmd.tag : STR("*"));
    buf_byte(out, ' ');
    buf_put(out, word);
    buf_byte(out, ' ');
    buf_put(out, text);
    buf_put(out, STR("\r\n"));
    client_flush(&i->c);
    imap_forget_command(i);
}

void imap_finish_bad(struct imap_client *i, const char *text)
{
    imap_finish(i, STR("BAD"), str_c(text));
    client_bad(&i->c);
}

void imap_finish_refused(struct imap_client *i, const struct imap_parsed *p)
{
    const char *text = p->error ? p->error : "The line is too long";
    struct buf word CLEANUP(buf_free) = {0};
    if (p->no) {
        buf_printf(&word, "NO [%s]", p->no);
        imap_finish(i, buf_str(&word), str_c(text));
    } else {
        imap_finish_bad(i, text);
    }
    if (p->what == IMAP_PARSE_TOO_LONG && p->fatal && !i->c.ending)
        client_goodbye(&i->c, GOODBYE_LOST);
}

/* ------------------------------------------------------------------------------- asking the
 * backend */

static enum client_asks imap_asks(enum imap_verb verb)
{
    switch (verb) {
    case IMAP_LOGIN:
    case IMAP_AUTHENTICATE: return ASKS_STATUS;
    case IMAP_LIST:
    case IMAP_XLIST:
    case IMAP_LSUB: return ASKS_LIST;
    case IMAP_SEARCH: return ASKS_SEARCH;
    case IMAP_FETCH: return ASKS_FETCH;
    default: return ASKS_UPDATES;
    }
}

ProtobufCBinaryData *imap_change(const struct imap_client *i)
{
    ProtobufCMessage *m = i->cmd.request;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "change");
    return field ? (ProtobufCBinaryData *)(void *)((uint8_t *)m + field->offset) : NULL;
}

static void imap_name(struct imap_client *i)
{
    enum { CHANGE = 16 };
    ProtobufCBinaryData *change = imap_change(i);
    uint8_t *name = change ? arena_alloc(&i->arena, CHANGE) : NULL;
    if (!name)
        return;
    random_bytes(name, CHANGE);
    *change = (ProtobufCBinaryData){CHANGE, name};
}

void imap_ask(struct imap_client *i)
{
    struct err e =
        client_ask(&i->c, imap_asks(i->cmd.verb), i->cmd.frame, i->cmd.request, i->raw, i->raw_fd);
    if (e.code == E_OK)
        return;
    log_warn("imap.cannot-ask", LF_ERR(e));
    client_drop_channel(&i->c);
    imap_lost(&i->c);
}

void imap_forward(struct imap_client *i, struct str raw, int fd)
{
    check(i->cmd.request != NULL);
    i->raw = raw;
    i->raw_fd = fd;
    imap_name(i);
    if (i->cmd.print)
        i->printer = imap_fetch_printer_new(i->cmd.print, &i->names);
    i->c.step = client_step_wait;
    imap_ask(i);
}

void imap_lost(struct client *c)
{
    struct imap_client *i = imap_client(c);
    if (i->printer && !imap_fetch_printer_complete(i->printer)) {
        client_end(c); /* the client is inside a literal: it would take any word for its content */
        return;
    }
    imap_end_numbers(&i->numbers, client_out(c));
    client_flush(c);
    if (i->state != IMAP_NOT_AUTHENTICATED)
        client_goodbye(c, GOODBYE_BACKEND);
    else if (i->cmd.request)
        imap_finish(i, STR("NO [UNAVAILABLE]"),
                    STR("The mail store is not available, try again later"));
}

/* -------------------------------------------------------------------------------------- commands
 */

bool imap_may_login(const struct imap_client *i)
{
    return frontend_may_login(i->c.fe, i->c.peer, i->c.tls);
}

void imap_put_capability(struct imap_client *i, struct buf *out)
{
    const struct imap_situation situation = {
        .state = i->state,
        .starttls = !i->c.tls && tls_server_has_certificate(i->c.fe->tls),
        .login = imap_may_login(i),
        .compress = !conn_is_compressed(i->c.conn),
    };
    imap_print_capability(out, &situation);
}

static void imap_noop(struct imap_client *i)
{
    if (i->state == IMAP_NOT_AUTHENTICATED)
        imap_finish(i, STR("OK"), STR("Completed"));
    else
        imap_forward(i, STR(""), -1);
}

static void imap_search(struct imap_client *i)
{
    if (!i->cmd.bad_charset) {
        imap_forward(i, STR(""), -1);
        return;
    }
    struct buf word CLEANUP(buf_free) = {0};
    buf_printf(&word, "NO [BADCHARSET (%.*s)]", STR_FMT(imap_charsets));
    imap_finish(i, buf_str(&word), STR("This charset is not known here"));
}

/* What the frontend has a part in; everything else goes to the backend as it is. */
static void (*const imap_runs[IMAP_VERBS])(struct imap_client *i) = {
    [IMAP_CAPABILITY] = imap_capability,
    [IMAP_NOOP] = imap_noop,
    [IMAP_LOGOUT] = imap_logout,
    [IMAP_STARTTLS] = imap_starttls,
    [IMAP_AUTHENTICATE] = imap_authenticate,
    [IMAP_LOGIN] = imap_login,
    [IMAP_SEARCH] = imap_search,
    [IMAP_IDLE] = imap_idle,
    [IMAP_NAMESPACE] = imap_namespace,
    [IMAP_ID] = imap_id,
    [IMAP_COMPRESS] = imap_compress,
    [IMAP_SETQUOTA] = imap_setquota,
};

static void imap_run(struct imap_client *i)
{
    if (imap_runs[i->cmd.verb])
        imap_runs[i->cmd.verb](i);
    else
        imap_forward(i, STR(""), -1);
}

bool imap_step_command(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct imap_parsed p;
    imap_parse(&i->parser, conn_in(c->conn), i->state, &i->arena, &p);
    if (p.what == IMAP_PARSE_MORE)
        return false;
    client_progress(c);
    i->cmd = p.command;
    switch (p.what) {
    case IMAP_PARSE_LITERAL: conn_write(c->conn, STR("+ OK\r\n")); break;
    case IMAP_PARSE_MESSAGE: imap_append(i, &p); break;
    case IMAP_PARSE_COMMAND: imap_run(i); break;
    case IMAP_PARSE_BAD:
    case IMAP_PARSE_TOO_LONG: imap_finish_refused(i, &p); break;
    case IMAP_PARSE_MORE: break;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------ life
 */

static struct client *imap_make(void)
{
    struct imap_client *i = mem_alloc(sizeof *i);
    i->state = IMAP_NOT_AUTHENTICATED;
    arena_init(&i->arena, IMAP_ARENA_MAX);
    body_init(&i->body, 0, NULL);
    return &i->c;
}

static void imap_greet(struct client *c)
{
    struct imap_client *i = imap_client(c);
    const struct imap_limits limits = {.line = IMAP_LINE_MAX,
                                       .literal = IMAP_LITERAL_MAX,
                                       .command = IMAP_COMMAND_MAX,
                                       .message = frontend_settings(c->fe)->message_size_limit};
    imap_parser_init(&i->parser, &limits);
    struct buf *out = client_out(c);
    buf_put(out, STR("* OK ["));
    imap_put_capability(i, out);
    buf_put(out, STR("] Thurn ready\r\n"));
    client_flush(c);
    c->step = imap_step_command;
}

/* Before login there is one deadline, from the connection's first moment on. */
static uint64_t imap_patience(const struct client *c)
{
    const struct imap_client *i = container_of(c, const struct imap_client, c);
    const Thurn__Settings *s = frontend_settings(c->fe);
    if (imap_is_idle(i)) /* what it is told does not prolong it */
        return client_deadline(i->idle_since, s->imap_idle_timeout);
    if (i->state != IMAP_NOT_AUTHENTICATED)
        return client_deadline(clock_mono_us(), s->imap_idle_timeout);
    return client_deadline(c->since, s->login_timeout);
}

static void imap_release(struct client *c)
{
    struct imap_client *i = imap_client(c);
    imap_fetch_printer_free(i->printer);
    imap_names_free(&i->names);
    map_free(&i->listed);
    free((void *)(uintptr_t)i->record.p);
    free((void *)(uintptr_t)i->idle_tag.p);
    imap_parser_free(&i->parser);
    arena_free(&i->arena);
    body_free(&i->body);
    free(i);
}

static const struct chan_rule imap_rules[] = {
    {RPC_IMAP_DONE, ASKS_STATUS | ASKS_UPDATES | ASKS_LIST | ASKS_SEARCH | ASKS_FETCH},
    {RPC_IMAP_BYE, ASKS_NOTHING | ASKS_UPDATES | ASKS_LIST | ASKS_SEARCH | ASKS_FETCH},
    {RPC_IMAP_UPDATES, ASKS_UPDATES | ASKS_LIST | ASKS_SEARCH | ASKS_FETCH},
    {RPC_IMAP_MAILBOXES, ASKS_LIST},
    {RPC_IMAP_NUMBERS, ASKS_SEARCH},
    {RPC_IMAP_ROWS, ASKS_FETCH},
    {RPC_IMAP_BYTES, ASKS_FETCH},
};

static const struct str imap_goodbyes[GOODBYES] = {
    [GOODBYE_TIMEOUT] = STR_INIT("* BYE Nothing heard for too long\r\n"),
    [GOODBYE_SHUTDOWN] = STR_INIT("* BYE The server is going down, come back later\r\n"),
    [GOODBYE_LOST] = STR_INIT("* BYE What you send cannot be followed any further\r\n"),
    [GOODBYE_BAD] = STR_INIT("* BYE Too many bad commands\r\n"),
    [GOODBYE_BACKEND] = STR_INIT("* BYE [UNAVAILABLE] The mail store is not available\r\n"),
    [GOODBYE_CROWD] = STR_INIT("* BYE [LIMIT] Too many connections, come back later\r\n"),
};

const struct client_ops imap_client_ops = {
    .protocol = "imap",
    .kind = THURN__SESSION_KIND__SESSION_IMAP,
    .rules = imap_rules,
    .n_rules = ARRAY_LEN(imap_rules),
    .goodbyes = imap_goodbyes,
    .make = imap_make,
    .greet = imap_greet,
    .answer = imap_answer,
    .lost = imap_lost,
    .repeat = imap_repeat,
    .give_up = imap_give_up,
    .record = imap_record,
    .woken = imap_woken,
    .patience = imap_patience,
    .release = imap_release,
};
