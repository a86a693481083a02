/* fault: places at which a test makes the daemon die, or a call of it fail. They exist only where configured
 * with --enable-fault-points; without, they leave nothing in the program: no call, no branch.
 *
 * A plan stands in the environment, UPSWAP_FAULTS: words "ROLE.LIFE/POINT:N", as in
 * "control.1/appender.write:3": the third time that the first control passes appender.write, that call
 * fails. LIFE counts the processes of a role, so what is started again is not struck again. The word "log"
 * writes every passing to stderr; what strikes is written anyway. doc/internals/faults.md. */
#pragma once

#include <stdbool.h>

#ifdef FAULT_POINTS

/* This process has this role from now on. */
void fault_role(const char *role);
/* A process is about to be started for a role, of which it is one more life. */
void fault_birth(const char *role);

/* Dies here, by SIGKILL, if the plan says so. The point's name is `point`, or "point.detail" where that is
 * not NULL; spaces in it become "-". */
void fault_die(const char *point, const char *detail);

/* Whether the plan says that what stands here fails; errno is then `error`. */
bool fault_fails(const char *point, int error);

/* Whether an allocation of this function fails. */
bool fault_starves(const char *function);

#else

#define fault_role(role) ((void)0)
#define fault_birth(role) ((void)0)
#define fault_die(point, detail) ((void)sizeof(detail))
#define fault_fails(point, error) false
#define fault_starves(function) false

#endif

/* A system call that a plan can make fail: -1 with `error` as errno. */
#define FAULTY(point, error, call) (fault_fails(point, error) ? -1 : (call))
