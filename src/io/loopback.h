/* loopback: TCP between processes of one machine. */
#pragma once

struct sockaddr;

/* The TCP socket is about to be connected to this address, or listens there, and nothing has been sent over
 * it: if the address is of loopback (127.0.0.0/8, ::1), what is sent is not paced, nor is there a search for
 * what the path can take (reno, which every kernel has; a listener's connections inherit it). Any other
 * keeps the system's congestion control, and so does one whose kernel allows no choice. */
void loopback_unpace(int fd, const struct sockaddr *address);
