#include "backend_letters.h"

const struct str none = {NULL, 0};
const struct str letter = STR_INIT("Subject: hello\r\n\r\nA letter.\r\n");

Thurn__Mailaddr mailaddr(const char *local)
{
    Thurn__Mailaddr a = THURN__MAILADDR__INIT;
    a.local = pb_bytes(str_c(local));
    a.domain = pb_bytes(STR("example.test"));
    return a;
}

void send_recipient(struct end *lmtp, const char *local)
{
    Thurn__Mailaddr a = mailaddr(local);
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = &a;
    rig_send(lmtp, RPC_LMTP_RECIPIENT, &m, none, -1);
}

Thurn__Code ask_recipient(struct end *lmtp, const char *local)
{
    send_recipient(lmtp, local);
    struct frame *f = rig_expect(lmtp, RPC_LMTP_RECIPIENT_ANSWER);
    Thurn__Code code = ((const Thurn__LmtpRecipientAnswer *)f->message)->status->code;
    frame_free(f);
    return code;
}

struct str trace;

void send_delivery(struct end *lmtp, const char *const *locals, size_t n, struct str text, int fd)
{
    Thurn__Mailaddr addresses[8], *pointers[8];
    for (size_t i = 0; i < n; i++) {
        addresses[i] = mailaddr(locals[i]);
        pointers[i] = &addresses[i];
    }
    Thurn__Mailaddr sender = mailaddr("sender");
    uint8_t id[16];
    random_bytes(id, sizeof id);
    Thurn__LmtpDeliver m = THURN__LMTP_DELIVER__INIT;
    m.delivery = pb_bytes(str_of(id, sizeof id));
    m.trace = pb_bytes(trace);
    m.sender = &sender;
    m.recipients = pointers;
    m.n_recipients = n;
    m.size = text.n;
    rig_send(lmtp, RPC_LMTP_DELIVER, &m, fd < 0 ? text : none, fd);
}

Thurn__Code delivered(struct end *lmtp, size_t n)
{
    struct frame *f = rig_expect(lmtp, RPC_LMTP_DELIVER_ANSWER);
    const Thurn__LmtpDeliverAnswer *m = (const Thurn__LmtpDeliverAnswer *)f->message;
    assert_int_equal(m->n_recipients, n);
    Thurn__Code code = m->recipients[0]->code;
    for (size_t i = 1; i < n; i++)
        assert_int_equal(m->recipients[i]->code, code);
    frame_free(f);
    return code;
}

const char *const alice_only[] = {"alice"};

void send_to_alice(struct end *lmtp)
{
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, letter, -1);
}

bool one_seen(void *arg)
{
    const struct rig *r = arg;
    return r->scanners[0].seen == 1;
}
