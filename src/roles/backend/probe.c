#include "roles/probe.h"

#include "roles/backend/frontend.h"
#include "roles/backend/session.h"

/* The session opened last, or NULL. */
static struct chan *last_session(const struct backend *b)
{
    struct list *last = b->sessions.prev;
    return last == &b->sessions ? NULL : container_of(last, struct session, link)->chan;
}

void backend_probe_send(struct role *r, struct str channel, uint16_t type)
{
    const struct backend *b = r->self; /* the first member of the role's own structure */
    struct chan *to = NULL;
    if (str_eq(channel, STR("frontend")))
        to = frontends_channel(b);
    else if (str_eq(channel, STR("session")))
        to = last_session(b);
    else if (str_eq(channel, STR("scanner")))
        to = scan_pool_channel(b->scan);
    probe_send_on(r, to, type);
}
