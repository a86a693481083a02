/* keeper: the first process. Holds descriptors and channels for the two others, starts them, starts again
 * whichever dies. Parses nothing. */
#pragma once

struct keeper_options {
    const char *config_path;
    const char *program; /* path of this binary, for the re-exec */
};

/* Runs until SIGTERM or SIGINT has been carried out. Returns the process's exit status: 0; 1 when control
 * could not start. */
int keeper_main(const struct keeper_options *options);
