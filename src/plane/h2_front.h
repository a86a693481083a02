/* h2_front: a client's connection that speaks HTTP/2. Each of its streams is a client of its own, with one
 * request; the connection's struct client keeps the wire, what is counted, and the deadline. */
#pragma once

#include "plane/client.h"

enum h2_preface {
    H2_PREFACE_NONE,
    H2_PREFACE_PART, /* as far as it goes */
    H2_PREFACE_WHOLE
};

/* Do the bytes begin as a client's connection preface (RFC 9113 section 3.4)? There is one at least. */
enum h2_preface h2_front_preface(const char *bytes, size_t count);

/* For the client in CLIENT_HTTP2, whose inlet begins with the preface. NULL: no memory. */
struct h2_front *h2_front_new(struct client *client);
/* The wire has news. */
void h2_front_ready(struct h2_front *front);
/* The client's deadline has come. */
void h2_front_timed_out(struct h2_front *front);
/* Of a client that is a stream of it: is all that was written to the connection with the kernel? */
bool h2_front_is_sent(const struct client *client);
/* The worker stops: the pair of GOAWAY (RFC 9113 section 6.8); what is in flight goes on. */
void h2_front_stop(struct h2_front *front);
/* The connection is being closed: ends every stream. */
void h2_front_close(struct h2_front *front);
