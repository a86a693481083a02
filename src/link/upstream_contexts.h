/* upstream_contexts: how services speak TLS to their instances: contexts made of the keyring's records. The
 * proxy has them for requests, and control for its checks. Never changed once made. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/tls_context.h"

struct upstream_context {
    struct tls_context *tls;
    const char *server_name; /* empty: the instance's host */
    bool verify;
    bool h2; /* by ALPN */
};

struct upstream_contexts;

/* Makes them of a sealed memfd (which stays the caller's), with one reference. What the keyring has for
 * listeners is passed over. NULL with a sentence. */
struct upstream_contexts *upstream_contexts_new(int fd, struct err *err) MUST_CHECK;
/* From any thread; NULL is fine. */
struct upstream_contexts *upstream_contexts_ref(struct upstream_contexts *contexts);
void upstream_contexts_free(struct upstream_contexts *contexts); /* gives one reference back */

/* NULL: there is none for the service of that name; `contexts` may be NULL. */
const struct upstream_context *upstream_contexts_find(const struct upstream_contexts *contexts,
                                                      struct str service);

/* The name that an instance (as it was staged) is asked for, and its certificate checked for. False: there is
 * none, and one is to be checked. Empty: none is needed. */
bool upstream_context_name(const struct upstream_context *context, struct str instance,
                           struct str *name) MUST_CHECK;
