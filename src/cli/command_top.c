#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/traffic.h"

#include <stdlib.h>

#define USUAL_MS 1000
#define LEAST_MS 100

/* The daemon's figures and when they came. */
struct look {
    struct client_reply reply;
    uint64_t ms;
};

static int take_look(const struct session *session, struct look *look)
{
    int status = ask(session, "GET", "/v1/status?figures=1", NULL, ASK_MS, &look->reply);
    look->ms = clock_mono_ms();
    return status;
}

static void show(const struct session *session, struct terminal *terminal, const json_t *traffic)
{
    if (session->json) {
        json_dumpf(traffic, stdout, JSON_COMPACT);
        putchar('\n');
        return;
    }
    terminal_measure(terminal);
    struct screen screen = screen_new(terminal);
    screen.height -= terminal->live; /* for the line that says so, where it does not hold all */
    traffic_draw(traffic, &screen);
    if (screen.left_out > 0) {
        screen.height++;
        screen_add(&screen, TONE_FAINT, "and %zu lines more: \"upswap top SERVICE\" shows one service",
                   screen.left_out);
        screen_end_line(&screen);
    }
    if (terminal->live)
        terminal_draw(terminal, &screen);
    else
        terminal_keep(terminal, &screen);
    screen_free(&screen);
}

/* One interval: waits, looks, shows, and leaves the new look in the place of the old one. */
static int turn(const struct session *session, struct terminal *terminal, struct look *before,
                const char *service, uint64_t interval_ms)
{
    struct look now;
    if (!client_wait(session->client, interval_ms))
        return CLI_INTERRUPTED;
    int status = take_look(session, &now);
    if (status != CLI_DONE)
        return status;
    json_t *traffic =
        traffic_between(before->reply.json, now.reply.json, (double)(now.ms - before->ms) / 1000, service);
    show(session, terminal, traffic);
    json_decref(traffic);
    client_reply_free(&before->reply);
    *before = now;
    return CLI_DONE;
}

/* The daemon names what is nearest. */
static int check_service(const struct session *session, const char *service)
{
    struct client_reply reply;
    char *path = client_path("/v1/services/", service, "");
    int status = ask(session, "GET", path, NULL, ASK_MS, &reply);
    free(path);
    if (status == CLI_DONE)
        client_reply_free(&reply);
    return status;
}

static int watch(const struct session *session, const char *service, uint64_t interval_ms)
{
    struct look before;
    struct terminal terminal = terminal_open(stdout);
    bool goes_on = terminal.live && !session->json;
    int status = take_look(session, &before);
    if (status != CLI_DONE)
        return status;
    if (goes_on)
        client_catch_interrupt(session->client);
    do
        status = turn(session, &terminal, &before, service, interval_ms);
    while (goes_on && status == CLI_DONE && !ferror(stdout));
    if (goes_on && terminal.pending > 0) /* the last figures are left standing */
        putchar('\n');
    client_reply_free(&before.reply);
    return goes_on && status == CLI_INTERRUPTED ? CLI_DONE : status;
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct err err;
    const char *service = arguments_operand(arguments, 0);
    uint64_t interval_ms = arguments_number(arguments, "interval", USUAL_MS);
    if (interval_ms < LEAST_MS) {
        err_set(&err, "--interval must be 100ms or more");
        return ask_fail(CLI_USAGE, &err);
    }
    int status = service != NULL ? check_service(session, service) : CLI_DONE;
    return status == CLI_DONE ? watch(session, service, interval_ms) : status;
}

static const struct option_row options[] = {
    {"interval", 'i', OPTION_DURATION, "DURATION", "between two looks (1s)"},
    {.name = NULL},
};

const struct command command_top = {
    .name = "top",
    .operands = "[SERVICE]",
    .summary = "show what pools and instances do now: requests/s, errors, p99",
    .details = "On a terminal it goes on until Ctrl-C; else it shows one interval and ends.",
    .first = OPERAND_SERVICE,
    .most = 1,
    .options = options,
    .run = run,
};
