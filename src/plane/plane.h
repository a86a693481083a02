/* plane: the proxy role. N worker threads, one loop each; the main thread holds the channels and publishes.
 * Opens no file, starts no program, and needs no privilege. */
#pragma once

#include <stdbool.h>

struct plane_options {
    int keeper_fd;  /* channel to the keeper: says when to stop */
    int control_fd; /* channel to control, whichever process that is */
    unsigned workers;
    unsigned generation; /* of the counters: which cells are its own */
    bool confined;       /* the process gives up, for good, what a proxy has no need of (io/confine.h) */
};

/* Runs until the keeper says stop, or finish (then finishes what is in flight within the drain times) or goes
 * away (then ends at once). Returns the process's exit status. */
int plane_main(const struct plane_options *options);
