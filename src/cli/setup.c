#include "cli/setup.h"

#include <dirent.h>
#include <limits.h>

#include "net/net.h"
#include "roles/supervisor/config.h"

enum { CERTIFICATE_DAYS = 3650 };

bool setup_text(char *out, size_t n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(out, n, fmt, ap);
    va_end(ap);
    if (len >= 0 && (size_t)len < n)
        return true;
    fprintf(stderr, "thurn: too long: %s\n", out);
    return false;
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

bool setup_file(const char *path, mode_t mode, struct str content)
{
    int fd CLEANUP(close_fd) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        fprintf(stderr, "thurn: cannot make %s: %s\n", path, strerror(errno));
        return false;
    }
    while (content.n) {
        ssize_t n = write(fd, content.p, content.n);
        if (n <= 0)
            break;
        content = str_skip(content, (size_t)n);
    }
    if (content.n == 0 && fchmod(fd, mode) == 0 && fsync(fd) == 0)
        return true;
    fprintf(stderr, "thurn: cannot write %s: %s\n", path, strerror(errno));
    (void)unlink(path);
    return false;
}

/* ---------------------------------------------------------------------------- what was asked for
 */

static bool label_ok(struct str label)
{
    if (label.n < 1 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!byte_is_alpha(label.p[i]) && !byte_is_digit(label.p[i]) && label.p[i] != '-')
            return false;
    return true;
}

/* The domain becomes part of host names, paths and the configuration: nothing but a name of at
 * least two labels is taken (RFC 5321, 2.3.5). */
static bool setup_domain(struct setup *s, struct str given)
{
    enum { DOMAIN_MOST = 253 - 5 }; /* "mail." fits in front */
    bool ok = given.n <= DOMAIN_MOST && str_find_byte(given, '.', 0) < given.n;
    for (size_t at = 0, dot; ok && at <= given.n; at = dot + 1) {
        dot = str_find_byte(given, '.', at);
        ok = label_ok(str_sub(given, at, dot));
    }
    if (!ok) {
        fprintf(stderr,
                "thurn: \"%.*s\" is no domain such as example.org (other scripts as A-labels: "
                "xn--...)\n",
                STR_FMT(given));
        return false;
    }
    for (size_t i = 0; i < given.n; i++)
        s->domain[i] = (char)byte_lower(given.p[i]);
    return setup_text(s->hostname, sizeof s->hostname, "mail.%s", s->domain) &&
           setup_text(s->account, sizeof s->account, "postmaster@%s", s->domain);
}

/* Between double quotes of the configuration it must stand for itself. */
static bool path_ok(const char *option, const char *path)
{
    bool ok = path[0] == '/';
    for (const char *p = path; *p; p++)
        ok = ok && (unsigned char)*p >= ' ' && *p != 0x7F && *p != '"' && *p != '\\' && *p != '$';
    if (!ok)
        fprintf(stderr, "thurn: %s %s: wants an absolute path without \" \\ $\n", option, path);
    return ok;
}

/* Makes a directory with its parents; those that are there stay as they are. */
static bool directory_make(const char *path)
{
    char partial[SETUP_PATH];
    if (!setup_text(partial, sizeof partial, "%s", path))
        return false;
    for (char *p = partial + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        (void)mkdir(partial, 0755);
        *p = '/';
    }
    if (mkdir(partial, 0755) == 0 || errno == EEXIST)
        return true;
    fprintf(stderr,
            "thurn: cannot make %s: %s; run it as root, or name other places with "
            "--config and --data-dir\n",
            path, strerror(errno));
    return false;
}

/* The configuration's absolute path, and the certificate's beside it. */
static bool setup_paths(struct setup *s)
{
    char dir[SETUP_PATH];
    const char *given = s->cli->config;
    const char *slash = strrchr(given, '/');
    int dir_n = slash ? (int)(slash - given) + 1 : 2;
    if (!setup_text(dir, sizeof dir, "%.*s", dir_n, slash ? given : "./") || !directory_make(dir))
        return false;
    char real[PATH_MAX];
    if (!realpath(dir, real)) {
        fprintf(stderr, "thurn: cannot reach %s: %s\n", dir, strerror(errno));
        return false;
    }
    const char *base = str_eq(str_c(real), STR("/")) ? "" : real;
    return setup_text(s->config, SETUP_PATH, "%s/%s", base, slash ? slash + 1 : given) &&
           setup_text(s->tls_dir, SETUP_PATH, "%s/tls", base) &&
           setup_text(s->chain, SETUP_PATH, "%s/%s.pem", s->tls_dir, s->hostname) &&
           setup_text(s->key, SETUP_PATH, "%s/%s.key", s->tls_dir, s->hostname) &&
           path_ok("--config", s->config) && path_ok("--data-dir", s->data_dir) &&
           (!s->cli->run_dir || path_ok("--run-dir", s->cli->run_dir));
}

static bool directory_is_unused(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT;
    size_t n = 0;
    for (const struct dirent *d; (d = readdir(dir)); n++)
        if (str_eq(str_c(d->d_name), STR(".")) || str_eq(str_c(d->d_name), STR("..")))
            n--;
    (void)closedir(dir);
    return n == 0;
}

/* A host that is in use is never set up again: nothing there is overwritten. */
static bool setup_is_first(const struct setup *s)
{
    if (access(s->config, F_OK) == 0) {
        fprintf(stderr,
                "thurn: %s is there already and is not overwritten; \"thurn domain add %s\" adds "
                "a domain to a running thurn\n",
                s->config, s->domain);
        return false;
    }
    if (directory_is_unused(s->data_dir))
        return true;
    fprintf(stderr,
            "thurn: %s is not empty, or cannot be read: mail in it is not touched; name another "
            "place with --data-dir\n",
            s->data_dir);
    return false;
}

/* -------------------------------------------------------------------------------- what is written
 */

/* 100 random bits in letters that cannot be mistaken for one another. */
static void setup_password(struct setup *s)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    enum { GROUP = 6, LENGTH = 23 };
    uint8_t random[LENGTH];
    random_bytes(random, sizeof random);
    for (size_t i = 0; i < LENGTH; i++)
        s->password[i] = i % GROUP == GROUP - 1 ? '-' : letters[random[i] & 31];
    s->password[LENGTH] = 0;
    explicit_bzero(random, sizeof random);
}

static bool setup_certificate(const struct setup *s)
{
    struct buf chain CLEANUP(buf_free) = {0};
    struct buf key CLEANUP(buf_free) = {0};
    const struct str name = str_c(s->hostname);
    struct err e = tls_make_self_signed(&name, 1, CERTIFICATE_DAYS, &chain, &key);
    if (e.code) {
        fprintf(stderr, "thurn: no certificate: %s\n", e.why);
        return false;
    }
    bool made = directory_make(s->tls_dir) && setup_file(s->key, 0600, buf_str(&key));
    explicit_bzero(key.p, key.cap);
    if (made && !setup_file(s->chain, 0644, buf_str(&chain))) {
        (void)unlink(s->key);
        made = false;
    }
    return made;
}

static bool setup_configuration(const struct setup *s)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    check(out != NULL);
    fprintf(out,
            "# Made by \"thurn setup %s\". All options: thurn.conf(5), \"thurn config defaults\".\n"
            "\nhostname = \"%s\"\ndata_dir = \"%s\"\n",
            s->domain, s->hostname, s->data_dir);
    if (s->cli->run_dir)
        fprintf(out, "run_dir = \"%s\"\n", s->cli->run_dir);
    fprintf(out, "\n");
    config_print_listen(out);
    fprintf(out,
            "\n# Signed by itself. When an authority has issued one for %s, name its files here\n"
            "# and say \"thurn reload\".\n"
            "certificate {\n    chain = \"%s\"\n    key = \"%s\"\n}\n",
            s->hostname, s->chain, s->key);
    check(fclose(out) == 0);
    bool made = setup_file(s->config, 0644, str_of(text, n));
    free(text);
    return made;
}

static void setup_undo(const struct setup *s)
{
    (void)unlink(s->config);
    (void)unlink(s->chain);
    (void)unlink(s->key);
    (void)rmdir(s->tls_dir);
    if (!directory_is_unused(s->data_dir))
        fprintf(stderr, "thurn: nothing was set up; remove %s before trying again\n", s->data_dir);
}

/* What was asked for, or that of the environment: "de_DE.UTF-8". */
static bool setup_language(struct setup *s)
{
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    const char *found = s->cli->language;
    s->guessed = !found;
    for (size_t i = 0; i < ARRAY_LEN(variables) && (!found || !*found); i++)
        found = getenv(variables[i]);
    return setup_text(s->language, sizeof s->language, "%s", found ? found : "");
}

int cli_setup(struct cli *c)
{
    struct setup s = {.cli = c, .data_dir = c->data_dir ? c->data_dir : config_data_dir()};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration config;
    if (!setup_domain(&s, str_c(c->words[0])) || !setup_language(&s))
        return CLI_USAGE;
    /* Ctrl-C ends the thurn that runs for a moment, and so the setup; what was made is then taken
     * back. */
    (void)signal(SIGINT, SIG_IGN);
    if (!setup_paths(&s) || !setup_is_first(&s) || !setup_certificate(&s))
        return CLI_FAILED;
    setup_password(&s);
    struct cli made = {.config = s.config};
    bool done = setup_configuration(&s) && cli_config(&made, &a, &config) && setup_start(&s);
    if (done)
        setup_report(&s, &config);
    else
        setup_undo(&s);
    explicit_bzero(s.password, sizeof s.password);
    return done ? CLI_OK : CLI_FAILED;
}
