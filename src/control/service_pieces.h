/* service_pieces: a service as JSON text, some of its instances at a time, since a pool may have thousands.
 */
#pragma once

#include "base/buf.h"
#include "control/conductor.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct service_pieces {
    struct conductor *conductor;
    bool figures;
    json_t *service; /* without its pools; NULL: it is written */
    json_t *pools;   /* without their instances; NULL: all is written */
    size_t pool;     /* whose turn it is */
    bool in_pool;    /* all of it but instances is written, from this one on: */
    size_t instance;
};

/* False: there is no such service. `figures`: see conductor_add_figures. */
bool service_pieces_begin(struct service_pieces *pieces, struct conductor *conductor, const char *service,
                          bool figures);
/* Appends the next piece: what is around pools, or one of them with so many instances at most (from 1); takes
 * these from *left. Each is as it is when its turn comes; what goes meanwhile is left out. False: it was the
 * last one. */
bool service_pieces_step(struct service_pieces *pieces, size_t *left, struct buf *out);
/* Before all is written too. */
void service_pieces_end(struct service_pieces *pieces);
