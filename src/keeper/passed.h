/* passed: the listening sockets that the service manager passes (sd_listen_fds(3)), as systemd does for a
 * socket unit. They are kept for good, and what they are is for control to see. */
#pragma once

#include "base/err.h"
#include "keeper/store.h"

/* Before anything else is opened: moves into the store, as "passed N NAME", what LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES of the environment say was passed to this process, and takes these variables out of it.
 * False with a sentence where they promise what is not there. */
bool passed_take(struct store *store, struct err *err) MUST_CHECK;
