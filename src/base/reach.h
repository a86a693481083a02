/* reach: does a connection to an address arrive at a socket that listens on this machine? */
#pragma once

#include "base/address.h"

/* Is the socket that listens on `listening` the one that a connection to `target` comes to? All addresses of
 * a family (0.0.0.0, [::]) are reached by every one of that family that this machine has now. Of Unix sockets
 * the same text is the same socket. A name reaches nothing: it must be resolved before. */
bool reach_arrives(const struct address *target, const struct address *listening);
