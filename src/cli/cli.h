/* cli: the client. One process, one command, one answer by exit status. */
#pragma once

/* Exit statuses; scripts rely on them. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_REFUSED = 1,
    CLI_USAGE = 2,
    CLI_REJECTED = 3, /* the gate failed, an instance was never ready, or a failed watch waits for a person */
    CLI_ROLLED_BACK = 4,
    CLI_ABORTED = 5,
    CLI_TIMEOUT = 6, /* of --timeout; the deployment goes on */
    CLI_UNREACHABLE = 7,
    CLI_INTERRUPTED = 130, /* by Ctrl-C; the deployment goes on */
};

/* Runs the command that argv names. Returns one of the above. */
int cli_main(int argc, char **argv);
