#include "roles/supervisor/config_value.h"

#include "roles/supervisor/config.h"

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit size_units[] = {{"", 1},         {"B", 1},        {"KB", 1 << 10},
                                         {"K", 1 << 10},  {"MB", 1 << 20}, {"M", 1 << 20},
                                         {"GB", 1 << 30}, {"G", 1 << 30},  {NULL, 0}};
static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                                         {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                                         {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static bool number_with_unit(struct str text, const struct unit *units, uint64_t *out)
{
    struct cur c = cur_of(str_trim(text));
    uint64_t v = cur_decimal(&c, UINT64_MAX);
    struct str unit = str_trim(cur_rest(&c));
    if (c.bad)
        return false;
    for (const struct unit *u = units; u->name; u++)
        if (str_ieq(unit, str_c(u->name)))
            return !__builtin_mul_overflow(v, u->factor, out);
    return false;
}

static bool one_of(struct str text, const char *const *words, uint64_t *out)
{
    for (uint64_t i = 0; words[i]; i++) {
        if (str_eq(text, str_c(words[i]))) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool config_number(enum config_kind kind, struct str text, uint64_t *v, const char **wanted)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const relax[] = {"strict", "relaxed", NULL};
    static const char *const yes[] = {"no", "yes", NULL};
    static const char *const bare[] = {"refuse", "normalize", "accept", NULL};
    switch (kind) {
    case CONFIG_TEXT: *v = text.n, *wanted = "a text"; return true;
    case CONFIG_COUNT: *wanted = "a number"; return number_with_unit(text, count_units, v);
    case CONFIG_SIZE:
    case CONFIG_KIB:
        *wanted = "a size such as \"64 KB\" or \"50 MB\"";
        return number_with_unit(text, size_units, v);
    case CONFIG_TIME:
        *wanted = "a time such as \"500 ms\", \"30 s\" or \"5 m\"";
        return number_with_unit(text, time_units, v);
    case CONFIG_LEVEL: *wanted = "debug, info, warn or error"; return one_of(text, levels, v);
    case CONFIG_RELAX: *wanted = "strict or relaxed"; return one_of(text, relax, v);
    case CONFIG_YES: *wanted = "yes or no"; return one_of(text, yes, v);
    case CONFIG_BARE: *wanted = "refuse, normalize or accept"; return one_of(text, bare, v);
    }
    return false;
}

bool config_number_of(struct str text, bool size, uint64_t *out)
{
    return number_with_unit(text, size ? size_units : count_units, out);
}

bool config_value(const struct config_scalar *s, struct str text, uint64_t *out, char *why,
                  size_t why_n)
{
    uint64_t v = 0;
    const char *wanted = "";
    if (!config_number(s->kind, text, &v, &wanted)) {
        (void)snprintf(why, why_n, "\"%.*s\" is not %s", STR_FMT(text), wanted);
        return false;
    }
    if ((double)v < s->least || (double)v > s->most) {
        (void)snprintf(why, why_n, "\"%.*s\" is out of range (%.0f to %.0f%s)", STR_FMT(text),
                       s->least, s->most,
                       s->kind == CONFIG_TIME   ? " ms"
                       : s->kind == CONFIG_TEXT ? " characters"
                                                : "");
        return false;
    }
    *out = s->kind == CONFIG_KIB ? v / 1024 : v;
    return true;
}

void config_store(const struct config_scalar *s, Thurn__Settings *to, uint64_t v)
{
    void *field = (char *)to + s->offset;
    if (s->size == sizeof(uint64_t))
        *(uint64_t *)field = v;
    else /* uint32_t, or protobuf's bool, which is an int */
        *(uint32_t *)field = (uint32_t)v;
}
