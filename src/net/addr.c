#include "net/net.h"

#include <arpa/inet.h>

struct ip ip_of_sockaddr(const struct sockaddr_storage *sa)
{
    struct ip ip = {0};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        memcpy(ip.b, &in->sin_addr, 4);
        ip.n = 4;
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        /* An IPv4 client on a socket for both is that IPv4 address. */
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        ip.n = mapped ? 4 : 16;
        memcpy(ip.b, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), ip.n);
    }
    return ip;
}

void ip_format(struct buf *out, struct ip ip)
{
    char text[INET6_ADDRSTRLEN];
    const char *s = ip.n ? inet_ntop(ip.n == 4 ? AF_INET : AF_INET6, ip.b, text, sizeof text) : "-";
    buf_put(out, str_c(s));
}

static struct err ip_parse(struct str s, struct ip *out)
{
    char text[INET6_ADDRSTRLEN];
    if (s.n >= sizeof text || str_find_byte(s, 0, 0) < s.n)
        return err_make(E_INVALID, "not an address");
    if (s.n)
        memcpy(text, s.p, s.n);
    text[s.n] = 0;
    struct ip ip = {.n = str_find_byte(s, ':', 0) < s.n ? 16 : 4};
    if (inet_pton(ip.n == 4 ? AF_INET : AF_INET6, text, ip.b) != 1)
        return err_make(E_INVALID, "not an address");
    *out = ip;
    return OK;
}

struct err ip_net_parse(struct str s, struct ip_net *out)
{
    size_t slash = str_find_byte(s, '/', 0);
    struct ip ip;
    TRY(ip_parse(str_sub(s, 0, slash), &ip));
    uint64_t bits = (uint64_t)ip.n * 8;
    if (slash < s.n) {
        TRY(str_to_u64(str_skip(s, slash + 1), &bits));
        if (bits > (uint64_t)ip.n * 8)
            return err_make(E_INVALID, "more network bits than the address has");
    }
    *out = (struct ip_net){ip, (uint8_t)bits};
    return OK;
}

bool ip_net_has(const struct ip_net *net, struct ip ip)
{
    if (ip.n == 0 || ip.n != net->ip.n)
        return false;
    size_t bytes = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (memcmp(net->ip.b, ip.b, bytes) != 0)
        return false;
    return rest == 0 || ((net->ip.b[bytes] ^ ip.b[bytes]) >> (8 - rest)) == 0;
}

void ip_nets_set(struct ip_nets *l, const char *setting, const ProtobufCBinaryData *texts, size_t n)
{
    ip_nets_free(l);
    l->nets = mem_alloc(n * sizeof *l->nets);
    for (size_t i = 0; i < n; i++) {
        struct str text = str_of(texts[i].data, texts[i].len);
        struct err e = ip_net_parse(text, &l->nets[l->n]);
        if (e.code == E_OK)
            l->n++;
        else
            log_error("settings.no-network", LF_C("setting", setting), LF_STR("value", text),
                      LF_ERR(e));
    }
}

void ip_nets_free(struct ip_nets *l)
{
    free(l->nets);
    *l = (struct ip_nets){0};
}

bool ip_nets_have(const struct ip_nets *l, struct ip ip)
{
    for (size_t i = 0; i < l->n; i++)
        if (ip_net_has(&l->nets[i], ip))
            return true;
    return false;
}

bool ip_is_own(struct ip ip)
{
    static const uint8_t loopback[16] = {[15] = 1};
    return ip.n == 0 || (ip.n == 4 && ip.b[0] == 127) ||
           (ip.n == 16 && memcmp(ip.b, loopback, 16) == 0);
}

static void sockaddr_of(struct ip ip, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
    memset(out, 0, sizeof *out);
    if (ip.n == 4) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, ip.b, 4);
        *len = sizeof *in;
    } else {
        struct sockaddr_in6 *in6 = (void *)out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, ip.b, 16);
        *len = sizeof *in6;
    }
}

struct err sockaddr_parse(struct str s, struct sockaddr_storage *out, socklen_t *len)
{
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return err_make(E_INVALID, "an address needs a port, as in 127.0.0.1:143");
    struct str host = str_sub(s, 0, colon - 1);
    uint64_t port;
    TRY(str_to_u64(str_skip(s, colon), &port));
    if (port > 65535)
        return err_make(E_INVALID, "a port is at most 65535");
    struct ip ip = {.n = 4}; /* "*": every IPv4 address; "[::]" is every IPv6 address */
    if (str_starts(host, STR("[")) && str_ends(host, STR("]"))) {
        TRY(ip_parse(str_sub(host, 1, host.n - 1), &ip));
        if (ip.n != 16)
            return err_make(E_INVALID, "brackets are for IPv6 addresses");
    } else if (!str_eq(host, STR("*"))) {
        TRY(ip_parse(host, &ip));
        if (ip.n != 4)
            return err_make(E_INVALID, "an IPv6 address stands in brackets, as in [::1]:143");
    }
    sockaddr_of(ip, (uint16_t)port, out, len);
    return OK;
}
