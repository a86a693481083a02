/* finishing: the proxies of earlier programs, which accept nobody any more and finish what they have. They
 * are told of each world like the one that serves, so what still begins there begins in the same one; one
 * that does not understand it keeps its own, and holds up the drains of what is in that. */
#pragma once

#include "io/loop.h"
#include "link/channel.h"
#include "link/counters.h"

#include <jansson.h>

struct finishing;

/* Lives as long as the process. `present`: the generations of counters that such proxies have, a bit each;
 * all others save `own` are nobody's. */
struct finishing *finishing_new(struct loop *loop, struct counters *counters, uint32_t present, unsigned own);
/* One of them; the channel to it is owned from now on. */
void finishing_add(struct finishing *finishing, const struct message_finishing *who, int fd);
/* It has ended: what it had in flight has ended with it. */
void finishing_end(struct finishing *finishing, const struct message_finishing *who);
/* To each; the descriptor stays the caller's. */
void finishing_tell(struct finishing *finishing, enum message_type type, const void *payload, size_t size,
                    int fd);
/* Is it one of them? */
bool finishing_has(const struct finishing *finishing, int32_t pid);
bool finishing_is_empty(const struct finishing *finishing);
/* Their pids. */
json_t *finishing_pids(const struct finishing *finishing);
