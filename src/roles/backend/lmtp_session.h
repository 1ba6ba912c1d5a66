/* A session that brings mail, and its deliveries. Private to both. */
#ifndef THURN_BACKEND_LMTP_SESSION_H
#define THURN_BACKEND_LMTP_SESSION_H

#include "roles/backend/session.h"
#include "smtp/lmtp_service.h"

/* A recipient that was accepted. */
struct accepted {
    struct list link;
    account_id account; /* {0}: it leads to several, which the delivery looks up again */
    size_t local_n, domain_n, own_n, detail_n;
    uint8_t text[]; /* local part, domain; the account's address, the detail */
};

struct lmtp_session {
    struct session s;
    struct list accepted; /* since the last delivery, oldest first */
    size_t n_accepted;
    /* The recipient that is being looked at. */
    struct frame *asking;
    struct arena asking_arena;
    struct lmtp_route asked;
    Thurn__Status asked_status;
    struct job asking_route;
    struct writer asking_quota;
    struct frame *login_request;
    bool logged_in;
};

/* NULL if it was not accepted. */
const struct accepted *accepted_find(const struct lmtp_session *l, const Thurn__Mailaddr *address);
/* Takes those recipients for accepted too for which there is a ticket: of the backend before. */
void accepted_elsewhere(struct lmtp_session *l, const Thurn__LmtpDeliver *m);
void accepted_forget(struct lmtp_session *l);
void lmtp_answer(struct session *s, uint16_t type, uint32_t serial, const ProtobufCMessage *m);

/* Takes a request to deliver. Ended by session_end. Loop's thread. */
void delivery_begin(struct lmtp_session *l, struct frame *f);

#endif
