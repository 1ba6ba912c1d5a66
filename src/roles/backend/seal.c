#include "roles/backend/seal.h"

static const struct str labels[SEAL_PURPOSES] = {
    [SEAL_SESSION] = STR_INIT("thurn: imap session record 1\n"),
    [SEAL_LOGIN] = STR_INIT("thurn: submission login 1\n"),
    [SEAL_RECIPIENT] = STR_INIT("thurn: accepted recipient 1\n"),
};

struct err seal_key_load(struct directory *d, struct seal_key *out)
{
    return directory_secret(d, STR("sessions"), out->b);
}

static void seal_mac(const struct seal_key *key, enum seal_purpose purpose, struct str packed,
                     uint8_t out[SHA256_LEN])
{
    enum { LABEL_MAX = 64 };
    uint8_t text[LABEL_MAX + RPC_RESUME_MAX];
    struct str label = labels[purpose];
    check(label.n <= LABEL_MAX && packed.n <= RPC_RESUME_MAX);
    memcpy(text, label.p, label.n);
    if (packed.n)
        memcpy(text + label.n, packed.p, packed.n);
    hmac_sha256(str_of(key->b, sizeof key->b), str_of(text, label.n + packed.n), out);
}

void seal_pack(const struct seal_key *key, enum seal_purpose purpose, const ProtobufCMessage *m,
               struct buf *out)
{
    uint8_t mac[SHA256_LEN];
    struct buf packed CLEANUP(buf_free) = {.max = RPC_RESUME_MAX - SHA256_LEN};
    pb_pack(&packed, m);
    if (packed.bad)
        return;
    seal_mac(key, purpose, buf_str(&packed), mac);
    buf_put(out, str_of(mac, sizeof mac));
    buf_put(out, buf_str(&packed));
}

struct err seal_unpack(const struct seal_key *key, enum seal_purpose purpose, struct str sealed,
                       const ProtobufCMessageDescriptor *type, struct arena *a,
                       ProtobufCMessage **out)
{
    uint8_t mac[SHA256_LEN];
    struct str packed = str_skip(sealed, SHA256_LEN);
    if (sealed.n <= SHA256_LEN || sealed.n > RPC_RESUME_MAX)
        return err_make(E_DENIED, "a sealed record of an impossible length");
    seal_mac(key, purpose, packed, mac);
    if (!same_secret(str_sub(sealed, 0, SHA256_LEN), str_of(mac, sizeof mac)))
        return err_make(E_DENIED, "a sealed record that was not made here");
    ProtobufCMessage *m = pb_unpack(a, type, packed);
    if (!m)
        return err_make(E_LIMIT, "no room for a sealed record");
    *out = m;
    return OK;
}

void seal_put(const struct seal_key *key, const Thurn__ImapResume *record, struct buf *out)
{
    seal_pack(key, SEAL_SESSION, &record->base, out);
}

struct err seal_open(const struct seal_key *key, struct str sealed, struct arena *a,
                     Thurn__ImapResume **out)
{
    return seal_unpack(key, SEAL_SESSION, sealed, &thurn__imap_resume__descriptor, a,
                       (ProtobufCMessage **)out);
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
