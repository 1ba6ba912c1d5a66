/*
 * The seal on what a frontend keeps for the backend: a session's record, a login, a recipient that
 * was accepted. It travels through the frontend and comes back with it; nothing in it is secret
 * from there, so that a MAC is enough: whoever has the key made it, for this session of this
 * frontend. The key is kept in the store and outlives the backend.
 */
#ifndef THURN_BACKEND_SEAL_H
#define THURN_BACKEND_SEAL_H

#include "directory/directory.h"
#include "rpc/rpc.h"

struct seal_key {
    uint8_t b[DIRECTORY_SECRET];
};
/* Reads the key, or makes it the first time. */
MUST_CHECK struct err seal_key_load(struct directory *d, struct seal_key *out);

/* What a sealed message is for: one cannot stand for another. */
enum seal_purpose { SEAL_SESSION, SEAL_LOGIN, SEAL_RECIPIENT, SEAL_PURPOSES };
/* Adds the MAC and the packed message. Nothing is added if that would be more than RPC_RESUME_MAX
 * bytes. */
void seal_pack(const struct seal_key *key, enum seal_purpose purpose, const ProtobufCMessage *m,
               struct buf *out);
/* Unpacks into the arena what was sealed with this key for this purpose. E_DENIED if it was not,
 * E_LIMIT. */
MUST_CHECK struct err seal_unpack(const struct seal_key *key, enum seal_purpose purpose,
                                  struct str sealed, const ProtobufCMessageDescriptor *type,
                                  struct arena *a, ProtobufCMessage **out);

/* Adds the sealed record: the MAC, then the packed message. Nothing is added if that would be more
 * than RPC_RESUME_MAX bytes. */
void seal_put(const struct seal_key *key, const Thurn__ImapResume *record, struct buf *out);
/* Unpacks into the arena what was sealed with this key. E_DENIED if it was not, E_LIMIT. */
MUST_CHECK struct err seal_open(const struct seal_key *key, struct str sealed, struct arena *a,
                                Thurn__ImapResume **out);
/* Whether it is this session's, brought by the right frontend, and in time (seconds since 1970).
 * E_DENIED. */
MUST_CHECK struct err seal_check(const Thurn__ImapResume *record, session_id session,
                                 uint32_t frontend, int64_t now);

#endif
