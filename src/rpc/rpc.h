/*
 * rpc: the one table of everything that roles can say to one another.
 *
 * A row: number (never reused), name, message of proto/rpc.proto, largest typed part in bytes,
 * largest raw part in bytes, whether a descriptor may go with it. Who may say what, and when,
 * is in the tables of the owners (struct chan_rule).
 */
#ifndef THURN_RPC_H
#define THURN_RPC_H

#include "net/net.h"
#include "rpc/columns.h"
#include "rpc.pb-c.h"
#include "store.pb-c.h"

#define KB 1024
/* clang-format off */
#define RPC_FRAMES(X)                                                              \
    /* supervisor and roles */                                                     \
    X(1,   ROLE_START,            role_start,             64 * KB, 0, 0)           \
    X(2,   LISTENER,              listener,               1 * KB,  0, 1)           \
    X(3,   CERTIFICATE,           certificate,            64 * KB, 0, 0)           \
    X(4,   PEER,                  peer,                   1 * KB,  0, 1)           \
    X(5,   ROLE_GO,               role_go,                1 * KB,  0, 0)           \
    X(6,   ROLE_READY,            role_ready,             1 * KB,  0, 0)           \
    X(7,   ROLE_RELOAD,           role_reload,            64 * KB, 0, 0)           \
    X(8,   ROLE_STOP,             role_stop,              1 * KB,  0, 0)           \
    X(9,   SCANNER_RETIRE,        scanner_retire,         4 * KB,  0, 0)           \
    X(10,  PROBE,                 probe,                  4 * KB,  0, 0)           \
    X(11,  PROBE_RESULT,          probe_result,           4 * KB,  0, 0)           \
    X(12,  ROLE_PING,             role_ping,              1 * KB,  0, 0)           \
    X(13,  ROLE_ALIVE,            role_alive,             1 * KB,  0, 0)           \
    /* command line */                                                             \
    X(20,  CONTROL_RELOAD,        control_reload,         1 * KB,  0, 0)           \
    X(21,  CONTROL_RESTART,       control_restart,        1 * KB,  0, 0)           \
    X(22,  CONTROL_STATUS,        control_status,         1 * KB,  0, 0)           \
    X(23,  CONTROL_PROBE,         control_probe,          4 * KB,  0, 0)           \
    X(24,  CONTROL_ANSWER,        control_answer,         64 * KB, 0, 0)           \
    X(30,  ADMIN_DOMAIN_ADD,      admin_domain_add,       2 * KB,  0, 0)           \
    X(31,  ADMIN_DOMAIN_REMOVE,   admin_domain_remove,    2 * KB,  0, 0)           \
    X(32,  ADMIN_DOMAIN_LIST,     admin_domain_list,      1 * KB,  0, 0)           \
    X(33,  ADMIN_ACCOUNT_ADD,     admin_account_add,      4 * KB,  0, 0)           \
    X(34,  ADMIN_ACCOUNT_REMOVE,  admin_account_remove,   2 * KB,  0, 0)           \
    X(35,  ADMIN_ACCOUNT_LIST,    admin_account_list,     2 * KB,  0, 0)           \
    X(36,  ADMIN_ACCOUNT_PASSWORD, admin_account_password, 4 * KB, 0, 0)           \
    X(37,  ADMIN_ANSWER,          admin_answer,           256 * KB, 0, 0)          \
    X(38,  ADMIN_DOMAIN_ALIAS,    admin_domain_alias,     2 * KB,  0, 0)           \
    X(39,  ADMIN_DOMAIN_SET,      admin_domain_set,       4 * KB,  0, 0)           \
    X(40,  ADMIN_ACCOUNT_SET,     admin_account_set,      2 * KB,  0, 0)           \
    X(41,  ADMIN_ACCOUNT_SHOW,    admin_account_show,     2 * KB,  0, 0)           \
    X(42,  ADMIN_ACCOUNT_LOCK,    admin_account_lock,     4 * KB,  0, 0)           \
    X(43,  ADMIN_ACCOUNT_UNLOCK,  admin_account_unlock,   2 * KB,  0, 0)           \
    X(44,  ADMIN_ACCOUNT_LOGOUT,  admin_account_logout,   2 * KB,  0, 0)           \
    X(45,  ADMIN_ALIAS_ADD,       admin_alias_add,        128 * KB, 0, 0)          \
    X(46,  ADMIN_ALIAS_REMOVE,    admin_alias_remove,     128 * KB, 0, 0)          \
    X(47,  ADMIN_ALIAS_LIST,      admin_alias_list,       2 * KB,  0, 0)           \
    /* frontend and backend */                                                     \
    X(50,  SESSION_OPEN,          session_open,           2 * KB,  0, 1)           \
    X(51,  SESSION_WATCH,         session_watch,          256 * KB, 0, 0)          \
    X(52,  SESSION_UNWATCH,       session_unwatch,        64 * KB, 0, 0)           \
    X(53,  SESSION_POKE,          session_poke,           64 * KB, 0, 0)           \
    X(54,  BACKEND_SERVES,        backend_serves,         1 * KB,  0, 0)           \
    X(60,  IMAP_QUOTA,            imap_quota,             8 * KB,  0, 0)           \
    X(61,  IMAP_APPEND_CHECK,     imap_append_check,      8 * KB,  0, 0)           \
    X(80,  LMTP_RECIPIENT,        lmtp_recipient,         2 * KB,  0, 0)           \
    X(81,  LMTP_RECIPIENT_ANSWER, lmtp_recipient_answer,  2 * KB,  0, 0)           \
    X(82,  LMTP_DELIVER,          lmtp_deliver,           512 * KB, 64 * KB, 1)    \
    X(83,  LMTP_DELIVER_ANSWER,   lmtp_deliver_answer,    256 * KB, 0, 0)          \
    X(84,  SMTP_LOGIN,            smtp_login,             4 * KB,  0, 0)           \
    X(85,  SMTP_LOGIN_ANSWER,     smtp_login_answer,      1 * KB,  0, 0)           \
    X(100, IMAP_LOGIN,            imap_login,             4 * KB,  0, 0)           \
    X(101, IMAP_SELECT,           imap_select,            8 * KB,  0, 0)           \
    X(102, IMAP_CLOSE,            imap_close,             1 * KB,  0, 0)           \
    X(103, IMAP_CREATE,           imap_create,            8 * KB,  0, 0)           \
    X(104, IMAP_DELETE,           imap_delete,            8 * KB,  0, 0)           \
    X(105, IMAP_RENAME,           imap_rename,            16 * KB, 0, 0)           \
    X(106, IMAP_SUBSCRIBE,        imap_subscribe,         8 * KB,  0, 0)           \
    X(107, IMAP_LIST,             imap_list,              32 * KB, 0, 0)           \
    X(108, IMAP_STATUS,           imap_status,            8 * KB,  0, 0)           \
    X(109, IMAP_APPEND,           imap_append,            256 * KB, 64 * KB, 1)    \
    X(110, IMAP_NOOP,             imap_noop,              1 * KB,  0, 0)           \
    X(111, IMAP_EXPUNGE,          imap_expunge,           128 * KB, 0, 0)          \
    X(112, IMAP_SEARCH,           imap_search,            256 * KB, 0, 0)          \
    X(113, IMAP_FETCH,            imap_fetch,             256 * KB, 0, 0)          \
    X(114, IMAP_STORE,            imap_store,             128 * KB, 0, 0)          \
    X(115, IMAP_COPY,             imap_copy,              128 * KB, 0, 0)          \
    X(117, IMAP_ENABLE,           imap_enable,            1 * KB,  0, 0)           \
    X(118, IMAP_BYE,              imap_bye,               1 * KB,  0, 0)           \
    X(130, IMAP_UPDATES,          imap_updates,           512 * KB, 0, 0)          \
    X(131, IMAP_ROWS,             imap_rows,              512 * KB, FRAME_RAW_MAX, 0) \
    X(132, IMAP_BYTES,            imap_bytes,             1 * KB,  FRAME_RAW_MAX, 0) \
    X(133, IMAP_MAILBOXES,        imap_mailboxes,         128 * KB, 0, 0)          \
    X(134, IMAP_NUMBERS,          imap_numbers,           512 * KB, 0, 0)          \
    X(135, IMAP_DONE,             imap_done,              512 * KB, 0, 0)          \
    /* owner and scanner */                                                        \
    X(200, SCAN_PARSE,            scan_parse,             1 * KB,  64 * KB, 1)     \
    X(201, SCAN_PARSED,           scan_parsed,            4096 * KB, FRAME_RAW_MAX, 1)
/* clang-format on */

enum rpc_frame {
#define RPC_NUMBER(number, NAME, name, typed, raw, fd) RPC_##NAME = number,
    RPC_FRAMES(RPC_NUMBER)
#undef RPC_NUMBER
};

/* The most that a sealed ImapResume takes. */
enum { RPC_RESUME_MAX = 1024 };

extern const struct frame_table rpc_table;

/* What one APPEND may bring (RFC 3502): messages, and bytes of all together: any two that are taken
 * one by one are taken together too. */
enum { RPC_APPEND_MESSAGES = 1000 };
static inline uint64_t rpc_append_limit(uint64_t message_limit)
{
    return MIN(message_limit, (uint64_t)UINT32_MAX / 2) * 2;
}
/* The number of Email.fields, which is passed over by who needs structure and envelope only. */
enum { EMAIL_FIELDS = 4 };

/* A bytes field that borrows a slice; the slice must outlive the message. */
static inline ProtobufCBinaryData pb_bytes(struct str s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}
/* The slice of a bytes field; valid as long as the message. */
static inline struct str pb_str(ProtobufCBinaryData b)
{
    return str_of(b.data, b.len);
}
/* Packs a message at the end of the buffer. */
void pb_pack(struct buf *out, const ProtobufCMessage *m);
/* Unpacks into the arena, within its budget; NULL if it is malformed or too large. Never freed
 * by itself: it goes with the arena. */
MUST_CHECK ProtobufCMessage *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type,
                                       struct str packed);
/* The code that a client is told for an error of our own. */
Thurn__Code rpc_code(struct err e);
/* A status for an answer; the text is a literal. */
#define RPC_STATUS(status_code, lit)                                                               \
    ((Thurn__Status){PROTOBUF_C_MESSAGE_INIT(&thurn__status__descriptor), .code = (status_code),   \
                     .text = pb_bytes(STR(lit))})

#endif
