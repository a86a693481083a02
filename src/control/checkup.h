/* checkup: one check of one instance: does it accept a connection, is it who it should be by TLS, and does it
 * answer a GET well? */
#pragma once

#include "io/behalf.h"
#include "io/loop.h"
#include "io/tls_context.h"

#include <sys/socket.h>

enum checkup_result {
    CHECKUP_PASSED,
    CHECKUP_FAILED,
    CHECKUP_UNDECIDED /* this process has no descriptor or memory left: that says nothing of the instance */
};

/* Everything is copied. */
struct checkup_order {
    const struct behalf *behalf; /* who connects for requests; NULL: this process. Outlives the check */
    struct sockaddr_storage address;
    socklen_t length;
    const char *path;        /* "": to connect, and to shake hands, is all; else what begins with '/' */
    const char *host;        /* for the Host field */
    bool https;              /* what the field X-Forwarded-Proto says */
    bool h2;                 /* the instance speaks HTTP/2 */
    unsigned proxy_protocol; /* version of the header that says that this is only a check; 0: none */
    struct tls_context *tls; /* NULL: no TLS; of HTTP/2 by ALPN exactly if h2 */
    struct str server_name;  /* as tls_connect takes it; empty: none */
    uint64_t timeout_ms;
    /* `why` is the half sentence that follows the instance's name in a failure ("does not accept a
     * connection: ..."), else "". Called once, never from inside checkup_start. */
    void (*done)(void *arg, enum checkup_result result, const char *why);
    void *arg;
};

struct checkup;

/* A GET passes with a final status from 200 to 399 within timeout_ms; the body is not looked at. Each check
 * is a whole handshake, since a session that is resumed would say nothing of the certificate. */
struct checkup *checkup_start(struct loop *loop, const struct checkup_order *order);
/* done is not called any more. Only before it was. */
void checkup_cancel(struct checkup *checkup);
