/* The configuration file. It is understood, with every number in its range, or refused with a
 * sentence that names the line. */
#include "base/base.h"

#include "roles/supervisor/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void are_networks(const ProtobufCBinaryData *texts, size_t n)
{
    struct ip_net net;
    for (size_t i = 0; i < n; i++)
        check(ip_net_parse(pb_str(texts[i]), &net).code == E_OK);
}

static void is_understood(const Thurn__Configuration *c)
{
    const Thurn__Settings *s = c->settings;
    struct sockaddr_storage sa;
    socklen_t len;
    check(s->workers >= 1 && s->workers <= 256 && s->scanners >= 1 && s->scanners <= 64);
    check(c->frontends >= 1 && c->frontends <= 64);
    check(s->message_size_limit >= 1024 && s->message_size_limit <= 1U << 30);
    check(s->log_level <= LOG_ERROR && s->recipient_separator.len <= 1);
    check(s->scan_timeout > 0 && s->login_delay_max <= 30000 && s->hang_timeout <= 86400000);
    are_networks(s->cleartext_login_from, s->n_cleartext_login_from);
    are_networks(s->shared_addresses, s->n_shared_addresses);
    for (size_t i = 0; i < c->n_listen; i++)
        check(sockaddr_parse(pb_str(c->listen[i]->address), &sa, &len).code == E_OK);
    check(protobuf_c_message_check(&c->base));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP(arena_free);
    Thurn__Configuration c;
    arena_init(&a, 1 << 20);
    FILE *in = tmpfile();
    check(in && fwrite(data, 1, size, in) == size);
    rewind(in);
    config_parse(in, "thurn.conf", &a, &c);
    (void)fclose(in);
    if (c.error.len) {
        check(str_starts(pb_str(c.error), STR("thurn.conf:")) ||
              str_eq(pb_str(c.error), STR("cannot be read")));
    } else {
        check(c.settings);
        config_fit(&c, 2);
        is_understood(&c);
    }
    return 0;
}
