/* role: starts one of the two other processes: this same binary, executed anew with two descriptors and
 * nothing else of the keeper's. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* The descriptors that a role finds when it starts. */
enum { ROLE_KEEPER_FD = 3, ROLE_PEER_FD = 4 };
/* The exit status of one that has come no further than to be forked. */
enum { ROLE_CANNOT_START = 127 };

struct role_spec {
    int program; /* the binary, opened with O_PATH: a restart runs what the keeper runs, whatever is on disk
                    by now */
    const char *const *argv; /* NULL-terminated; the first is "upswapd: ROLE" */
    int keeper_fd;           /* becomes ROLE_KEEPER_FD */
    int peer_fd;             /* becomes ROLE_PEER_FD */
    int input;               /* becomes its standard input; 0: the keeper's */
    int output;              /* becomes its standard output and error; 0: the keeper's */
    bool change_user;
    uid_t uid;
    gid_t gid;
    bool confined; /* without any capability, and can never gain a privilege again (no_new_privs) */
};

/* Starts it; the descriptors stay the caller's. The process is killed when the keeper dies. Returns its pid,
 * or -1. A program that cannot be executed, or a user that cannot be changed to, shows as exit status
 * ROLE_CANNOT_START. */
pid_t role_start(const struct role_spec *spec, struct err *err) MUST_CHECK;
