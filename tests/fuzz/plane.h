/* plane: one worker of the data plane without its thread: it turns when the target says so, and its clock
 * stands still but for what the target adds. Made once; what an input leaves behind fails the next check. */
#pragma once

#include "fuzz.h"

#include "plane/worker.h"

/* The instances of service "a", which speak HTTP/1.1, and of service "b", which speak HTTP/2. */
enum plane_instance { PLANE_HTTP1, PLANE_HTTP2, PLANE_INSTANCES };

struct worker *plane_worker(void);

/* A client's connection; the next one that the instance is called on, or -1. Neither blocks. */
int plane_client(void);
int plane_accept(enum plane_instance which);
/* With a reset, so that no port stays in use. */
void plane_close(int fd);

void plane_turn(void);
void plane_advance(uint64_t ms);

/* All sockets are closed: turns until the worker has nothing to do with any of them, and checks that all that
 * was lent is back and nothing is counted as under way. */
void plane_settle(void);
