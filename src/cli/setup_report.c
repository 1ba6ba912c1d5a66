#include "cli/setup.h"

#include <jansson.h>

#include "net/net.h"

/* The services that RFC 6186 and RFC 8314 let a mail program find by name. */
static const struct {
    Thurn__ListenerKind kind;
    const char *service;
} report_services[] = {
    {THURN__LISTENER_KIND__LISTEN_IMAPS, "_imaps._tcp"},
    {THURN__LISTENER_KIND__LISTEN_SUBMISSIONS, "_submissions._tcp"},
};

/* Shows each record as it comes: to the JSON array, or as a line of a zone file. */
struct report {
    json_t *rows; /* NULL: text */
};

PRINTF(4, 5)
static void report_record(struct report *r, const char *name, const char *type, const char *fmt,
                          ...)
{
    char value[3 * SETUP_NAME];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    if (r->rows)
        (void)json_array_append_new(
            r->rows, json_pack("{s:s, s:s, s:s}", "name", name, "type", type, "value", value));
    else
        (void)printf("  %-36s %-4s %s\n", name, type, value);
}

/* The port of the first listener of a kind; 0: there is none. */
static unsigned report_port(const Thurn__Configuration *config, Thurn__ListenerKind kind)
{
    for (size_t i = 0; i < config->n_listen; i++) {
        struct sockaddr_storage sa;
        socklen_t len;
        if (config->listen[i]->kind != kind ||
            sockaddr_parse(pb_str(config->listen[i]->address), &sa, &len).code)
            continue;
        in_port_t port = sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&sa)->sin6_port
                                                  : ((struct sockaddr_in *)(void *)&sa)->sin_port;
        return ntohs(port);
    }
    return 0;
}

static void report_records(struct report *r, const struct setup *s,
                           const Thurn__Configuration *config)
{
    char domain[SETUP_NAME + 2], host[SETUP_NAME + 2], service[SETUP_NAME + 32];
    (void)snprintf(domain, sizeof domain, "%s.", s->domain);
    (void)snprintf(host, sizeof host, "%s.", s->hostname);
    report_record(r, domain, "MX", "10 %s", host);
    report_record(r, domain, "TXT", "\"v=spf1 mx ~all\"");
    for (size_t i = 0; i < ARRAY_LEN(report_services); i++) {
        unsigned port = report_port(config, report_services[i].kind);
        (void)snprintf(service, sizeof service, "%s.%s", report_services[i].service, domain);
        if (port)
            report_record(r, service, "SRV", "0 1 %u %s", port, host);
    }
}

static void report_json(const struct setup *s, const Thurn__Configuration *config)
{
    struct report r = {.rows = json_array()};
    report_records(&r, s, config);
    json_t *all = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "domain", s->domain,
                            "hostname", s->hostname, "config", s->config, "data_dir", s->data_dir,
                            "certificate", s->chain, "key", s->key, "account", s->account,
                            "password", s->password, "records", r.rows);
    (void)json_dumpf(all, stdout, JSON_INDENT(2));
    (void)printf("\n");
    json_decref(all);
}

static void report_text(const struct setup *s, const Thurn__Configuration *config)
{
    struct report r = {0};
    bool usual = str_eq(str_c(s->config), STR("/etc/thurn/thurn.conf"));
    (void)printf("Thurn is set up for %s.\n\n"
                 "  configuration  %s\n"
                 "  mail           %s\n"
                 "  certificate    %s\n"
                 "                 (signed by itself: mail programs will ask whether to trust it)\n"
                 "  account        %s\n"
                 "  password       %s\n"
                 "                 (shown this once; \"thurn account password\" sets another)\n\n",
                 s->domain, s->config, s->data_dir, s->chain, s->account, s->password);
    if (usual)
        (void)printf("Start it:\n\n  systemctl enable --now thurn    (or, in the foreground, "
                     "thurn run)\n\n");
    else
        (void)printf("Start it:\n\n  thurn --config %s run\n\n", s->config);
    (void)printf("Publish in the DNS, beside A and AAAA records of %s for the public addresses\n"
                 "of this host:\n\n",
                 s->hostname);
    report_records(&r, s, config);
    (void)printf(
        "\nThe TXT record (SPF) names this host as the one that sends mail of the domain: add "
        "others that do.\n"
        "Ask the owner of the addresses for PTR records that name %s.\n",
        s->hostname);
}

void setup_report(const struct setup *s, const Thurn__Configuration *config)
{
    if (s->cli->json)
        report_json(s, config);
    else
        report_text(s, config);
}
