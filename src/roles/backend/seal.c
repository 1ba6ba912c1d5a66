#include "roles/backend/seal.h"

/* What is sealed is told apart from whatever else the key may be used for one day. */
static const struct str label = STR_INIT("thurn: imap session record 1\n");

struct err seal_key_load(struct directory *d, struct seal_key *out)
{
    return directory_secret(d, STR("sessions"), out->b);
}

static void seal_mac(const struct seal_key *key, struct str packed, uint8_t out[SHA256_LEN])
{
    uint8_t text[sizeof "thurn: imap session record 1\n" + RPC_RESUME_MAX];
    check(packed.n <= RPC_RESUME_MAX);
    memcpy(text, label.p, label.n);
    if (packed.n)
        memcpy(text + label.n, packed.p, packed.n);
    hmac_sha256(str_of(key->b, sizeof key->b), str_of(text, label.n + packed.n), out);
}

void seal_put(const struct seal_key *key, const Thurn__ImapResume *record, struct buf *out)
{
    uint8_t mac[SHA256_LEN];
    struct buf packed CLEANUP(buf_free) = {.max = RPC_RESUME_MAX - SHA256_LEN};
    pb_pack(&packed, &record->base);
    if (packed.bad)
        return;
    seal_mac(key, buf_str(&packed), mac);
    buf_put(out, str_of(mac, sizeof mac));
    buf_put(out, buf_str(&packed));
}

struct err seal_open(const struct seal_key *key, struct str sealed, struct arena *a,
                     Thurn__ImapResume **out)
{
    uint8_t mac[SHA256_LEN];
    struct str packed = str_skip(sealed, SHA256_LEN);
    if (sealed.n <= SHA256_LEN || sealed.n > RPC_RESUME_MAX)
        return err_make(E_DENIED, "a session's record of an impossible length");
    seal_mac(key, packed, mac);
    if (!same_secret(str_sub(sealed, 0, SHA256_LEN), str_of(mac, sizeof mac)))
        return err_make(E_DENIED, "a session's record that was not made here");
    Thurn__ImapResume *r = (void *)pb_unpack(a, &thurn__imap_resume__descriptor, packed);
    if (!r)
        return err_make(E_LIMIT, "no room for a session's record");
    *out = r;
    return OK;
}

struct err seal_check(const Thurn__ImapResume *record, session_id session, uint32_t frontend,
                      int64_t now)
{
    if (record->session != session.v || record->frontend != frontend)
        return err_make(E_DENIED, "the record of another session");
    if (record->expires <= now)
        return err_make(E_DENIED, "a session's record that has expired");
    return OK;
}
