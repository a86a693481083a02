/* warden: the process between us and a program. It alone is the program's parent, so it can end what the
 * program has left behind. Inside the room io only; child.h is the door.
 *
 * It is a fork of ours that never executes anything: it makes system calls only. It lives until the program
 * and all that it answers for has ended. When we die, the socket ends, and it kills all of that. */
#pragma once

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Where they stand in the warden; the socket also in the program until the exec. */
enum { WARDEN_SOCKET_FD = 3, WARDEN_KILL_FD = 4 };

/* What is written into the socket by us, a byte each. */
enum warden_order {
    WARDEN_TERM = 'T', /* TERM to the program's group, if the program runs */
    WARDEN_KILL = 'K'  /* KILL to all, again and again until all are gone */
};

/* What is read from it, a packet each. */
enum warden_word {
    WARDEN_STARTED, /* pid and usage: the program's; sent by itself, before it can do any harm */
    WARDEN_FAILED,  /* step and error: it was not executed */
    WARDEN_EXITED   /* status and usage: it has ended; something that it has left may still run */
};

struct warden_report {
    enum warden_word word;
    pid_t pid;
    int step, error;
    int status; /* as of waitpid */
    struct rusage usage;
};

struct warden_spec {
    int socket;             /* SOCK_SEQPACKET; reports go out, orders come in */
    int null_fd;            /* /dev/null */
    bool contained;         /* answers for all that descends from the program; else for its process group */
    int group_fd;           /* the control group in which the program is started; -1: ours */
    int kill_fd;            /* kills all in it; -1: there is none */
    const char *group_path; /* the warden removes it at its end; NULL: there is none */
    /* Executes it in a session and group of its own, all descriptors being as we had them; never returns. */
    void (*program)(const void *arg, pid_t warden);
    const void *arg;
    int fork_step; /* what to report when there is no process for it */
};

/* To be called right after a fork, with all signals blocked. */
_Noreturn void warden_run(const struct warden_spec *spec);
