/* control: the role that decides. Config, admin API, deployments, uptests, hooks, journal, metrics; never a
 * client's byte. */
#pragma once

struct control_options {
    const char *config_path;
    int keeper_fd; /* channel to the keeper */
    int proxy_fd;  /* channel to the proxy, whichever process that is */
};

/* Runs until the keeper says stop or goes away. Returns the process's exit status: 0, or 1 after a sentence
 * on stderr when it cannot start. */
int control_main(const struct control_options *options);
