#include "base/base.h"

#include "net/net.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <cmocka.h>

static struct ip ip_of(struct str text)
{
    struct ip_net net;
    assert_int_equal(ip_net_parse(text, &net).code, E_OK);
    return net.ip;
}

static void networks_contain_their_addresses(void **state)
{
    static const struct {
        struct str net, ip;
        bool has;
    } cases[] = {
        {STR_INIT("127.0.0.0/8"), STR_INIT("127.255.1.2"), true},
        {STR_INIT("127.0.0.0/8"), STR_INIT("128.0.0.1"), false},
        {STR_INIT("192.0.2.128/25"), STR_INIT("192.0.2.129"), true},
        {STR_INIT("192.0.2.128/25"), STR_INIT("192.0.2.127"), false},
        {STR_INIT("192.0.2.1"), STR_INIT("192.0.2.1"), true},
        {STR_INIT("192.0.2.1"), STR_INIT("192.0.2.2"), false},
        {STR_INIT("0.0.0.0/0"), STR_INIT("203.0.113.7"), true},
        {STR_INIT("0.0.0.0/0"), STR_INIT("::1"), false},
        {STR_INIT("::1"), STR_INIT("::1"), true},
        {STR_INIT("2001:db8::/33"), STR_INIT("2001:db8:7fff::1"), true},
        {STR_INIT("2001:db8::/33"), STR_INIT("2001:db8:8000::1"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip_net net;
        assert_int_equal(ip_net_parse(cases[i].net, &net).code, E_OK);
        assert_int_equal(ip_net_has(&net, ip_of(cases[i].ip)), cases[i].has);
    }
    struct ip_net all;
    assert_int_equal(ip_net_parse(STR("0.0.0.0/0"), &all).code, E_OK);
    assert_false(ip_net_has(&all, (struct ip){0}));
}

static void what_is_no_network_is_refused(void **state)
{
    static const struct str bad[] = {
        STR_INIT(""),           STR_INIT("127.0.0.1/33"), STR_INIT("::1/129"),
        STR_INIT("127.0.0.1/"), STR_INIT("127.0.0.1/-1"), STR_INIT("127.0.0"),
        STR_INIT("localhost"),  STR_INIT("1.2.3.4\0"),    STR_INIT("1.2.3.4 "),
        STR_INIT("::1/8/8"),
    };
    struct ip_net net;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ip_net_parse(bad[i], &net).code, E_INVALID);
}

static void addresses_with_ports_become_socket_addresses(void **state)
{
    struct sockaddr_storage sa;
    socklen_t len;
    struct buf text CLEANUP(buf_free) = {0};
    assert_int_equal(sockaddr_parse(STR("127.0.0.1:2143"), &sa, &len).code, E_OK);
    assert_int_equal(sa.ss_family, AF_INET);
    assert_int_equal(len, sizeof(struct sockaddr_in));
    assert_int_equal(ntohs(((struct sockaddr_in *)&sa)->sin_port), 2143);
    ip_format(&text, ip_of_sockaddr(&sa));
    assert_int_equal(sockaddr_parse(STR("[2001:db8::1]:0"), &sa, &len).code, E_OK);
    assert_int_equal(sa.ss_family, AF_INET6);
    buf_byte(&text, ' ');
    ip_format(&text, ip_of_sockaddr(&sa));
    assert_int_equal(sockaddr_parse(STR("*:65535"), &sa, &len).code, E_OK);
    assert_int_equal(sa.ss_family, AF_INET);
    buf_byte(&text, ' ');
    ip_format(&text, ip_of_sockaddr(&sa));
    sa.ss_family = AF_UNIX;
    buf_byte(&text, ' ');
    ip_format(&text, ip_of_sockaddr(&sa));
    assert_true(str_eq(buf_str(&text), STR("127.0.0.1 2001:db8::1 0.0.0.0 -")));
}

static void what_is_no_address_with_port_is_refused(void **state)
{
    static const struct str bad[] = {
        STR_INIT(""),
        STR_INIT("127.0.0.1"),
        STR_INIT("127.0.0.1:"),
        STR_INIT("127.0.0.1:65536"),
        STR_INIT("::1:80"),
        STR_INIT("[::1]"),
        STR_INIT("[127.0.0.1]:80"),
        STR_INIT(":80"),
        STR_INIT("[]:80"),
        STR_INIT("host:80"),
        STR_INIT("*:x"),
        STR_INIT("[:80"),
    };
    struct sockaddr_storage sa;
    socklen_t len;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(sockaddr_parse(bad[i], &sa, &len).code, E_INVALID);
}

static void an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client(void **state)
{
    struct sockaddr_storage sa;
    socklen_t len;
    assert_int_equal(sockaddr_parse(STR("[::ffff:192.0.2.1]:80"), &sa, &len).code, E_OK);
    struct ip ip = ip_of_sockaddr(&sa);
    assert_int_equal(ip.n, 4);
    struct ip_net net;
    assert_int_equal(ip_net_parse(STR("192.0.2.0/24"), &net).code, E_OK);
    assert_true(ip_net_has(&net, ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_contain_their_addresses),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(addresses_with_ports_become_socket_addresses),
        cmocka_unit_test(what_is_no_address_with_port_is_refused),
        cmocka_unit_test(an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
