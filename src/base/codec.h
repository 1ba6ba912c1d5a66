/* Base64 (RFC 4648), hexadecimal, SHA-256, HMAC: as pure functions on slices. */
#ifndef THURN_BASE_CODEC_H
#define THURN_BASE_CODEC_H

void base64_encode(struct buf *out, struct str in);
/* Strict decoding: alphabet, length and padding must be right (no white space). */
MUST_CHECK struct err base64_decode(struct buf *out, struct str in);
void hex_encode(struct buf *out, struct str in);

enum { SHA256_LEN = 32 };
void sha256(struct str in, uint8_t out[SHA256_LEN]);
/* HMAC-SHA256 (RFC 2104) with a key of at least one byte. */
void hmac_sha256(struct str key, struct str in, uint8_t out[SHA256_LEN]);
/* Whether both are the same, in a time that depends on their lengths only. */
bool same_secret(struct str a, struct str b);
/* The same of bytes that come in pieces. Starts as {0}. */
struct sha256_run {
    void *state; /* OpenSSL's */
};
void sha256_add(struct sha256_run *r, struct str piece);
/* Begins anew from here. */
void sha256_end(struct sha256_run *r, uint8_t out[SHA256_LEN]);
void sha256_free(struct sha256_run *r);

#endif
