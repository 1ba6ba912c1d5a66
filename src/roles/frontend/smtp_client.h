/*
 * A client that speaks SMTP, message submission or LMTP: its structure, and what its files have in
 * common. What differs between the three stands in its face.
 */
#ifndef THURN_FRONTEND_SMTP_CLIENT_H
#define THURN_FRONTEND_SMTP_CLIENT_H

#include "roles/frontend/frontend.h"
#include "smtp/smtp_wire.h"

struct smtp_client;

struct smtp_face {
    enum smtp_dialect dialect;
    const char *greeting; /* "ESMTP" */
    bool reply_each;      /* LMTP: a message gets one reply for each recipient */
    bool lines_strict;    /* smtp_bare_newline holds */
};

/* From MAIL to the end of the message. */
struct smtp_transaction {
    struct arena arena; /* addresses; its budget keeps the envelope within its frame */
    bool open;
    bool chunked;  /* BDAT has begun */
    bool binary;   /* BODY=BINARYMIME: DATA is not possible */
    bool smtputf8; /* RFC 6531 */
    Thurn__Mailaddr sender;
    Thurn__Mailaddr **recipients; /* accepted */
    ProtobufCBinaryData *tickets; /* their sealed MailTickets */
    size_t n, cap;
    Thurn__Mailaddr *pending; /* being asked about */
    uint8_t delivery[16];     /* its id: the same when it is repeated */
};

/* One chunk of BDAT. */
struct smtp_bdat {
    struct smtp_chunk chunk;
    uint64_t size;
    bool last;
    const char *refused; /* out of order, for this reason: its bytes are dropped */
};

/* A login on its way (RFC 4954). */
struct smtp_login {
    struct arena arena;
    bool wants_password; /* AUTH LOGIN: the user's name is there */
    struct str user, password;
};

/* What the backend is asked: how, again if it has died meanwhile; and what becomes of it if no
 * backend has answered in time. Returns with the next step set. */
struct smtp_request {
    struct err (*ask)(struct smtp_client *s);
    void (*lost)(struct smtp_client *s);
};
extern const struct smtp_request smtp_request_recipient, smtp_request_delivery, smtp_request_login;

struct smtp_client {
    struct client c;
    const struct smtp_request *request; /* in flight, or NULL */
    const struct smtp_face *face;
    struct smtp_lines lines;
    struct smtp_data data;
    struct smtp_newlines newlines;
    struct smtp_bdat bdat;
    struct smtp_transaction tx;
    struct smtp_login login;
    struct body body;
    enum { SMTP_SILENT, SMTP_GREETED, SMTP_EXTENDED } greeted; /* not, with HELO, EHLO or LHLO */
    bool logged_in;
    struct str record; /* the sealed MailLogin, allocated: a login outlives the backend */
    size_t n_helo;
    uint8_t helo[SMTP_DOMAIN_MAX];
};

static inline struct smtp_client *smtp_client(struct client *c)
{
    return container_of(c, struct smtp_client, c);
}

/* smtp_client.c */
/* Forgets the transaction, accepted recipients and message included. */
void smtp_reset(struct smtp_client *s);
/* Asks the backend, and waits for its answer. */
void smtp_ask(struct smtp_client *s, const struct smtp_request *r);
/* Ends the login, if there is one. */
void smtp_log_out(struct smtp_client *s);

/* smtp_command.c: the next command; the backend's answer about a recipient. */
bool smtp_step_command(struct client *c);
void smtp_recipient_answer(struct smtp_client *s, const Thurn__LmtpRecipientAnswer *answer);

/* smtp_data.c: begins to receive the message (354 is said), or a chunk of it; has delivered what
 * came (the answer of the backend). */
void smtp_data_begin(struct smtp_client *s);
void smtp_bdat_begin(struct smtp_client *s, const struct smtp_command *cmd, const char *refused);
void smtp_data_delivered(struct smtp_client *s, const Thurn__LmtpDeliverAnswer *answer);

/* smtp_auth.c */
bool smtp_may_login(const struct smtp_client *s);
bool smtp_may_starttls(const struct smtp_client *s);
void smtp_auth(struct smtp_client *s, const struct smtp_command *cmd);
void smtp_auth_answer(struct smtp_client *s, const Thurn__SmtpLoginAnswer *answer);
void smtp_starttls(struct smtp_client *s, const struct smtp_command *cmd);

/* smtp_reply.c */
/* One line: "250 2.1.0 text". */
void smtp_say(struct smtp_client *s, unsigned code, const char *enhanced, const char *text);
/* The same for what is wrong: counts if it is the client's fault for good. */
void smtp_say_bad(struct smtp_client *s, const struct smtp_reply *r);
void smtp_wrong_order(struct smtp_client *s, const char *text); /* 503 */
/* What a client is told for a status of the backend other than DONE. */
struct smtp_reply smtp_reply_of(Thurn__Code code);

#endif
