/* kept: the descriptors that the keeper holds by name over the end of a control. */
#pragma once

#include "link/channel.h"

struct kept;

/* Lives as long as the process. An earlier control has left `count` of them. */
struct kept *kept_new(struct channel *keeper, uint32_t count);
/* One of these; fd is owned from now on. */
void kept_add(struct kept *kept, const struct message_name *name, int fd);
/* Have all of them been added? */
bool kept_is_whole(const struct kept *kept);
/* The one with this name, owned by the caller from now on; -1: none. */
int kept_take(struct kept *kept, const char *name);
/* Each that was not taken yet; what `give` does not take (false) is closed. */
void kept_give_rest(struct kept *kept, bool (*give)(void *arg, const char *name, int fd), void *arg);

/* Has the keeper hold a copy for the next control. */
void kept_store(struct kept *kept, const char *name, int fd);
