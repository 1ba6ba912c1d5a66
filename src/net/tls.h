/* TLS as a connection uses it. */
#ifndef THURN_NET_TLS_H
#define THURN_NET_TLS_H

#include "net/net.h"

#include <openssl/ssl.h>

/* A server side session on the socket; it keeps what it needs of the certificates. NULL if there
 * is no memory. */
SSL *tls_session_new(struct tls_server *t, int fd);

enum tls_io {
    TLS_DONE,       /* `n` bytes have moved */
    TLS_WANT_READ,  /* first something must come */
    TLS_WANT_WRITE, /* first the socket must have room */
    TLS_END,        /* the peer has ended it */
    TLS_FAILED,
};
enum tls_io tls_handshake(SSL *ssl);
enum tls_io tls_read(SSL *ssl, uint8_t *p, size_t max, size_t *n);
enum tls_io tls_write(SSL *ssl, struct str s, size_t *n);

#endif
