#include "cli/cli.h"

#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "roles/supervisor/config.h"

enum { CLI_PATIENCE_MS = 120000 };

bool cli_config(const struct cli *c, struct arena *a, Thurn__Configuration *out)
{
    FILE *in = fopen(c->config, "re");
    if (!in) {
        fprintf(stderr, "thurn: cannot read %s: %s; name the file with --config\n", c->config,
                strerror(errno));
        return false;
    }
    config_parse(in, c->config, a, out);
    (void)fclose(in);
    if (out->error.len)
        fprintf(stderr, "thurn: %.*s\n", STR_FMT(pb_str(out->error)));
    return !out->error.len && out->settings;
}

/* The directory of the sockets, in `path` with the name of one of them. */
static bool socket_path(const struct cli *c, enum cli_whom whom, struct sockaddr_un *sa)
{
    const char *name = whom == CLI_SUPERVISOR ? "supervisor.sock" : "backend.sock";
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration config;
    struct str dir = str_c(c->run_dir);
    if (!c->run_dir) {
        if (!cli_config(c, &a, &config))
            return false;
        dir = pb_str(config.run_dir);
    }
    int n = snprintf(sa->sun_path, sizeof sa->sun_path, "%.*s/%s", STR_FMT(dir), name);
    if (n > 0 && (size_t)n < sizeof sa->sun_path)
        return true;
    fprintf(stderr, "thurn: run_dir is too long\n");
    return false;
}

int cli_connect(const struct cli *c, enum cli_whom whom)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (!socket_path(c, whom, &sa))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    if (why == EACCES)
        fprintf(stderr, "thurn: %s may be used by root and the user thurn runs as only\n",
                sa.sun_path);
    else
        fprintf(stderr, "thurn: no thurn is running there (%s: %s); start it with \"thurn run\"\n",
                sa.sun_path, strerror(why));
    return -1;
}

int cli_ask(int fd, uint16_t type, const ProtobufCMessage *m,
            bool (*each)(struct frame *f, void *arg), void *arg)
{
    struct err e = chan_ask(fd, &rpc_table, type, m, CLI_PATIENCE_MS, each, arg);
    if (!e.code)
        return CLI_OK;
    fprintf(stderr, "thurn: no answer: %s\n", e.why);
    return CLI_FAILED;
}

int cli_status(const struct cli *c, const Thurn__Status *s)
{
    struct str text = s ? pb_str(s->text) : STR("no status");
    bool done = s && s->code == THURN__CODE__DONE;
    if (c->json) {
        json_t *j = json_pack("{s:b, s:s%}", "ok", (int)done, "message",
                              text.n ? (const char *)text.p : "", text.n);
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)printf("\n");
        json_decref(j);
    } else if (text.n) {
        fprintf(done ? stdout : stderr, "%s%.*s\n", done ? "" : "thurn: ", STR_FMT(text));
    } else if (!done) {
        fprintf(stderr, "thurn: refused\n");
    }
    return done ? CLI_OK : CLI_FAILED;
}
