/* Deliveries to the backend, as a frontend asks for them. */
#ifndef THURN_TESTS_BACKEND_LETTERS_H
#define THURN_TESTS_BACKEND_LETTERS_H

#include "test_backend_rig.h"

extern const struct str none;
extern const struct str letter; /* a small message */
extern struct str trace;        /* of the deliveries to come */
extern const char *const alice_only[1];

/* In example.test. */
Thurn__Mailaddr mailaddr(const char *local);
void send_recipient(struct end *lmtp, const char *local);
Thurn__Code ask_recipient(struct end *lmtp, const char *local);
/* `fd`: the sealed memory that holds the text, or -1. */
void send_delivery(struct end *lmtp, const char *const *locals, size_t n, struct str text, int fd);
/* The codes of all recipients, which must be the same. */
Thurn__Code delivered(struct end *lmtp, size_t n);
/* Asks for alice and sends her the letter. */
void send_to_alice(struct end *lmtp);
/* Whether the first scanner of a rig has got one message. */
bool one_seen(void *arg);

#endif
