/* mirror: a copy of a live request, sent to the staged pool for the shadow gate, and the comparison of the
 * two answers (link/shadow.h). Nobody waits for it and nobody sees it: whatever is in its way, it is dropped.
 *
 * It is drawn with the request, whose head it copies; it begins when the live answer's head has been sent on,
 * after the turn, so it never stands before a client's byte; and it is cut when a world ends its run. */
#pragma once

#include "http/request.h"

struct exchange;
struct mirror;
struct mirrors; /* of a worker: a bounded number, made once */
struct worker;

struct mirrors *mirrors_new(struct worker *worker);
/* Cuts all, and begins none from now on. */
void mirrors_stop(struct mirrors *mirrors);
/* When its loop has been freed. */
void mirrors_free(struct mirrors *mirrors);

/* The worker has another world: cuts those whose run is not in it. */
void mirrors_turn(struct mirrors *mirrors);

/* The head for the instance has just been written into exchange->request, and its service has a shadow: maybe
 * sets exchange->mirror. */
void mirror_draw(struct exchange *exchange, const struct http_request *request);
/* The final head of the live answer has come: the mirror begins, and is not the exchange's any more. */
void mirror_heard(struct exchange *exchange, unsigned status);
/* It will not come. */
void mirror_drop(struct exchange *exchange);
