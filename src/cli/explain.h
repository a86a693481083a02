/* explain: why a service is in the state that it is in, and what would change it: what its clients get, what
 * its deployment does or how the last one ended, and what moves it on. Pure: the daemon's answers in,
 * sentences out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* `service`: as GET /v1/services/S answers. `deployments`: its deployments, newest first. `reasons`: why
 * instances went out of rotation, by address; each may be NULL. Returns an array of two or three sentences,
 * to be released. */
json_t *explain(const json_t *service, const json_t *deployments, const json_t *reasons);

/* Is there an instance in the live pool that the checks or its traffic have put out of rotation? */
bool explain_asks_for_reasons(const json_t *service);
