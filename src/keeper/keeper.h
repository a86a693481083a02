/* keeper: the first process. Holds descriptors and channels for the two others, starts them, starts again
 * whichever dies, and hands all of it over to another program when it is upgraded. Parses nothing. */
#pragma once

struct keeper_options {
    const char *config_path;
    char *const *argv;   /* of this process: the next program gets it */
    const char *program; /* path of this binary, for the re-exec of roles */
    int handover;        /* what the program before this one hands over; -1: there was none */
};

/* Runs until SIGTERM or SIGINT has been carried out. Returns the process's exit status: 0; 1 when control
 * could not start. */
int keeper_main(const struct keeper_options *options);
