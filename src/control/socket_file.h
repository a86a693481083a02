/* socket_file: what the file of the admin socket may become. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* May this process give the file at `path`, which is its own or not made yet, this group (-1: as it is)? */
bool socket_file_may_have(const char *path, gid_t group);
