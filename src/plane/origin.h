/* origin: where a request comes from, when the connection it came by is a trusted proxy's: the last address
 * in X-Forwarded-For that no trusted proxy has. */
#pragma once

#include "http/request.h"
#include "plane/peer.h"
#include "route/snapshot.h"

/* The peer whose request this is: `peer` itself, or *room, filled with its listener and the address that the
 * trusted proxies in front have told. What stands left of an address that is not trusted, or of something
 * that is no address, was written by anybody and is not looked at. */
const struct peer *origin_of(const struct snapshot *snapshot, const struct http_request *request,
                             const struct peer *peer, struct peer *room);
