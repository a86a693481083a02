/* privileges: which of root's powers each role keeps, where the daemon was started with them; the proxy keeps
 * none. conf/upswapd.service.in grants these and no others. */
#pragma once

#include "io/capabilities.h"

/* To start roles as another user and without capabilities, and to end them. */
#define PRIVILEGES_KEEPER \
    (CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_SETPCAP) | CAPABILITY(CAP_KILL))

/* Ports below 1024. Files of whoever the config names: keys, logs, suites, sockets, and their group. Uptests
 * and hooks as other users, and their ends. Keys in locked memory. */
#define PRIVILEGES_CONTROL                                                                             \
    (CAPABILITY(CAP_NET_BIND_SERVICE) | CAPABILITY(CAP_CHOWN) | CAPABILITY(CAP_DAC_OVERRIDE) |         \
     CAPABILITY(CAP_FOWNER) | CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_KILL) | \
     CAPABILITY(CAP_IPC_LOCK))
