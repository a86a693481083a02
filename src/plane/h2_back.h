/* h2_back: connections to an instance that speak HTTP/2, each shared by as many requests as the instance
 * allows. A request's lease is a struct connection whose stream is one stream of such a connection;
 * upstream.c lends and takes it back as any other. */
#pragma once

#include "plane/connection.h"
#include "plane/h2_stream.h"

/* A stream of a connection that has room, or of a new one; connecting, or lent at once. NULL with errno:
 * EPROTONOSUPPORT: a tunnel is wanted, and the instance does not offer any. */
struct connection *h2_back_lend(struct upstream *upstream, const struct snapshot_instance *instance,
                                const struct lending *lending);
/* As connection_check. */
int h2_back_check(const struct connection *connection);
/* Was the request not looked at (RFC 9113 section 8.7)? It may be sent again, whatever its method. */
bool h2_back_was_refused(const struct connection *connection);
/* And over a connection that has brought no answer yet, and was not full? */
bool h2_back_refuses_all(const struct connection *connection);
/* Did it break because of what the instance had sent, or because there was no memory for that? */
enum h2_fault h2_back_fault(const struct connection *connection);
/* Ends the stream. Its connection stays `keep_ms` when it has no other. */
void h2_back_release(struct connection *connection, uint32_t keep_ms, bool reset);
/* No new requests come here: what is idle is closed, the rest when it is. */
void h2_back_retire(struct upstream *upstream);
