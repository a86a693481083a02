/* net: what the programs of the benchmark need of sockets and time. All sockets are non-blocking TCP without
 * delay (TCP_NODELAY), of IPv4. What fails ends the program with a sentence on stderr. */
#pragma once

#include <stdint.h>

_Noreturn void net_die(const char *what); /* errno says why */

uint64_t net_now_ns(void); /* monotonic */

/* Listens on all addresses, so that every 127.x.y.z is an address of its own. Port 0 is any that is free,
 * which is printed as a line. */
int net_listen(uint16_t port);
/* The next connection, or -1: there is none. */
int net_accept(int listening);
/* To 127.0.0.1; the connection may not be there yet. */
int net_connect(uint16_t port);
/* Watches for all that happens (edge-triggered), once and for all; thing comes with the event. */
void net_watch(int epoll, int fd, void *thing);
