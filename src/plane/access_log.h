/* access_log: one line an exchange, as JSON or in Apache's combined format.
 *
 * Lines are gathered in a worker's batch, which is handed on when it is full, a second old, or asked for.
 * Whatever a client sends cannot forge a line or break out of its field. */
#pragma once

#include "base/str.h"
#include "io/loop.h"
#include "route/snapshot.h"

#include <stdint.h>

/* Bytes: in long writes the kernel takes larger pages for a file, which costs it less a line. */
#define ACCESS_LOG_BATCH 262144

struct access_log_batch {
    size_t size;
    char bytes[ACCESS_LOG_BATCH];
};

/* From any thread. NULL: no memory. */
struct access_log_batch *access_log_batch_new(void);
/* The batch, in no more memory than it needs where it is far from full: where little is logged, one of a few
 * lines would else hold that of a full one for as long as it waits. */
struct access_log_batch *access_log_batch_fit(struct access_log_batch *batch);
void access_log_batch_free(struct access_log_batch *batch);

struct access_log_entry {
    struct str client; /* address, as text of upswap's own: nothing in it is escaped */
    struct str host, method, target, user_agent, referer, request_id;
    struct str trace_id; /* empty: it is of no trace */
    uint8_t minor;       /* HTTP/1.minor; of the request */
    bool http2;          /* it came over HTTP/2 */
    uint16_t status;     /* 0: none was sent */
    uint32_t retries;
    uint64_t bytes_in;                  /* of the request, head and body */
    uint64_t bytes_out;                 /* of the response, head and body */
    uint64_t body_out;                  /* of its body alone, for combined */
    uint64_t duration_ns;               /* from the complete head to the last byte, in turns of the worker */
    struct str instance, service, pool; /* empty: none */
    const char *tls_version, *tls_cipher; /* NULL: in plain text */
    struct str reason;                    /* a word; empty: the upstream's answer went through */
};

/* Longer ones are cut, so that a line always fits into a batch. */
#define ACCESS_LOG_TARGET_MAX 4096
#define ACCESS_LOG_TEXT_MAX 1024 /* each other text but the id of the trace */

struct access_log;

/* `hand_on` gets each batch, which is its own then. */
struct access_log *access_log_new(struct loop *loop,
                                  void (*hand_on)(void *arg, struct access_log_batch *batch), void *arg);
/* Hands on what is there. */
void access_log_free(struct access_log *log);

/* Texts that are too long are cut in the entry, too. */
void access_log_write(struct access_log *log, enum snapshot_access_log format,
                      struct access_log_entry *entry);
void access_log_flush(struct access_log *log);
