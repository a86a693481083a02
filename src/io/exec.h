/* exec: what a program's process does between its fork from the warden and the exec, and what to say when a
 * step of it fails. Inside the room io only; child.h is the door. */
#pragma once

#include "base/buf.h"
#include "io/job.h"

enum exec_step {
    EXEC_FORK,
    EXEC_DESCRIPTORS,
    EXEC_LIMITS,
    EXEC_USER,
    EXEC_DIRECTORY,
    EXEC_FILE,
    EXEC_FILE_MISSING,
    EXEC_FILE_INTERPRETER,
    EXEC_FILE_MODE,
    EXEC_FILE_INTERPRETER_MODE,
    EXEC_FILE_FORMAT,
    EXEC_STEPS
};

/* Of what is contained, so that live traffic goes first. */
enum { EXEC_NICE = 5 };

/* What the program's process is given. */
struct exec {
    const struct job *job;
    int output_fd, stdout_fd; /* stdout_fd is used if the job is `apart` */
    pid_t warden;             /* its parent */
};

/* To be called in the program's process, with all signals blocked and the warden's descriptors; `arg` is a
 * struct exec. Executes the job's file in a process group of its own; if it is not contained, in a session of
 * its own, too. What fails is reported to WARDEN_SOCKET_FD. Makes system calls only, and does not return. */
void exec_program(void *arg);

/* Appends the sentence for a step that has failed with `error`; `head` as in struct warden_report. */
void exec_explain(struct buf *why, enum exec_step step, int error, const char *file, const char *directory,
                  const char *head);
