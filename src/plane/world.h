/* world: a snapshot as it came from control, mapped and checked. One that is whole may be the ground of
 * others, and stays mapped as long as any of them, or anybody else, refers to it. Only for the thread that
 * publishes, but where it says so.
 */
#pragma once

#include "base/err.h"
#include "link/message.h"
#include "link/upstream_contexts.h"
#include "route/publish.h"

struct world;

/* Maps the sealed memory at fd (which stays the caller's) and opens the snapshot in it. `ground`: the one
 * that it may amend, or NULL; kept where it does. NULL with a sentence: it could change or shrink under us,
 * is no snapshot, amends another, or is not of the version that was told. */
struct world *world_open(int fd, const struct message_world *told, struct world *ground,
                         struct err *err) MUST_CHECK;
const struct snapshot *world_snapshot(const struct world *world);
/* The one that it amends; itself where it is whole. */
struct world *world_ground(struct world *world);
/* Is it what lies in the memory at fd? Then that has been checked. `world` may be NULL. */
bool world_is(const struct world *world, int fd);

/* Its services speak TLS by these, of which it keeps a reference; NULL: none have come. Before it is
 * published. */
void world_use(struct world *world, struct upstream_contexts *contexts);
/* From any thread, of a view of one that was published. NULL: there are none. */
const struct upstream_contexts *world_contexts(const struct view *view);

struct world *world_ref(struct world *world);
/* Gives up one reference, of which world_open gives the first. `world` may be NULL. */
void world_free(struct world *world);
