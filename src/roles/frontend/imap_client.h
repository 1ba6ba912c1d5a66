/* A client that speaks IMAP: its structure, and what its files have in common. */
#ifndef THURN_FRONTEND_IMAP_CLIENT_H
#define THURN_FRONTEND_IMAP_CLIENT_H

#include "imap/imap_wire.h"
#include "roles/frontend/frontend.h"

struct imap_client {
    struct client c;
    struct imap_parser parser;
    enum imap_state state;
    struct arena arena;           /* of the command */
    struct imap_command cmd;      /* being worked on; its slices are in the arena */
    struct imap_view_names names; /* keywords of the selected mailbox */
    struct imap_fetch_printer *printer;
    struct imap_numbers numbers; /* the one line of SEARCH results */
    struct map listed;           /* names that LIST has shown, while it runs */
    struct str record;           /* of the session, sealed, as last told; malloc'd */
    struct str idle_tag;         /* malloc'd: an idle client has no arena */
    struct str raw;              /* what goes with the request: in `body` */
    int raw_fd;
    bool identified;       /* ID has been logged */
    bool selected_told;    /* SELECT with what has changed since */
    bool idle_over;        /* the client has ended IDLE */
    bool idle_bad;         /* with something other than DONE */
    uint64_t idle_since;   /* clock_mono_us */
    uint64_t append_left;  /* bytes of the literal still to come */
    bool append_cancelled; /* by an empty message */
    bool append_asking;    /* whether the next message may come */
    Thurn__ImapAppendCheck append_check;
    struct body body; /* all messages of an APPEND */
};

static inline struct imap_client *imap_client(struct client *c)
{
    return container_of(c, struct imap_client, c);
}

/* The next command. */
bool imap_step_command(struct client *c);
/* Ends the command with its tagged line: "A1 OK [code] text"; `word` is "OK" or "NO [code]". */
void imap_finish(struct imap_client *i, struct str word, struct str text);
/* The same with BAD, which counts. */
void imap_finish_bad(struct imap_client *i, const char *text);
/* The same for what the parser refuses; ends the connection where it cannot follow any further. */
void imap_finish_refused(struct imap_client *i, const struct imap_parsed *p);
/* Sends the command's request to the backend; its answers end the command. */
void imap_forward(struct imap_client *i, struct str raw, int fd);
/* Asks it, the first time or again. */
void imap_ask(struct imap_client *i);
/* The name of a changing request, by which the backend knows it if it is repeated; NULL: of a
 * request that changes nothing. */
ProtobufCBinaryData *imap_change(const struct imap_client *i);
/* Whether LOGIN and AUTHENTICATE are permitted on this connection. */
bool imap_may_login(const struct imap_client *i);
/* "CAPABILITY ..." for the state it is in. */
void imap_put_capability(struct imap_client *i, struct buf *out);
/* The backend is gone, or does not do what it should; it ends the command or the connection. */
void imap_lost(struct client *c);

/* imap_login.c */
void imap_login(struct imap_client *i);
void imap_authenticate(struct imap_client *i);
void imap_starttls(struct imap_client *i);
/* The backend's verdict. */
void imap_login_done(struct imap_client *i, const Thurn__ImapDone *d);

/* imap_append.c: the literal with the first message follows. */
void imap_append(struct imap_client *i, const struct imap_parsed *p);
/* Asks the backend whether there is room for the message that the client has announced. */
void imap_append_ask(struct imap_client *i);
/* The backend lets the client send the message that it has announced. */
void imap_append_permitted(struct imap_client *i);

/* imap_self.c: what the frontend answers by itself. */
void imap_capability(struct imap_client *i);
void imap_logout(struct imap_client *i);
void imap_namespace(struct imap_client *i);
void imap_id(struct imap_client *i);
void imap_compress(struct imap_client *i);
void imap_setquota(struct imap_client *i);

/* Whether the client idles. */
static inline bool imap_is_idle(const struct imap_client *i)
{
    return i->idle_tag.n > 0;
}

/* imap_idle.c */
void imap_idle(struct imap_client *i);
/* Asks for news: IDLE has begun, or there are some. */
void imap_idle_ask(struct imap_client *i);
/* All news have been told. */
void imap_idle_told(struct imap_client *i);
void imap_woken(struct client *c);

/* imap_repeat.c: the session goes on at another channel. */
struct str imap_record(const struct client *c);
/* Keeps what a frame brought; nothing leaves it as it was. */
void imap_keep_record(struct imap_client *i, ProtobufCBinaryData sealed);
void imap_repeat(struct client *c);
void imap_give_up(struct client *c);

/* imap_answer.c: a frame of the backend. */
void imap_answer(struct client *c, const struct frame *f);

#endif
