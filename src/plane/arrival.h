/* arrival: who a client is that has just been accepted: the one whom the listener saw, or the one for whom a
 * proxy in front speaks, with a PROXY header (the PROXY protocol's specification, versions 1 and 2). */
#pragma once

#include "http/http.h"
#include "plane/ends.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct listener_entry;
struct peer;

struct client_arrival {
    const struct listener_entry *entry;
    int fd;
    uint8_t address[16]; /* IPv4-mapped */
    uint16_t port;
    bool counted; /* by the address */
    bool proxied; /* begins with a PROXY header */
};

/* Tells the peer, which is all zero, whom the listener saw. */
void arrival_introduce(struct peer *peer, const struct client_arrival *arrival);

/* Reads on in the PROXY header, of which nothing is taken off the stream before it is whole, and nothing that
 * follows it ever. HTTP_DONE: the client is the one whom the header tells of, counted by its address;
 * HTTP_MORE: more is needed; HTTP_BAD: the client is to be closed, for the reason in `why`; where that is
 * NULL, there is nothing to tell. */
enum http_result arrival_read(struct client *client, const struct end **why);
