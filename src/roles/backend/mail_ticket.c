#include "roles/backend/mail_ticket.h"

/* Longer than a message takes to come in, shorter than a session that anybody would miss. */
enum { VALID_S = 24 * 60 * 60, UNPACK_BUDGET = 16 * KB, ADDRESS_HASH = 16 };

static bool is_ours(const struct session *s, uint64_t session, uint32_t frontend, int64_t expires)
{
    return session == s->id.v && frontend == s->frontend && expires > clock_wall_s();
}

void mail_login_put(const struct session *s, const struct principal *p, struct buf *out)
{
    Thurn__MailLogin m = THURN__MAIL_LOGIN__INIT;
    m.session = s->id.v;
    m.frontend = s->frontend;
    m.expires = clock_wall_s() + VALID_S;
    m.account = p->account.v;
    m.credential_generation = p->credential_generation;
    seal_pack(&s->b->seal, SEAL_LOGIN, &m.base, out);
}

struct err mail_login_open(const struct session *s, struct str sealed, struct principal *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, UNPACK_BUDGET);
    ProtobufCMessage *unpacked;
    TRY(seal_unpack(&s->b->seal, SEAL_LOGIN, sealed, &thurn__mail_login__descriptor, &a,
                    &unpacked));
    const Thurn__MailLogin *m = (const Thurn__MailLogin *)unpacked;
    if (!is_ours(s, m->session, m->frontend, m->expires))
        return err_make(E_DENIED, "the login of another session, or one that has expired");
    const struct principal p = {{m->account}, m->credential_generation};
    TRY(directory_may_go_on(s->b->directory, &p));
    *out = p;
    return OK;
}

static void address_hash(const Thurn__Mailaddr *address, uint8_t out[ADDRESS_HASH])
{
    uint8_t hash[SHA256_LEN];
    struct buf text CLEANUP(buf_free) = {0};
    buf_put(&text, pb_str(address->local));
    buf_byte(&text, 0);
    buf_put(&text, pb_str(address->domain));
    sha256(buf_str(&text), hash);
    memcpy(out, hash, ADDRESS_HASH);
}

void mail_ticket_put(const struct session *s, const Thurn__Mailaddr *address,
                     const struct directory_target *to, struct buf *out)
{
    uint8_t hash[ADDRESS_HASH];
    address_hash(address, hash);
    Thurn__MailTicket m = THURN__MAIL_TICKET__INIT;
    m.session = s->id.v;
    m.frontend = s->frontend;
    m.expires = clock_wall_s() + VALID_S;
    m.account = to->account.v;
    m.own = pb_bytes(to->address);
    m.detail = pb_bytes(to->detail);
    m.address = pb_bytes(str_of(hash, sizeof hash));
    seal_pack(&s->b->seal, SEAL_RECIPIENT, &m.base, out);
}

bool mail_ticket_open(const struct session *s, struct str sealed, const Thurn__Mailaddr *address,
                      struct arena *a, struct directory_target *out)
{
    uint8_t hash[ADDRESS_HASH];
    ProtobufCMessage *unpacked;
    struct err e = seal_unpack(&s->b->seal, SEAL_RECIPIENT, sealed, &thurn__mail_ticket__descriptor,
                               a, &unpacked);
    if (e.code)
        return false;
    const Thurn__MailTicket *m = (const Thurn__MailTicket *)unpacked;
    address_hash(address, hash);
    if (!is_ours(s, m->session, m->frontend, m->expires) ||
        !str_eq(pb_str(m->address), str_of(hash, sizeof hash)))
        return false;
    *out = (struct directory_target){
        .account = {m->account}, .address = pb_str(m->own), .detail = pb_str(m->detail)};
    return true;
}
