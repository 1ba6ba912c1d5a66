/*
 * Messages with the structure that another parser, stalwartlabs/mail-parser, finds in them. Where
 * ours differs, the table says why; a difference that is not in it fails the test, and so does a
 * row that no longer applies.
 */
#include "base/base.h"

#include <glob.h>
#include <jansson.h>
#include <setjmp.h>
#include <cmocka.h>

#include "mime/mime.h"

enum { PARTS_MAX = 64 };

/* A difference: `item` "*" covers everything about that part; part -1 is the number of parts. */
static struct row {
    const char *file;
    int part;
    const char *item;
    const char *why;
    bool used;
} explained[] = {
#include "suite_differences.h"
};

struct expected {
    json_t *part;
    int parent;
};

struct comparison {
    const char *file;
    const char *variant;
    struct mime_result result;
    struct str message;
    struct expected parts[PARTS_MAX];
    int n;
    int unexplained;
};

static void differ(struct comparison *c, int part, const char *item, struct str want,
                   struct str have)
{
    for (size_t i = 0; i < ARRAY_LEN(explained); i++) {
        struct row *r = &explained[i];
        if (strcmp(r->file, c->file) == 0 && r->part == part &&
            (strcmp(r->item, item) == 0 || strcmp(r->item, "*") == 0)) {
            r->used = true;
            return;
        }
    }
    c->unexplained++;
    print_error("%s (%s) part %d %s: the suite has \"%.*s\", we have \"%.*s\"\n", c->file,
                c->variant, part, item, STR_FMT(want), STR_FMT(have));
}

static void same_text(struct comparison *c, int part, const char *item, struct str want,
                      struct str have)
{
    if (!str_eq(want, have))
        differ(c, part, item, want, have);
}

static void same_number(struct comparison *c, int part, const char *item, int64_t want,
                        int64_t have)
{
    char a[24], b[24];
    int n = snprintf(a, sizeof a, "%" PRId64, want), m = snprintf(b, sizeof b, "%" PRId64, have);
    if (want != have)
        differ(c, part, item, str_of(a, (size_t)n), str_of(b, (size_t)m));
}

/* ------------------------------------------------------------------------------ the suite's JSON
 */

static struct str json_text(const json_t *j)
{
    return json_is_string(j) ? str_of(json_string_value(j), json_string_length(j)) : STR("");
}

/* The suite's parts in the order of ours: those of an embedded message follow the part that holds
 * it. The suite has them nested, two levels deep at most here. */
static void add_message(struct comparison *c, json_t *message, int parent)
{
    json_t *parts = json_object_get(message, "parts"), *part, *child;
    size_t i, k;
    int base[PARTS_MAX];
    json_array_foreach(parts, i, part)
    {
        assert_true(c->n < PARTS_MAX && i < PARTS_MAX);
        base[i] = c->n;
        int own = parent;
        for (size_t m = 0; m < i; m++) {
            json_t *list =
                json_object_get(json_object_get(json_array_get(parts, m), "body"), "Multipart");
            json_array_foreach(list, k, child)
            {
                if (json_integer_value(child) == (json_int_t)i)
                    own = base[m];
            }
        }
        c->parts[c->n++] = (struct expected){part, own};
        json_t *embedded = json_object_get(json_object_get(part, "body"), "Message");
        if (embedded)
            add_message(c, embedded, base[i]);
    }
}

/* The last field of that name, or NULL. */
static json_t *field(const json_t *part, const char *name)
{
    json_t *h, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(part, "headers"), i, h)
    {
        const char *own = json_string_value(json_object_get(h, "name"));
        if (own && strcmp(own, name) == 0)
            found = json_object_get(h, "value");
    }
    return found;
}

/* ------------------------------------------------------------------------------- the comparisons
 */

static void put_pb(struct buf *b, ProtobufCBinaryData d)
{
    buf_put(b, str_of(d.data, d.len));
}

static void compare_type(struct comparison *c, int i, const Thurn__Part *p)
{
    json_t *type = json_object_get(field(c->parts[i].part, "content_type"), "ContentType"), *a;
    struct buf want CLEANUP(buf_free) = {0}, have CLEANUP(buf_free) = {0};
    size_t k;
    if (!type)
        return;
    buf_printf(&want, "%s/%s", json_string_value(json_object_get(type, "c_type")),
               json_string_value(json_object_get(type, "c_subtype")));
    json_array_foreach(json_object_get(type, "attributes"), k, a)
    {
        buf_printf(&want, ";%s=", json_string_value(json_object_get(a, "name")));
        buf_put(&want, json_text(json_object_get(a, "value")));
    }
    put_pb(&have, p->type);
    buf_byte(&have, '/');
    put_pb(&have, p->subtype);
    for (k = 0; k < p->n_params; k++) {
        buf_byte(&have, ';');
        put_pb(&have, p->params[k]->name);
        buf_byte(&have, '=');
        put_pb(&have, p->params[k]->value);
    }
    same_text(c, i, "type", buf_str(&want), buf_str(&have));
}

static struct str part_text(const struct comparison *c, const Thurn__Part *p)
{
    if (p->text_is_body)
        return str_sub(c->message, p->body_offset, p->end_offset);
    return str_sub(c->result.text, p->text_offset, (size_t)p->text_offset + p->text_length);
}

static void compare_body(struct comparison *c, int i, const Thurn__Part *p)
{
    json_t *body = json_object_get(c->parts[i].part, "body");
    json_t *text = json_object_get(body, "Text") ?: json_object_get(body, "Html");
    bool is_text = str_eq(str_of(p->type.data, p->type.len), STR("text"));
    if (text && is_text)
        same_text(c, i, "text", json_text(text), part_text(c, p));
    same_number(c, i, "multipart", json_object_get(body, "Multipart") != NULL, p->multipart);
    same_number(c, i, "message", json_object_get(body, "Message") != NULL, p->message);
}

static void compare_addresses(struct comparison *c, int i, const char *name, size_t n,
                              Thurn__Address **list)
{
    json_t *value = json_object_get(field(c->parts[i].part, name), "Address"), *a;
    struct buf want CLEANUP(buf_free) = {0}, have CLEANUP(buf_free) = {0};
    struct arena arena;
    arena_init(&arena, 1 << 20);
    size_t k;
    json_array_foreach(json_object_get(value, "List"), k, a)
    {
        buf_put(&want, json_text(json_object_get(a, "name")));
        buf_byte(&want, '<');
        buf_put(&want, json_text(json_object_get(a, "address")));
        buf_byte(&want, '>');
    }
    for (k = 0; k < n; k++) {
        buf_put(&have, mime_decode_words(str_of(list[k]->name.data, list[k]->name.len), &arena));
        buf_byte(&have, '<');
        put_pb(&have, list[k]->mailbox);
        if (list[k]->host.len)
            buf_byte(&have, '@');
        put_pb(&have, list[k]->host);
        buf_byte(&have, '>');
    }
    same_text(c, i, name, buf_str(&want), buf_str(&have));
    arena_free(&arena);
}

static int date_item(const json_t *date, const char *name)
{
    json_t *v = json_object_get(date, name);
    return json_is_true(v) ? 1 : (int)json_integer_value(v);
}

static void compare_date(struct comparison *c, int i, const Thurn__Envelope *e)
{
    json_t *d = json_object_get(field(c->parts[i].part, "date"), "DateTime");
    if (!d)
        return;
    struct tm tm = {.tm_year = date_item(d, "year") - 1900,
                    .tm_mon = date_item(d, "month") - 1,
                    .tm_mday = date_item(d, "day"),
                    .tm_hour = date_item(d, "hour"),
                    .tm_min = date_item(d, "minute"),
                    .tm_sec = date_item(d, "second")};
    int zone = date_item(d, "tz_hour") * 60 + date_item(d, "tz_minute");
    zone = date_item(d, "tz_before_gmt") ? -zone : zone;
    same_number(c, i, "date", timegm(&tm) - zone * 60, e->date_time);
    same_number(c, i, "zone", zone, e->date_zone);
}

static void compare_envelope(struct comparison *c, int i, const Thurn__Envelope *e)
{
    json_t *subject = json_object_get(field(c->parts[i].part, "subject"), "Text");
    ProtobufCBinaryData own = e->subject_text.len ? e->subject_text : e->subject;
    same_text(c, i, "subject", json_text(subject), str_of(own.data, own.len));
    compare_addresses(c, i, "from", e->n_from, e->from);
    compare_addresses(c, i, "to", e->n_to, e->to);
    compare_date(c, i, e);
}

static void compare_part(struct comparison *c, int i)
{
    const Thurn__Email *email = c->result.email;
    const Thurn__Part *p = email->parts[i];
    json_t *j = c->parts[i].part;
    same_number(c, i, "header_offset", json_integer_value(json_object_get(j, "offset_header")),
                p->header_offset);
    same_number(c, i, "body_offset", json_integer_value(json_object_get(j, "offset_body")),
                p->body_offset);
    same_number(c, i, "end_offset", json_integer_value(json_object_get(j, "offset_end")),
                p->end_offset);
    same_number(c, i, "parent", c->parts[i].parent, p->parent);
    compare_type(c, i, p);
    compare_body(c, i, p);
    if (i == 0)
        compare_envelope(c, i, email->envelope);
    else if (email->parts[p->parent]->message)
        compare_envelope(c, i, email->parts[p->parent]->envelope);
}

/* ------------------------------------------------------------------------------------ the files */

/* The file's bytes without CR; with `crlf`, with one before each LF: so the suite was made. */
static void read_message(const char *path, bool crlf, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (int c = getc(f); c != EOF; c = getc(f)) {
        if (c == '\n' && crlf)
            buf_byte(out, '\r');
        if (c != '\r')
            buf_byte(out, (uint8_t)c);
    }
    (void)fclose(f);
}

/* Returns the number of differences that are not explained. */
static int compare_file(const char *path, const char *name, bool crlf)
{
    char json_path[PATH_MAX];
    int n = (int)strlen(path) - 4; /* ".eml" */
    assert_true(snprintf(json_path, sizeof json_path, "%.*s%s", n, path,
                         crlf ? ".crlf.json" : ".json") < (int)sizeof json_path);
    json_t *json = json_load_file(json_path, 0, NULL);
    assert_non_null(json);
    struct buf message CLEANUP(buf_free) = {0};
    read_message(path, crlf, &message);

    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct comparison c = {
        .file = name, .variant = crlf ? "CRLF" : "LF", .message = buf_str(&message)};
    assert_int_equal(mime_parse(c.message, &mime_limits_default, &arena, &c.result).code, E_OK);
    add_message(&c, json, 0);
    same_number(&c, -1, "parts", c.n, (int64_t)c.result.email->n_parts);
    for (int i = 0; i < c.n && i < (int)c.result.email->n_parts; i++)
        compare_part(&c, i);
    arena_free(&arena);
    json_decref(json);
    return c.unexplained;
}

static void structures_are_those_of_the_suite_or_explained(void **state)
{
    const char *root = getenv("THURN_SUITES");
    char pattern[PATH_MAX];
    (void)snprintf(pattern, sizeof pattern, "%s/mime/*/*.eml", root ? root : SUITES);
    glob_t files;
    if (glob(pattern, 0, NULL, &files) != 0) {
        print_message("no suite at %s: skipped\n", pattern);
        skip();
    }
    int unexplained = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i], *name = path + strlen(path);
        for (int slashes = 0; name > path && slashes < 2; name--)
            slashes += name[-1] == '/';
        name += name > path ? 1 : 0;
        unexplained += compare_file(path, name, false) + compare_file(path, name, true);
    }
    globfree(&files);
    for (size_t i = 0; i < ARRAY_LEN(explained); i++) {
        if (!explained[i].used) {
            print_error("%s part %d %s: there is no such difference\n", explained[i].file,
                        explained[i].part, explained[i].item);
            unexplained++;
        }
    }
    assert_int_equal(unexplained, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structures_are_those_of_the_suite_or_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
