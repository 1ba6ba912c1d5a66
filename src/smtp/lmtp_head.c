#include "smtp/lmtp_head.h"

enum { LOCAL_SHOWN = 256, NAME_SHOWN = 255, TRACE_SHOWN = 64 };

static bool is_atext(uint8_t c, bool utf8) /* RFC 5322 section 3.2.3, RFC 6532 section 3.2 */
{
    static const struct str others = STR_INIT("!#$%&'*+-/=?^_`{|}~");
    return byte_is_alpha(c) || byte_is_digit(c) || (utf8 && c > 0x7F) ||
           str_find_byte(others, c, 0) < others.n;
}

static bool is_dot_atom(struct str s, bool utf8)
{
    bool dot = true; /* none at the beginning, at the end, or twice */
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? dot : !is_atext(s.p[i], utf8))
            return false;
        dot = s.p[i] == '.';
    }
    return s.n > 0 && !dot;
}

static void put_quoted(struct buf *out, struct str s, bool utf8)
{
    buf_byte(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '"' || c == '\\')
            buf_byte(out, '\\');
        bool plain = (c >= ' ' && c < 0x7F) || (utf8 && c > 0x7F);
        buf_byte(out, plain ? c : '?');
    }
    buf_byte(out, '"');
}

/* A host name or address literal; everything that cannot stand in one becomes '?'. */
static void put_name(struct buf *out, struct str s)
{
    static const struct str others = STR_INIT(".-_:[]");
    s = str_sub(s, 0, NAME_SHOWN);
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool plain = byte_is_alpha(c) || byte_is_digit(c) || str_find_byte(others, c, 0) < others.n;
        buf_byte(out, plain ? c : '?');
    }
}

/* With `utf8` the local part may be of RFC 6531; what is not well-formed becomes '?' all the same.
 */
static void put_address(struct buf *out, const Thurn__Mailaddr *a, bool utf8)
{
    struct str local = a ? str_sub(pb_str(a->local), 0, LOCAL_SHOWN) : (struct str){0};
    struct str domain = a ? pb_str(a->domain) : (struct str){0};
    if (local.n == 0 && domain.n == 0)
        return; /* the null reverse-path */
    utf8 = utf8 && str_is_utf8(local);
    if (is_dot_atom(local, utf8))
        buf_put(out, local);
    else
        put_quoted(out, local, utf8);
    if (domain.n) {
        buf_byte(out, '@');
        put_name(out, domain);
    }
}

/* "from helo ([192.0.2.1])": what the client said, and what is known. */
static void put_from(struct buf *out, struct str helo, struct str peer)
{
    buf_put(out, STR("from "));
    put_name(out, helo.n ? helo : STR("unknown"));
    if (peer.n && !str_eq(peer, STR("-"))) {
        bool six = str_find_byte(peer, ':', 0) < peer.n;
        buf_put(out, six ? STR(" ([IPv6:") : STR(" (["));
        put_name(out, peer);
        buf_put(out, STR("])"));
    }
}

static void put_date(struct buf *out, int64_t now)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)now;
    struct tm tm;
    if (!gmtime_r(&t, &tm))
        return;
    buf_printf(out, "%.3s, %d %.3s %04d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday, tm.tm_mday,
               months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 3848 section 1, RFC 6531 section 4.3: ESMTP, ESMTPSA, UTF8SMTPS and so on. */
static void put_protocol(const struct lmtp_message *m, struct buf *out)
{
    switch (m->request->protocol) {
    case THURN__MAIL_PROTOCOL__MAIL_ESMTP:
        buf_put(out, m->request->smtputf8 ? STR("UTF8SMTP") : STR("ESMTP"));
        buf_put(out, m->tls ? STR("S") : STR(""));
        buf_put(out, m->authenticated ? STR("A") : STR(""));
        break;
    case THURN__MAIL_PROTOCOL__MAIL_SMTP: buf_put(out, STR("SMTP")); break;
    default: buf_put(out, STR("LMTP")); break;
    }
}

/* "(TLSv1.3 TLS_AES_256_GCM_SHA384)" behind the protocol; made of two names, whatever it holds. */
static void put_tls(struct str tls, struct buf *out)
{
    size_t space = str_find_byte(tls, ' ', 0);
    if (!tls.n)
        return;
    buf_put(out, STR(" ("));
    put_name(out, str_sub(tls, 0, space));
    buf_byte(out, ' ');
    put_name(out, str_skip(tls, space + 1));
    buf_byte(out, ')');
}

/* Whether the recipient is the account's own address, or <postmaster> of an account of that name.
 */
static bool is_own(const Thurn__Mailaddr *recipient, struct str own)
{
    struct str local = pb_str(recipient->local), domain = pb_str(recipient->domain);
    size_t at = local.n < own.n && own.p[local.n] == '@' ? local.n : own.n;
    return str_ieq(str_sub(own, 0, at), local) &&
           (!domain.n || str_ieq(str_skip(own, at + 1), domain));
}

/* The account's address, where it is not the recipient. */
static void put_own(struct buf *out, struct str own, bool utf8)
{
    size_t at = own.n;
    while (at > 0 && own.p[at - 1] != '@')
        at--;
    Thurn__Mailaddr a = THURN__MAILADDR__INIT;
    a.local = pb_bytes(str_sub(own, 0, at ? at - 1 : 0));
    a.domain = pb_bytes(str_skip(own, at));
    buf_put(out, STR("Delivered-To: "));
    put_address(out, &a, utf8);
    buf_put(out, STR("\r\n"));
}

void lmtp_head(const struct lmtp_message *m, const struct lmtp_target *to, struct buf *out)
{
    const Thurn__Mailaddr *recipient = m->request->recipients[to->recipient];
    bool utf8 = m->request->smtputf8;
    buf_put(out, STR("Return-Path: <"));
    put_address(out, m->request->sender, utf8);
    buf_put(out, STR(">\r\n"));
    if (to->address.n && !is_own(recipient, to->address))
        put_own(out, to->address, utf8);
    buf_put(out, STR("Delivered-To: "));
    put_address(out, recipient, utf8);
    buf_put(out, STR("\r\nReceived: "));
    put_from(out, pb_str(m->request->helo), m->peer);
    buf_put(out, STR("\r\n\tby "));
    put_name(out, m->hostname);
    buf_put(out, STR(" with "));
    put_protocol(m, out);
    put_tls(pb_str(m->request->tls), out);
    buf_put(out, STR(" id "));
    put_name(out, str_sub(pb_str(m->request->trace), 0, TRACE_SHOWN));
    buf_put(out, STR("\r\n\tfor <"));
    put_address(out, recipient, utf8);
    buf_put(out, STR(">; "));
    put_date(out, m->now);
    buf_put(out, STR("\r\n"));
}
