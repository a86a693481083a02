/* warden: the process between us and a program. It alone is the program's parent, so it can end what the
 * program has left behind. Inside the room io only; child.h is the door.
 *
 * It is a fork of the nursery (nursery.h) that never executes anything. It runs one program after the other,
 * and each until all that it answers for has ended. When its socket ends, since we have died or have no use
 * for it, it kills all of that and ends, too. One that had to kill, or has let go of something, is not to be
 * used again. */
#pragma once

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Its socket, SOCK_SEQPACKET; also in the program until the exec. */
enum { WARDEN_SOCKET_FD = 3 };

/* What is written into the socket by us, a packet of one byte each. */
enum warden_order {
    WARDEN_RUN = 'R',  /* with descriptors: a job (job.h); for stderr; if it is `apart`, for stdout; if it is
                          `grouped`, the folder of its control group, and what kills all in that */
    WARDEN_TERM = 'T', /* TERM to the program's group, if the program runs */
    WARDEN_KILL = 'K'  /* KILL to all, again and again until all are gone */
};

/* What is read from it, a packet each. */
enum warden_word {
    WARDEN_STARTED, /* pid and usage: the program's; sent by itself, before it can do any harm */
    WARDEN_FAILED,  /* step (enum exec_step), error and head: it was not executed */
    WARDEN_EXITED,  /* status and usage: it has ended; something that it has left may still run */
    WARDEN_DONE     /* all that it answers for has ended */
};

/* As much of a file as the kernel looks at for its interpreter. */
#define WARDEN_HEAD_MAX 256

struct warden_report {
    enum warden_word word;
    pid_t pid;
    int step, error;
    char head[WARDEN_HEAD_MAX]; /* how the file begins, if it could be read; NUL-terminated */
    int status;                 /* as of waitpid */
    struct rusage usage;
};

/* To be called right after a fork, with all signals blocked, nothing but /dev/null in 0 to 2, and its socket
 * in WARDEN_SOCKET_FD. */
_Noreturn void warden_run(void);

/* Says it to us, who may be dead. For the warden and for the program before its exec. */
void warden_report(const struct warden_report *report);
