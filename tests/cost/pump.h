/* pump: a client's end of TLS, for who only knows plain sockets: a thread of its own that moves bytes between
 * the two, so what a tool counts of other threads has no part of it. */
#pragma once

#include <stdbool.h>

/* Shakes hands over fd (whose owner it becomes), with TLS 1.3 and ALPN h2 or http/1.1; the certificate is
 * whatever it is. Returns the plain end, a socket; once that is closed, the thread closes fd and ends. */
int pump_start(int fd, bool h2);
