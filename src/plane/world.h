/* world: a snapshot as it came from control, mapped and checked. */
#pragma once

#include "base/err.h"
#include "link/message.h"
#include "route/publish.h"

struct world;

/* Maps the sealed memory at fd (which stays the caller's) and opens the snapshot in it. NULL with a
 * sentence: it could change or shrink under us, is no snapshot, or is not of the version that was told. */
struct world *world_open(int fd, const struct message_world *told, struct err *err) MUST_CHECK;
/* *mapped is one more from now on, until world_free. */
void world_count(struct world *world, unsigned *mapped);
const struct snapshot *world_snapshot(const struct world *world);
void world_free(struct world *world);
