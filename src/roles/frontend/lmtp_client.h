/* A client that speaks LMTP: its structure, and what its files have in common. */
#ifndef THURN_FRONTEND_LMTP_CLIENT_H
#define THURN_FRONTEND_LMTP_CLIENT_H

#include "roles/frontend/body.h"
#include "roles/frontend/frontend.h"
#include "smtp/lmtp_wire.h"

/* From MAIL to the end of the message. */
struct lmtp_transaction {
    struct arena arena; /* addresses; its budget keeps the envelope within its frame */
    bool open;
    bool broken; /* the backend that accepted the recipients is gone: nothing can be delivered */
    Thurn__Mailaddr sender;
    Thurn__Mailaddr **recipients; /* accepted */
    size_t n, cap;
    Thurn__Mailaddr *pending; /* being asked about */
};

struct lmtp_client {
    struct client c;
    struct smtp_lines lines;
    struct smtp_data data;
    struct lmtp_transaction tx;
    struct body body;
    bool greeted;
    size_t n_helo;
    uint8_t helo[SMTP_DOMAIN_MAX];
};

static inline struct lmtp_client *lmtp_client(struct client *c)
{
    return container_of(c, struct lmtp_client, c);
}

/* One line: "250 2.1.0 text". */
void lmtp_reply(struct lmtp_client *l, unsigned code, const char *enhanced, const char *text);
/* The next command. */
bool lmtp_step_command(struct client *c);
/* Forgets the transaction, accepted recipients and message included. */
void lmtp_reset(struct lmtp_client *l);

/* lmtp_data.c: begins to receive the message (354 is said); has delivered what came (the answer of
 * the backend); its channel is gone while it was delivering. */
void lmtp_data_begin(struct lmtp_client *l);
void lmtp_data_delivered(struct lmtp_client *l, const Thurn__LmtpDeliverAnswer *answer);
void lmtp_data_lost(struct lmtp_client *l);

/* lmtp_reply.c: what a client is told for a status of the backend other than DONE. */
struct smtp_reply lmtp_reply_of(Thurn__Code code);

#endif
