/* admin_pieces: an answer that is written in pieces, so that whatever else control has to do waits for one of
 * them and not for all: a piece a turn of the loop, and none while the client has not taken what there is. */
#pragma once

#include "control/admin_request.h"
#include "io/loop.h"

#include <jansson.h>

struct admin_pieces {
    const char *content_type;
    /* Appends the next piece, of half a millisecond or so; it may be empty. False: it was the last one. */
    bool (*step)(void *arg, struct buf *out);
    void (*free)(void *arg);
};

/* Appends the object without its end: its last key is `list`, the elements of which are to follow, then "]}".
 */
void admin_pieces_open(struct buf *out, json_t *object, const char *list);

/* Answers the request with what the steps give; one of a single piece has a Content-Length. `pieces` must
 * outlive the answer; `arg` is freed by its `free`, when all is written or the client is gone. */
void admin_answer_pieces(struct admin_request *request, struct loop *loop, const struct admin_pieces *pieces,
                         void *arg);
