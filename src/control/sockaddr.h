/* sockaddr: "IP:PORT" or "unix:PATH", as the registry keeps resolved addresses, and what the kernel takes. */
#pragma once

#include "base/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* Fills the address; returns its length. A text that is no such address stops the process: the
 * registry holds no other. */
socklen_t sockaddr_of(const char *resolved, struct sockaddr_storage *address);
/* The same from an address that is no name. */
socklen_t sockaddr_from(const struct address *parsed, struct sockaddr_storage *address);
/* The text, to be freed; NULL for a socket of another kind. */
char *sockaddr_text(const struct sockaddr_storage *address);
/* The same of what a socket of TCP is bound to, such as "127.0.0.1:41234"; NULL where it is none of TCP. */
char *sockaddr_bound(int fd);
/* As sockaddr_text, of an address that is connected to: one text where two addresses lead to one place, such
 * as 0.0.0.0 and 127.0.0.1, or that in the clothes of IPv6, or a socket by two names of its folder. */
char *sockaddr_target(const struct sockaddr_storage *address);
/* For who reads of an instance that was written as a name: " (10.0.0.5:8001)", where it is; else "". To be
 * freed. */
char *sockaddr_behind_name(const char *written, const char *resolved);
/* Is it one port, of one IP address or of one and all of its family, so that nobody can listen on both? */
bool sockaddr_overlaps(const struct sockaddr_storage *a, const struct sockaddr_storage *b);
/* As sockaddr_text, in its one spelling, of an address as it was written; NULL for a name. */
char *sockaddr_plain(const struct address *parsed);
