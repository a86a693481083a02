#include "cli/cli.h"

#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/help.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SOCKET_DEFAULT "/run/upswap/admin.sock"

static int print_version(void)
{
    printf("upswap %s (%s, jansson %s)\n", PACKAGE_VERSION, curl_version(), jansson_version_str());
    return CLI_DONE;
}

static int print_help(const struct command *command)
{
    if (command != NULL)
        help_command(stdout, command);
    else
        help_overview(stdout);
    return CLI_DONE;
}

/* A pid, a reason, a release: all of them end in JSON, which is UTF-8. */
static bool is_utf8(int argc, char **argv, struct err *err)
{
    for (int i = 0; i < argc; i++) {
        json_t *text = json_string(argv[i]);
        if (text == NULL)
            return err_set(err, "argument %d is not valid UTF-8", i + 1);
        json_decref(text);
    }
    return true;
}

/* $UPSWAP_SOCKET set to nothing is as good as unset. */
static const char *socket_of(const struct arguments *arguments)
{
    const char *given = arguments_text(arguments, "socket"), *environment = getenv("UPSWAP_SOCKET");
    if (given != NULL)
        return given;
    return environment != NULL && environment[0] != '\0' ? environment : SOCKET_DEFAULT;
}

static int run_command(const struct arguments *arguments)
{
    struct session session = {.json = arguments_has(arguments, "json")};
    session.client = client_new(socket_of(arguments));
    int status = arguments_command(arguments)->run(&session, arguments);
    client_free(session.client);
    return status;
}

static int dispatch(const struct arguments *arguments)
{
    struct err err;
    if (arguments_has(arguments, "version"))
        return print_version();
    if (arguments_has(arguments, "help"))
        return print_help(arguments_command(arguments));
    if (arguments_command(arguments) == NULL) {
        err_set(&err, "a command is missing; \"upswap --help\" lists them");
        return ask_fail(CLI_USAGE, &err);
    }
    return run_command(arguments);
}

static enum operand next_operand(const struct command *command, size_t operands)
{
    if (command == NULL)
        return OPERAND_WORD; /* its name */
    if (operands == 0)
        return command->first;
    return operands == 1 && command->second != NULL ? OPERAND_WORD : OPERAND_OTHER;
}

/* upswap --words [WORD...]: for the shell's completion of the word behind these. */
static int print_words(int argc, char **argv)
{
    struct err err;
    struct outlook look = arguments_look(argc, argv);
    const struct command *command = look.command != NULL ? command_find(look.command, &err) : NULL;
    if (look.command != NULL && command == NULL)
        return ask_fail(CLI_USAGE, &err);
    if (look.value_due)
        puts("value");
    else
        help_words(stdout, command, next_operand(command, look.operands));
    return CLI_DONE;
}

/* A number that is free would go to the next socket, and what is printed into it: what is opened in its place
 * fails to be written to. */
static void keep_standard_numbers(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            abort();
    }
}

/* The one place where lost output becomes a status. */
static int end_output(int status)
{
    struct err err;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    err_set(&err, "the output cannot be written");
    return ask_fail(status != CLI_DONE ? status : CLI_REFUSED, &err);
}

static int run(int argc, char **argv)
{
    struct err err;
    if (argc > 0 && strcmp(argv[0], "--words") == 0)
        return print_words(argc - 1, argv + 1);
    if (!is_utf8(argc, argv, &err))
        return ask_fail(CLI_USAGE, &err);
    struct arguments *arguments = arguments_parse(argc, argv, &err);
    if (arguments == NULL)
        return ask_fail(CLI_USAGE, &err);
    int status = dispatch(arguments);
    arguments_free(arguments);
    return status;
}

int cli_main(int argc, char **argv)
{
    keep_standard_numbers();
    return end_output(run(argc - 1, argv + 1));
}
