/* SASL messages into typed fields. */
#include "imap/wire/wire.h"

/* RFC 4616: [authzid] NUL authcid NUL passwd */
struct err imap_parse_plain(struct str base64, struct arena *a, Thurn__ImapLogin **out)
{
    CLEANUP(buf_free) struct buf message = {0};
    TRY(base64_decode(&message, base64));
    struct str kept = str_dup(a, buf_str(&message));
    if (message.p)
        explicit_bzero(message.p, message.cap);
    Thurn__ImapLogin *login = arena_new(a, Thurn__ImapLogin);
    if (!login || kept.n != message.n)
        return err_make(E_LIMIT, "no room for the credentials");
    struct cur c = cur_of(kept);
    struct str as = cur_until(&c, 0), user = cur_until(&c, 0), password = cur_rest(&c);
    TRY(cur_err(&c));
    if (user.n == 0 || str_find_byte(password, 0, 0) < password.n)
        return err_make(E_INVALID, "malformed SASL PLAIN message");
    if (as.n && !str_eq(as, user))
        return err_make(E_DENIED, "another authorization identity is not supported");
    thurn__imap_login__init(login);
    login->user = pb_bytes(user);
    login->password = pb_bytes(password);
    *out = login;
    return OK;
}
