#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/feed.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define TURN_MS 1000 /* also how soon it shows that nobody reads any more */

static void print(void *arg, struct str line, const json_t *event)
{
    (void)arg;
    (void)event;
    printf("%.*s\n", STR_ARG(line));
    fflush(stdout);
}

/* Nobody reads what is printed any more. Of a pipe that shows before the next event, which may be long away:
 * a write that cannot succeed ends the process as that event's would. */
static bool is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0) {
        putchar('\n');
        fflush(stdout);
    }
    return ferror(stdout);
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct err err;
    struct feed_options options = {
        .service = arguments_operand(arguments, 0),
        .since = arguments_number(arguments, "since", 0),
        .follow = arguments_has(arguments, "follow"),
    };
    struct feed *feed = feed_open(session->client, &options, print, NULL);
    enum feed_state state = FEED_OPEN;
    while (state == FEED_OPEN && !is_gone())
        state = feed_turn(feed, TURN_MS, &err);
    feed_close(feed);
    if (state == FEED_LOST)
        return ask_fail(CLI_UNREACHABLE, &err);
    return state == FEED_REFUSED ? ask_fail(CLI_REFUSED, &err) : CLI_DONE;
}

static const struct option_row options[] = {
    {"follow", 'f', OPTION_FLAG, NULL, "go on with what happens from now on"},
    {"since", 0, OPTION_NUMBER, "SEQ", "only events with a higher number"},
    {.name = NULL},
};

const struct command command_events = {
    .name = "events",
    .operands = "[SERVICE]",
    .summary = "print the event log, one JSON object a line",
    .first = OPERAND_SERVICE,
    .most = 1,
    .options = options,
    .run = run,
};
