/* proxy_user: as whom the proxy runs, and what the keeper is told of that and of the rest that a proxy needs.
 */
#pragma once

#include "config/config.h"
#include "io/behalf.h"
#include "link/message.h"

#include <sys/types.h>

/* Used where this process is root. */
struct proxy_user {
    uid_t uid;
    gid_t gid;
};

bool proxy_user_find(const struct config *config, struct proxy_user *user, struct err *err) MUST_CHECK;
struct message_ready proxy_user_ready(const struct proxy_user *user, const struct config *config,
                                      unsigned workers);
/* The rights of a proxy that is started so. */
void proxy_user_rights(const struct message_ready *ready, struct behalf *proxy);
