/* capabilities: which of root's powers this process keeps. Nothing but system calls is done here, so that all
 * of it may stand between fork and exec. */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

/* A set of capabilities, a bit each: CAPABILITY(CAP_KILL) | ... */
#define CAPABILITY(number) ((uint64_t)1 << (number))

/* What no program that is executed from here on can ever have: all but `kept`. A process that may not say so
 * (CAP_SETPCAP) leaves its bounding set as it is, which is no failure: with no_new_privs it gives nothing.
 * Must come before a change of user. False, with errno: the kernel has not done what it said. */
bool capabilities_bound(uint64_t kept);

/* Gives up all but `kept` (of what there is), for itself; and for the programs that it executes what they
 * would inherit, unless `ambient`. What is asked for is read back. False, with errno. */
bool capabilities_limit(uint64_t kept, bool ambient);

/* What this process has, whether in force or not. */
uint64_t capabilities_permitted(void);
