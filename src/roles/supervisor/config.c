#include "roles/supervisor/config.h"

#include <confuse.h>

#include "roles/supervisor/config_value.h"

/* Less than an hour would throw sleeping sessions off; tests have no hour. */
#ifdef THURN_PROBE
#define HISTORY_LEAST 1000
#else
#define HISTORY_LEAST 3600e3
#endif

/*
 * The scalar options: name in the file, field of Settings, kind of value, default, least and most
 * value, meaning. Numbers are kept in the units that proto/rpc.proto names for them.
 */
/* clang-format off */
#define CONFIG_SCALARS(X)                                                                            \
    X(hostname,            hostname,            TEXT,  "",      0, 255,                              \
      "our name, in greetings and Received; default: the machine's")                                 \
    X(data_dir,            data_dir,            TEXT,  "/var/lib/thurn/mail", 1, 4000,                    \
      "where mail is kept")                                                                          \
    X(log_level,           log_level,           LEVEL, "info",  0, 3,                                \
      "debug, info, warn or error")                                                                  \
    X(sandbox,             sandbox_relaxed,     RELAX, "strict", 0, 1,                               \
      "strict, or relaxed to run on a kernel without Landlock")                                      \
    X(workers,             workers,             COUNT, "0",     0, 256,                              \
      "threads of the backend, and half as many more for what takes long; 0: as the processors want")\
    X(scanners,            scanners,            COUNT, "0",     0, 64,                               \
      "processes that look inside messages; 0: as the processors want")                              \
    X(message_size_limit,  message_size_limit,  SIZE,  "50 MB", 1024, 1024.0 * 1024 * 1024,          \
      "largest message taken")                                                                       \
    X(receive_memory,      receive_memory,      SIZE,  "1 GB",  1048576, 1e12,                         \
      "memory of a frontend process for messages that are coming in")                                \
    X(max_connections,     max_connections,     COUNT, "18000", 10, 1000000,                         \
      "clients per frontend process")                                                                \
    X(max_recipients,      max_recipients,      COUNT, "1000",  100, 10000,                          \
      "recipients of one SMTP or LMTP transaction")                                                          \
    X(max_bad_commands,    max_bad_commands,    COUNT, "20",    1, 1000,                             \
      "wrong commands until a client is sent away")                                                  \
    X(imap_idle_timeout,   imap_idle_timeout,   TIME,  "31 m",  1, 86400e3,                          \
      "logged in, no command (RFC 3501 wants 30 minutes or more)")                                   \
    X(login_timeout,       login_timeout,       TIME,  "3 m",   1, 86400e3,                          \
      "connected, not logged in")                                                                    \
    X(lmtp_timeout,        lmtp_timeout,        TIME,  "5 m",   1, 86400e3,                          \
      "an LMTP client says nothing")                                                                 \
    X(smtp_timeout,        smtp_timeout,        TIME,  "5 m",   1, 86400e3,                          \
      "an SMTP client says nothing (RFC 5321 wants 5 minutes or more)")                              \
    X(smtp_bare_newline,   smtp_bare_newline,   BARE,  "refuse", 0, 2,                               \
      "a CR or LF alone in SMTP's DATA: refuse, normalize or accept")                                \
    X(write_timeout,       write_timeout,       TIME,  "5 m",   1, 86400e3,                          \
      "a client takes none of the bytes that wait for it")                                           \
    X(request_timeout,     request_timeout,     TIME,  "60 s",  1, 86400e3,                          \
      "a request from one role to another")                                                          \
    X(hang_timeout,        hang_timeout,        TIME,  "30 s",  0, 86400e3,                          \
      "a process that gives no sign of life for so long is replaced; 0 s: never")                    \
    X(scan_timeout,        scan_timeout,        TIME,  "10 s",  1, 86400e3,                          \
      "one message in a scanner; it is delivered unparsed after that")                               \
    X(scanner_lifetime,    scanner_lifetime,    TIME,  "60 s",  1, 86400e3,                          \
      "a scanner is replaced after that time")                                                       \
    X(scanner_jobs,        scanner_jobs,        COUNT, "1000",  1, 1000000,                          \
      "a scanner is replaced after so many messages")                                                \
    X(scanner_memory,      scanner_memory,      SIZE,  "1 GB",  256e6, 64e9,                         \
      "address space of a scanner")                                                                  \
    X(segment_size,        segment_size,        SIZE,  "64 MB", 1048576, 4e9,                        \
      "a file of the log is full at this size")                                                      \
    X(cache_size,          cache_size,          SIZE,  "128 MB", 1048576, 1e12,                      \
      "memory for the index")                                                                        \
    X(history,             history,             TIME,  "28 d",  HISTORY_LEAST, 3650 * 86400e3,       \
      "deleted messages and mailboxes are kept so long before their space is given back")            \
    X(rewrite_rate,        rewrite_rate,        SIZE,  "8 MB", 65536, 1e12,                          \
      "bytes per second copied to give back the space of deleted messages")                          \
    X(argon2_memory,       argon2_memory_kib,   KIB,   "19 MB", 8192, 4e9,                           \
      "memory of one password hash")                                                                 \
    X(argon2_passes,       argon2_passes,       COUNT, "2",     1, 100,                              \
      "passes of one password hash")                                                                 \
    X(special_folders,     special_folders,     YES,   "yes",   0, 1,                                \
      "new accounts get Drafts, Sent, Junk, Trash, Archive")                                         \
    X(recipient_separator, recipient_separator, TEXT,  "+",     0, 1,                                \
      "begins the detail of a sub-address, as in alice+lists@example.org; empty: none")              \
    X(quota,               quota,               SIZE,  "0",     0, 1e18,                             \
      "bytes an account may hold if nothing else is set for it or its domain; 0: no limit")          \
    X(quota_messages,      quota_messages,      COUNT, "0",     0, 1e18,                             \
      "the same in messages")                                                                        \
    X(upgrade_hashes,      upgrade_hashes,      YES,   "yes",   0, 1,                                \
      "replace imported password hashes by Argon2id at log-in ({PLAIN} stays)")                      \
    X(login_memory,        login_memory_kib,    KIB,   "128 MB", 8192, 64e9,                         \
      "memory of all password hashes that are computed at a time, as many as fit")                   \
    X(login_failures,      login_failures,      COUNT, "5",     1, 1000,                             \
      "wrong passwords for an account from one address until the next ones are delayed")             \
    X(login_delay_max,     login_delay_max,     TIME,  "15 s",  0, 30e3,                             \
      "the delay grows up to this; 0 s: no delays")                                                  \
    X(login_cache,         login_cache,         TIME,  "60 s",  0, 3600e3,                           \
      "a password that was right needs no hash again for so long; 0 s: always")                      \
    X(max_connections_per_account, max_connections_per_account, COUNT, "100", 0, 1000000,            \
      "logged in at a time; 0: no limit")                                                            \
    X(max_connections_per_address, max_connections_per_address, COUNT, "1000", 0, 1000000,           \
      "logged in from one address (IPv6: /64), except shared ones; 0: no limit")
/* clang-format on */

static const struct config_scalar config_scalars[] = {
#define CONFIG_ROW(option, field, kind_, default_, least_, most_, meaning_)                        \
    {.name = #option,                                                                              \
     .kind = CONFIG_##kind_,                                                                       \
     .offset = offsetof(Thurn__Settings, field),                                                   \
     .size = sizeof(((Thurn__Settings *)NULL)->field),                                             \
     .fallback = (default_),                                                                       \
     .least = (least_),                                                                            \
     .most = (most_),                                                                              \
     .meaning = (meaning_)},
    CONFIG_SCALARS(CONFIG_ROW)};

static const struct config_scalar config_frontends = {.name = "frontends",
                                                      .kind = CONFIG_COUNT,
                                                      .size = sizeof(uint32_t),
                                                      .fallback = "0",
                                                      .least = 0,
                                                      .most = 64,
                                                      .meaning = "processes that talk to clients; "
                                                                 "0: as the processors want"};

static const struct {
    const char *name;
    Thurn__ListenerKind kind;
    const char *meaning, *example;
} config_listeners[] = {
    {"lmtp", THURN__LISTENER_KIND__LISTEN_LMTP, "mail from an MTA (RFC 2033)", "127.0.0.1:24"},
    {"imap", THURN__LISTENER_KIND__LISTEN_IMAP, "IMAP with STARTTLS", "*:143"},
    {"imaps", THURN__LISTENER_KIND__LISTEN_IMAPS, "IMAP under TLS", "*:993"},
    {"smtp", THURN__LISTENER_KIND__LISTEN_SMTP, "mail from other servers, with STARTTLS", "*:25"},
    {"submission", THURN__LISTENER_KIND__LISTEN_SUBMISSION, "mail from users, with STARTTLS",
     "*:587"},
    {"submissions", THURN__LISTENER_KIND__LISTEN_SUBMISSIONS, "mail from users, under TLS",
     "*:465"},
};

/* Of the parse under way: libConfuse's error function has no argument, and its sections do not
 * know their file. */
static _Thread_local char config_error_text[512];
static _Thread_local const char *config_file;

PRINTF(2, 0) static void config_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    if (config_error_text[0])
        return; /* the first one is the cause */
    char what[384];
    (void)vsnprintf(what, sizeof what, fmt, ap);
    (void)snprintf(config_error_text, sizeof config_error_text, "%s:%d: %s", config_file,
                   cfg ? cfg->line : 0, what);
}

static const struct config_scalar *config_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(config_scalars); i++)
        if (str_eq(str_c(name), str_c(config_scalars[i].name)))
            return &config_scalars[i];
    return str_eq(str_c(name), str_c(config_frontends.name)) ? &config_frontends : NULL;
}

/* Called by libConfuse for each value as it is read, so that the error has its line. */
static int config_check_scalar(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct config_scalar *s = config_find(cfg_opt_name(opt));
    char why[200];
    uint64_t ignored;
    if (!s || config_value(s, str_c(cfg_opt_getnstr(opt, 0)), &ignored, why, sizeof why))
        return 0;
    cfg_error(cfg, "%s: %s", s->name, why);
    return -1;
}

static int config_check_address(cfg_t *cfg, cfg_opt_t *opt)
{
    struct sockaddr_storage sa;
    socklen_t len;
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    if (!sockaddr_parse(str_c(text), &sa, &len).code)
        return 0;
    cfg_error(cfg, "\"%s\" is no address with port, such as 127.0.0.1:143 or [::1]:143", text);
    return -1;
}

static int config_check_net(cfg_t *cfg, cfg_opt_t *opt)
{
    struct ip_net net;
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    if (!ip_net_parse(str_c(text), &net).code)
        return 0;
    cfg_error(cfg, "\"%s\" is no address or network, such as 127.0.0.0/8 or ::1", text);
    return -1;
}

static ProtobufCBinaryData config_text(struct arena *a, const char *s)
{
    return pb_bytes(str_dup(a, str_c(s)));
}

/* A list option as an array of bytes fields in the arena. */
static void config_list(cfg_t *cfg, const char *name, struct arena *a, ProtobufCBinaryData **out,
                        size_t *out_n)
{
    size_t n = cfg_size(cfg, name);
    *out = arena_array(a, ProtobufCBinaryData, n);
    *out_n = *out ? n : 0;
    for (size_t i = 0; i < *out_n; i++)
        (*out)[i] = config_text(a, cfg_getnstr(cfg, name, (unsigned)i));
}

static void config_fill_scalars(cfg_t *cfg, struct arena *a, Thurn__Settings *s)
{
    for (size_t i = 0; i < ARRAY_LEN(config_scalars); i++) {
        const struct config_scalar *row = &config_scalars[i];
        const char *text = cfg_getstr(cfg, row->name);
        char why[200];
        uint64_t v = 0;
        if (row->kind == CONFIG_TEXT) {
            *(ProtobufCBinaryData *)(void *)((char *)s + row->offset) = config_text(a, text);
        } else {
            check(config_value(row, str_c(text), &v, why, sizeof why));
            config_store(row, s, v);
        }
    }
    char host[256] = "localhost";
    if (!s->hostname.len && gethostname(host, sizeof host - 1) == 0)
        s->hostname = config_text(a, host);
    config_list(cfg, "cleartext_login_from", a, &s->cleartext_login_from,
                &s->n_cleartext_login_from);
    config_list(cfg, "shared_addresses", a, &s->shared_addresses, &s->n_shared_addresses);
}

static void config_fill_listen(cfg_t *cfg, struct arena *a, Thurn__Configuration *out)
{
    cfg_t *listen = cfg_getsec(cfg, "listen");
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(config_listeners); i++)
        n += cfg_size(listen, config_listeners[i].name);
    out->listen = arena_array(a, Thurn__ListenAddress *, n);
    for (size_t i = 0; i < ARRAY_LEN(config_listeners) && out->listen; i++) {
        for (unsigned k = 0; k < cfg_size(listen, config_listeners[i].name); k++) {
            Thurn__ListenAddress *l = arena_new(a, Thurn__ListenAddress);
            if (!l)
                return;
            thurn__listen_address__init(l);
            l->kind = config_listeners[i].kind;
            l->address = config_text(a, cfg_getnstr(listen, config_listeners[i].name, k));
            out->listen[out->n_listen++] = l;
        }
    }
}

static void config_fill_certificates(cfg_t *cfg, struct arena *a, Thurn__Configuration *out)
{
    unsigned n = cfg_size(cfg, "certificate");
    out->certificates = arena_array(a, Thurn__CertificateFiles *, n);
    for (unsigned i = 0; i < n && out->certificates; i++) {
        cfg_t *sec = cfg_getnsec(cfg, "certificate", i);
        Thurn__CertificateFiles *c = arena_new(a, Thurn__CertificateFiles);
        if (!c)
            return;
        thurn__certificate_files__init(c);
        config_list(sec, "names", a, &c->names, &c->n_names);
        c->chain_file = config_text(a, cfg_getstr(sec, "chain"));
        c->key_file = config_text(a, cfg_getstr(sec, "key"));
        out->certificates[out->n_certificates++] = c;
    }
}

static int config_check_certificate(cfg_t *cfg, cfg_opt_t *opt)
{
    cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    if (cfg_getstr(sec, "chain") && cfg_getstr(sec, "key"))
        return 0;
    cfg_error(cfg, "certificate: needs both \"chain\" and \"key\", files in PEM");
    return -1;
}

static void config_fill(cfg_t *cfg, struct arena *a, Thurn__Configuration *out)
{
    char why[200];
    uint64_t frontends = 0;
    out->settings = arena_new(a, Thurn__Settings);
    if (!out->settings)
        return;
    thurn__settings__init(out->settings);
    config_fill_scalars(cfg, a, out->settings);
    config_fill_listen(cfg, a, out);
    config_fill_certificates(cfg, a, out);
    out->run_dir = config_text(a, cfg_getstr(cfg, "run_dir"));
    check(config_value(&config_frontends, str_c(cfg_getstr(cfg, "frontends")), &frontends, why,
                       sizeof why));
    out->frontends = (uint32_t)frontends;
}

/* The schema: scalars from the table, then the lists and sections. Values are text to libConfuse.
 */
static cfg_t *config_schema(void)
{
    static cfg_opt_t listen[] = {CFG_STR_LIST("lmtp", "{}", CFGF_NONE),
                                 CFG_STR_LIST("imap", "{}", CFGF_NONE),
                                 CFG_STR_LIST("imaps", "{}", CFGF_NONE),
                                 CFG_STR_LIST("smtp", "{}", CFGF_NONE),
                                 CFG_STR_LIST("submission", "{}", CFGF_NONE),
                                 CFG_STR_LIST("submissions", "{}", CFGF_NONE),
                                 CFG_END()};
    static cfg_opt_t certificate[] = {CFG_STR_LIST("names", "{}", CFGF_NONE),
                                      CFG_STR("chain", NULL, CFGF_NODEFAULT),
                                      CFG_STR("key", NULL, CFGF_NODEFAULT), CFG_END()};
    static cfg_opt_t opts[ARRAY_LEN(config_scalars) + 7];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(config_scalars); i++)
        opts[n++] =
            (cfg_opt_t)CFG_STR(config_scalars[i].name, config_scalars[i].fallback, CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_STR("frontends", config_frontends.fallback, CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_STR("run_dir", "/run/thurn", CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_STR_LIST("cleartext_login_from", "{}", CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_STR_LIST("shared_addresses", "{}", CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_SEC("listen", listen, CFGF_NONE);
    opts[n++] = (cfg_opt_t)CFG_SEC("certificate", certificate, CFGF_MULTI);
    opts[n] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(opts, CFGF_NONE);
    check(cfg != NULL);
    (void)cfg_set_error_function(cfg, config_error);
    for (size_t i = 0; i < ARRAY_LEN(config_scalars); i++)
        (void)cfg_set_validate_func(cfg, config_scalars[i].name, config_check_scalar);
    (void)cfg_set_validate_func(cfg, "frontends", config_check_scalar);
    (void)cfg_set_validate_func(cfg, "cleartext_login_from", config_check_net);
    (void)cfg_set_validate_func(cfg, "shared_addresses", config_check_net);
    (void)cfg_set_validate_func(cfg, "certificate", config_check_certificate);
    (void)cfg_set_validate_func(cfg, "listen|lmtp", config_check_address);
    (void)cfg_set_validate_func(cfg, "listen|imap", config_check_address);
    (void)cfg_set_validate_func(cfg, "listen|imaps", config_check_address);
    (void)cfg_set_validate_func(cfg, "listen|smtp", config_check_address);
    (void)cfg_set_validate_func(cfg, "listen|submission", config_check_address);
    (void)cfg_set_validate_func(cfg, "listen|submissions", config_check_address);
    return cfg;
}

void config_parse(FILE *in, const char *path, struct arena *a, Thurn__Configuration *out)
{
    thurn__configuration__init(out);
    config_error_text[0] = 0;
    config_file = path;
    cfg_t *cfg = config_schema();
    if (cfg_parse_fp(cfg, in) == CFG_SUCCESS)
        config_fill(cfg, a, out);
    else
        out->error = config_text(a, config_error_text[0] ? config_error_text : "cannot be read");
    (void)cfg_free(cfg);
}

static void fit(uint32_t *value, unsigned wanted, unsigned least, unsigned most)
{
    if (*value == 0)
        *value = MIN(MAX(wanted, least), most);
}

void config_fit(Thurn__Configuration *c, unsigned processors)
{
    fit(&c->frontends, processors / 2, 1, 8);
    fit(&c->settings->scanners, processors / 2, 2, 8);
    fit(&c->settings->workers, 2 * processors, 8, 64);
}

void config_print_defaults(FILE *out)
{
    fprintf(out, "# Every option of Thurn with its default. See thurn.conf(5).\n\n");
    for (size_t i = 0; i < ARRAY_LEN(config_scalars); i++)
        fprintf(out, "# %s\n# %s = \"%s\"\n\n", config_scalars[i].meaning, config_scalars[i].name,
                config_scalars[i].fallback);
    fprintf(out, "# %s\n# frontends = \"%s\"\n\n", config_frontends.meaning,
            config_frontends.fallback);
    fprintf(out, "# where the control sockets are\n# run_dir = \"/run/thurn\"\n\n"
                 "# addresses from which passwords are taken without TLS\n"
                 "# cleartext_login_from = {\"127.0.0.0/8\", \"::1\"}\n\n"
                 "# addresses from which many users come, such as a webmail's: log-ins are limited "
                 "by account\n# only there, and on this machine\n"
                 "# shared_addresses = {\"192.0.2.8\", \"2001:db8::/64\"}\n\nlisten {\n");
    for (size_t i = 0; i < ARRAY_LEN(config_listeners); i++)
        fprintf(out, "    # %s\n    # %s = {\"%s\"}\n", config_listeners[i].meaning,
                config_listeners[i].name, config_listeners[i].example);
    fprintf(out, "}\n\n# files in PEM; without names it serves every other host name\n"
                 "# certificate {\n#     names = {\"mail.example.org\"}\n"
                 "#     chain = \"/etc/thurn/tls/chain.pem\"\n"
                 "#     key = \"/etc/thurn/tls/key.pem\"\n# }\n");
}

static bool machine_has_ipv6(void)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof sa) == 0;
    if (fd >= 0)
        (void)close(fd);
    return has;
}

void config_print_listen(FILE *out)
{
    bool ipv6 = machine_has_ipv6();
    fprintf(out, "listen {\n");
    for (size_t i = 0; i < ARRAY_LEN(config_listeners); i++) {
        const char *address = config_listeners[i].example;
        fprintf(out, "    # %s\n    %s = {\"%s\"", config_listeners[i].meaning,
                config_listeners[i].name, address);
        if (ipv6 && address[0] == '*')
            fprintf(out, ", \"[::]%s\"", address + 1);
        fprintf(out, "}\n");
    }
    fprintf(out, "}\n");
}

const char *config_data_dir(void)
{
    return config_find("data_dir")->fallback;
}
