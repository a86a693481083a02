#include "control/proxy_user.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#define FINISH_MORE_MS 15000 /* beyond that, for a proxy to finish: lingering, and a slow machine */

bool proxy_user_find(const struct config *config, struct proxy_user *user, struct err *err)
{
    const char *name = config_proxy_user(config);
    const struct passwd *entry = name == NULL ? NULL : getpwnam(name);
    if (geteuid() != 0)
        return true;
    if (entry == NULL)
        return err_set(err, "the proxy's user \"%s\" is gone; add it, or name another",
                       name == NULL ? "" : name);
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    return true;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What a proxy may need to finish: its longest drain, begun when the longest wait in a pause is over. */
static uint32_t finish_ms(const struct config *config)
{
    uint64_t longest = 0, waits = 0;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_drain *drain = &config->services[i].drain;
        longest = later(longest, later(later(drain->requests_ms, drain->streams_ms),
                                       later(drain->websockets_ms, drain->tunnels_ms)));
        waits = later(waits, config->services[i].pause.longest_ms);
    }
    longest += waits + FINISH_MORE_MS;
    return longest < INT32_MAX ? (uint32_t)longest : INT32_MAX;
}

struct message_ready proxy_user_ready(const struct proxy_user *user, const struct config *config,
                                      unsigned workers)
{
    struct message_ready ready = {.workers = workers,
                                  .log_level = config->log_level,
                                  .log_format = config->log_format,
                                  .finish_ms = finish_ms(config)};
    ready.change_user = geteuid() == 0;
    if (ready.change_user) {
        ready.uid = user->uid;
        ready.gid = user->gid;
    }
    return ready;
}

void proxy_user_rights(const struct message_ready *ready, struct behalf *proxy)
{
    *proxy = (struct behalf){.is_other = ready->change_user, .uid = ready->uid, .gid = ready->gid};
    uid_t uid = proxy->is_other ? proxy->uid : geteuid();
    const struct passwd *user = getpwuid(uid);
    snprintf(proxy->name, sizeof proxy->name, "%u", (unsigned)uid);
    if (user != NULL)
        snprintf(proxy->name, sizeof proxy->name, "%s", user->pw_name);
}
