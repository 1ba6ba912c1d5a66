/* The command line's lists, page by page. */
#include "base/base.h"

#include "roles/backend/admin_request.h"

enum {
    PAGE_ROWS = 128,
    PAGE_BUDGET = 16 * 1024 * KB,
    PAGE_BYTES = 96 * KB, /* a row of an alias may be as large again */
};

/* A page being made. */
struct page {
    struct admin *a;
    struct arena *arena;
    Thurn__AdminRow *rows[PAGE_ROWS];
    size_t n, bytes;
    bool more;
};

static void page_send(struct page *p)
{
    Thurn__AdminAnswer m = THURN__ADMIN_ANSWER__INIT;
    m.n_rows = p->n;
    m.rows = p->rows;
    m.more = true;
    admin_send(p->a, &m);
    p->a->next = ADMIN_MORE;
}

static Thurn__AdminRow *row_new(struct page *p, ProtobufCBinaryData name, int64_t created)
{
    Thurn__AdminRow *row = arena_new(p->arena, Thurn__AdminRow);
    if (!row)
        return NULL;
    *row = (Thurn__AdminRow)THURN__ADMIN_ROW__INIT;
    row->name = name;
    row->created = created;
    p->rows[p->n++] = row;
    return row;
}

static struct err no_room(void)
{
    return err_make(E_LIMIT, "no memory for the list");
}

static void row_quota(Thurn__AdminRow *row, const Thurn__Quota *q)
{
    row->quota = q ? q->bytes : 0;
    row->quota_messages = q ? q->messages : 0;
}

/* -- domains -- */

static struct err page_domains(struct page *p)
{
    struct admin *a = p->a;
    Thurn__Domain **domains;
    size_t all;
    TRY(directory_domains(a->b->directory, p->arena, &domains, &all));
    for (; p->n < PAGE_ROWS && a->listed < all; a->listed++) {
        const Thurn__Domain *d = domains[a->listed];
        Thurn__AdminRow *row = row_new(p, d->name, d->created);
        if (!row)
            return no_room();
        row->language = d->language;
        row->alias_of = d->alias_of;
        row->catch_all = d->catch_all;
        row_quota(row, d->quota);
    }
    p->more = a->listed < all;
    return OK;
}

/* -- accounts -- */

/* What an account holds; one that cannot be read is listed without. */
static void row_count(struct backend *b, Thurn__AdminRow *row)
{
    struct account *account;
    struct snap *snap;
    struct err e = account_open(b->store, (account_id){row->account}, &account);
    if (!e.code) {
        e = snap_open(account, &snap);
        if (!e.code) {
            row->messages = snap_head(snap)->messages;
            row->bytes = snap_head(snap)->bytes;
            snap_close(snap);
        }
        account_close(account);
    }
    if (e.code)
        log_error("admin.account-list", LF_U64("account", row->account), LF_ERR(e));
}

/* "ARGON2ID" of "{ARGON2ID}$...". */
static struct str scheme_of(struct str password)
{
    return str_sub(password, 1, str_find_byte(password, '}', 0));
}

static struct err row_account(struct page *p, const Thurn__AccountRecord *record)
{
    struct backend *b = p->a->b;
    struct directory_quota limit = {0};
    Thurn__AdminRow *row = row_new(p, record->address, record->created);
    if (!row)
        return no_room();
    row->account = record->account;
    row->sessions = connections_of(logins_connections(b->logins), (account_id){record->account});
    row->locked = record->locked;
    row->lock_reason = record->lock_reason;
    row->refuse_mail = record->refuse_mail;
    row->password_scheme = pb_bytes(scheme_of(pb_str(record->password)));
    row_quota(row, record->quota);
    struct err e = directory_quota(b->directory, (account_id){record->account}, &limit);
    if (e.code && e.code != E_NOTFOUND) /* it has been removed meanwhile */
        return e;
    row->limit = limit.bytes;
    row->limit_messages = limit.messages;
    row_count(b, row);
    return OK;
}

/* The next page begins behind this one. */
static void page_ends_at(struct page *p, ProtobufCBinaryData address)
{
    buf_clear(&p->a->after);
    buf_put(&p->a->after, pb_str(address));
}

static struct err page_accounts(struct page *p)
{
    struct admin *a = p->a;
    const Thurn__AdminAccountList *m = (const Thurn__AdminAccountList *)a->f->message;
    Thurn__AccountRecord **records;
    size_t n;
    TRY(directory_accounts(a->b->directory, pb_str(m->domain), buf_str(&a->after), PAGE_ROWS,
                           p->arena, &records, &n));
    for (size_t i = 0; i < n; i++)
        TRY(row_account(p, records[i]));
    if (n)
        page_ends_at(p, records[n - 1]->address);
    p->more = n == PAGE_ROWS;
    return OK;
}

static struct err page_account(struct page *p)
{
    const Thurn__AdminAccountShow *m = (const Thurn__AdminAccountShow *)p->a->f->message;
    Thurn__AccountRecord *record;
    TRY(directory_account_show(p->a->b->directory, pb_str(m->address), p->arena, &record));
    return row_account(p, record);
}

/* -- aliases -- */

static struct err row_alias(struct page *p, const Thurn__Alias *alias)
{
    Thurn__AdminRow *row = row_new(p, alias->address, alias->created);
    if (!row)
        return no_room();
    row->n_targets = alias->n_targets;
    row->targets = alias->targets;
    for (size_t i = 0; i < alias->n_targets; i++)
        p->bytes += alias->targets[i].len + 4;
    return OK;
}

static struct err page_aliases(struct page *p)
{
    struct admin *a = p->a;
    const Thurn__AdminAliasList *m = (const Thurn__AdminAliasList *)a->f->message;
    Thurn__Alias **aliases;
    size_t n, i = 0;
    TRY(directory_aliases(a->b->directory, pb_str(m->domain), buf_str(&a->after), PAGE_ROWS,
                          p->arena, &aliases, &n));
    for (; i < n && p->bytes < PAGE_BYTES; i++)
        TRY(row_alias(p, aliases[i]));
    if (i)
        page_ends_at(p, aliases[i - 1]->address);
    p->more = i < n || n == PAGE_ROWS;
    return OK;
}

/* -- all of them -- */

static const struct {
    uint16_t frame;
    struct err (*page)(struct page *p);
} lists[] = {
    {RPC_ADMIN_DOMAIN_LIST, page_domains},
    {RPC_ADMIN_ACCOUNT_LIST, page_accounts},
    {RPC_ADMIN_ACCOUNT_SHOW, page_account},
    {RPC_ADMIN_ALIAS_LIST, page_aliases},
};

bool admin_is_list(const struct frame *f)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i].frame == f->type->number)
            return true;
    return false;
}

void admin_list(struct admin *a)
{
    struct arena arena CLEANUP(arena_free);
    arena_init(&arena, PAGE_BUDGET);
    struct page p = {.a = a, .arena = &arena};
    struct err e = err_make(E_UNSUPPORTED, "no such list");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i].frame == a->f->type->number)
            e = lists[i].page(&p);
    if (!e.code && p.more)
        page_send(&p);
    else
        admin_finish(a, e, p.rows, e.code ? 0 : p.n);
}
