/* world_spec: the registry, the config and the sockets as the description that a snapshot is frozen from, or
 * one that amends another. */
#pragma once

#include "config/config.h"
#include "control/drain.h"
#include "control/health.h"
#include "control/pauses.h"
#include "control/secrets.h"
#include "control/sockets.h"
#include "deploy/registry.h"
#include "route/snapshot.h"

struct world_spec;

/* Which of the config's services. */
struct world_extent {
    uint64_t ground_version; /* of the image that is amended; 0: all services */
    const uint32_t *amended; /* else these, ascending */
    size_t count;
};

/* All of it must stay while the spec is used. `sockets` may be NULL: there are no listeners. */
struct world_spec *world_spec_new(const struct registry *registry, const struct config *config,
                                  const struct sockets *sockets, struct drain *drain,
                                  const struct health *health, const struct pauses *pauses,
                                  const struct secrets *secrets, const struct world_extent *extent,
                                  uint64_t version);
const struct snapshot_spec *world_spec_get(const struct world_spec *made);
void world_spec_free(struct world_spec *made);
