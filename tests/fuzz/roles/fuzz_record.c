/* A session's record. Nothing that was not sealed is taken; what is in a sealed one, whatever it
 * is, makes a session or is refused. */
#include "base/base.h"

#include "imap/imap_service.h"
#include "roles/backend/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct seal_key key = {{1, 2, 3, 4, 5, 6, 7, 8}};

static void goes_on(const Thurn__ImapResume *record)
{
    static const struct imap_host host = {.slice_us = 5000};
    struct imap_session *s = imap_session_new(&host, NULL, false);
    struct err e = imap_session_resume(s, record);
    if (e.code == E_OK)
        check(imap_session_account(s).v == record->account && record->account != 0);
    imap_session_free(s);
}

static void comes_back(const Thurn__ImapResume *record)
{
    struct buf sealed CLEANUP(buf_free) = {0};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 64 * 1024);
    Thurn__ImapResume *again;
    seal_put(&key, record, &sealed);
    if (sealed.n <= SHA256_LEN)
        return; /* too large, or nothing in it */
    check(sealed.n <= RPC_RESUME_MAX);
    struct err e = seal_open(&key, buf_str(&sealed), &a, &again);
    check(e.code == E_OK || e.code == E_LIMIT);
    if (e.code == E_OK)
        check(again->session == record->session && again->n_recent == record->n_recent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapResume *r;
    check(seal_open(&key, str_of(data, n), &a, &r).code != E_OK);
    r = (void *)pb_unpack(&a, &thurn__imap_resume__descriptor, str_of(data, n));
    if (!r)
        return 0;
    goes_on(r);
    comes_back(r);
    return 0;
}
