/* contexts: the TLS contexts of all listeners, and of all services with TLS to their instances, made of the
 * secrets that control has sent. Never changed once made; shared by the workers, which take another one
 * whole. */
#pragma once

#include "io/tls_context.h"
#include "link/upstream_contexts.h"
#include "route/snapshot.h"

struct contexts;

/* Makes them of a sealed memfd (which stays the caller's), with one reference. NULL with a sentence. */
struct contexts *contexts_new(int fd, struct err *err) MUST_CHECK;

/* From any thread. */
struct contexts *contexts_ref(struct contexts *contexts);
void contexts_free(struct contexts *contexts); /* gives one reference back; NULL is fine */

/* The context of the listener with this id. NULL: there is none. */
struct tls_context *contexts_listener(const struct contexts *contexts, uint32_t id);

/* Those of services. Who keeps a reference to them keeps no key of a listener or its tickets. NULL: there are
 * none. */
struct upstream_contexts *contexts_upstreams(const struct contexts *contexts);

/* Is there one for each listener of this world that speaks TLS? */
bool contexts_suffice(const struct contexts *contexts, const struct snapshot *snapshot);
