/*
 * One type per kind of number, so that a UID cannot be passed where a sequence number is wanted.
 */
#ifndef THURN_BASE_IDS_H
#define THURN_BASE_IDS_H

typedef struct { uint64_t v; } account_id;  /* never reused; 0 is none, 1 is the system's own */
typedef struct { uint32_t v; } mailbox_id;  /* within its account; outlives renames; 0 is none */
typedef struct { uint64_t v; } email_id;    /* within its account, in order of arrival; from 1 */
typedef struct { uint64_t v; } body_id;     /* within its account; from 1; 0 is none */
typedef struct { uint32_t v; } msg_uid;     /* UID, RFC 3501 section 2.3.1.1; from 1 */
typedef struct { uint32_t v; } msg_seq;     /* message sequence number, section 2.3.1.2; from 1 */
typedef struct { uint64_t v; } modseq;      /* RFC 7162; one space per account, from 1 */
typedef struct { uint64_t v; } session_id;  /* a client's session, random, never 0 */
typedef struct { uint8_t b[16]; } change_id; /* names one changing request; random */

#endif
