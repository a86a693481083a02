/* job: all that a warden needs to know of a program, as one memory file. It is written where the program is
 * wanted and read in the warden, which need not copy any of it. Inside the room io only. */
#pragma once

#include "io/child.h"

struct job {
    size_t size;                                  /* bytes of all of it */
    bool contained, apart;                        /* as in struct child_spec */
    bool becomes;                                 /* it changes to `user` */
    bool grouped;                                 /* it has a control group */
    struct child_user user;                       /* if it becomes */
    uid_t uid;                                    /* as which it will run */
    uint64_t memory_max, processes_max, file_max; /* as in struct child_spec */
    char **files, **argv, **envp;                 /* NULL-terminated; files: to be tried in this order */
    char *directory;
    char *group_path; /* of its control group, for the warden to remove; NULL: none */
};

/* Must a program of this process change to that user (NULL: to none)? */
bool job_must_become(const struct child_user *user);

/* A descriptor of it, the caller's; -1 with errno. group_path NULL: it has no control group. */
int job_write(const struct child_spec *spec, const char *group_path);

/* Makes system calls only. NULL with errno. The descriptor may be closed then. */
struct job *job_open(int fd);
void job_close(struct job *job);
