/* Events tell what to show; the deployment's state alone tells how it ended, so that an event that was missed
 * costs a line and never a wrong exit status. */
#include "cli/follow.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/ask.h"
#include "cli/board.h"
#include "cli/feed.h"
#include "cli/fields.h"
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

#define TURN_MS 1000   /* also how often in-flight requests are asked for */
#define DRAW_MS 200    /* the same where a person looks at it */
#define CHECK_MS 5000  /* the state is asked for this often even without an event that calls for it */
#define ANSWER_MS 3000 /* a control process that is just starting answers later; then it is asked again */
#define REST_MS 1000   /* for events that are still on their way when the end is known */

#define GOES_ON (-1) /* no exit status yet */

struct follower {
    const struct session *session;
    const struct follow_plan *plan;
    struct terminal terminal;
    struct feed *feed;
    bool seen;          /* an event of this deployment has come */
    bool end_seen;      /* and the one of its end */
    bool uptest_failed; /* it has told what is wrong; else the launch, or an instance that was never ready */
    bool is_due;        /* its state is to be asked for */
    bool drains;
    uint64_t next_check_ms;
    uint64_t next_count_ms; /* of requests in flight */
    char *replaces;         /* or NULL */
    char *waits_for;        /* last shown, or NULL */
    int64_t in_flight;      /* last shown; -1: none */
    struct board *board;    /* NULL: plain lines */
    bool gate_kept;         /* the matrix stands above what is drawn */
    struct buf drawn;       /* last */
    json_t *deployment;     /* as last asked for, or NULL */
};

int follow_status(const char *state, enum follow_until until)
{
    static const struct {
        const char *state;
        int status;
        enum follow_until until; /* it is an end for; FOLLOW_ENDED: for all */
    } ends[] = {
        {"done", CLI_DONE, FOLLOW_ENDED},
        {"rejected", CLI_REJECTED, FOLLOW_ENDED},
        {"rolled_back", CLI_ROLLED_BACK, FOLLOW_ENDED},
        {"aborted", CLI_ABORTED, FOLLOW_ENDED},
        {"held", CLI_DONE, FOLLOW_HELD},
        {"canary", CLI_DONE, FOLLOW_SWAPPED},
        {"watching", CLI_DONE, FOLLOW_SWAPPED},
        {"draining", CLI_DONE, FOLLOW_SWAPPED},
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (strcmp(ends[i].state, state) == 0 && (ends[i].until == FOLLOW_ENDED || ends[i].until == until))
            return ends[i].status;
    }
    return GOES_ON;
}

/* Its watch has failed, and it waits for a person. */
static bool is_doubted(const json_t *deployment)
{
    return (field_is(deployment, "state", "watching") || field_is(deployment, "state", "canary")) &&
           field_text(deployment, "reason", "")[0] != '\0';
}

/* The old pool's drain and teardown are part of what happens to this deployment. */
static bool concerns(const struct follower *follower, const json_t *event)
{
    if (field_is(event, "deployment", follower->plan->deployment))
        return true;
    const char *type = field_text(event, "type", "");
    bool ends_a_pool = strncmp(type, "drain.", 6) == 0 || strncmp(type, "teardown.", 9) == 0 ||
                       strcmp(type, "instance.retired") == 0;
    return follower->seen && ends_a_pool && follower->replaces != NULL &&
           (field_is(event, "pool", follower->replaces) || field_is(event, "deployment", follower->replaces));
}

static uint64_t elapsed(const struct follower *follower)
{
    return clock_mono_ms() - follower->plan->start_ms;
}

/* Where a person looks at the board, and it shows this as well. */
static bool is_on_board(const struct follower *follower, const json_t *event)
{
    return follower->board != NULL &&
           (field_is(event, "type", "uptest.started") || field_is(event, "type", "teardown.started") ||
            field_is(event, "type", "instance.retired") ||
            (field_is(event, "type", "uptest.finished") && field_true(event, "passed")));
}

/* Does its state change with it? */
static bool is_turn(const char *type)
{
    static const char *const prefixes[] = {"deployment.", "gate.", "swap.", "canary.", "watch."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(type, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* The matrix is full, or will not be any fuller: it is left standing, and what follows comes below it. */
static void keep_gate(struct follower *follower)
{
    if (follower->board == NULL || follower->gate_kept || !board_has_gate(follower->board))
        return;
    struct screen screen = screen_new(&follower->terminal);
    screen.height = SIZE_MAX;
    board_draw_gate(follower->board, &screen, clock_mono_ms());
    terminal_keep(&follower->terminal, &screen);
    screen_free(&screen);
    follower->gate_kept = true;
}

static void tell_board(struct follower *follower, const json_t *event)
{
    const char *type = field_text(event, "type", "");
    bool starts = strcmp(type, "uptest.started") == 0;
    if (follower->board == NULL)
        return;
    if (board_take_event(follower->board, event, clock_mono_ms()))
        follower->is_due = true;
    if (starts) /* a gate may begin again, behind a restart */
        follower->gate_kept = false;
    if (strncmp(type, "gate.", 5) == 0 || follower->end_seen)
        keep_gate(follower);
}

/* Is nothing more to come that would be shown? */
static bool is_end(const struct follower *follower, const char *type)
{
    if (follower->plan->until == FOLLOW_SWAPPED && (follower->drains || strncmp(type, "canary.", 7) == 0))
        return true;
    return strncmp(type, "deployment.", 11) == 0 &&
           follow_status(type + 11, follower->plan->until) != GOES_ON;
}

static void take_event(void *arg, struct str line, const json_t *event)
{
    struct follower *follower = arg;
    if (!concerns(follower, event))
        return;
    const char *type = field_text(event, "type", "");
    follower->seen = true;
    follower->is_due = follower->is_due || is_turn(type);
    if (strcmp(type, "uptest.finished") == 0 && !field_true(event, "passed"))
        follower->uptest_failed = true;
    if (strcmp(type, "swap.published") == 0 || strcmp(type, "drain.started") == 0)
        follower->drains = true;
    if (is_end(follower, type))
        follower->end_seen = true;
    if (follower->session->json && follower->plan->until != FOLLOW_SWAPPED)
        printf("%.*s\n", STR_ARG(line));
    tell_board(follower, event);
    if (!follower->session->json && !is_on_board(follower, event))
        report_event(&follower->terminal, elapsed(follower), event);
    fflush(stdout);
}

/* NULL: there is no answer now. *status is then 0, or that of a refusal. */
static json_t *get(const struct follower *follower, const char *before, const char *name, unsigned *status)
{
    struct err ignored;
    struct client_reply reply;
    char *path = client_path(before, name, "");
    enum client_result result =
        client_request(follower->session->client, "GET", path, NULL, ANSWER_MS, &reply, &ignored);
    free(path);
    *status = 0;
    if (result != CLIENT_ANSWERED)
        return NULL;
    *status = reply.status;
    json_t *json = reply.status == 200 ? json_incref(reply.json) : NULL;
    client_reply_free(&reply);
    return json;
}

/* The pool that this deployment replaces, while it drains; borrowed from the service. */
static const json_t *draining_pool(const struct follower *follower, const json_t *service)
{
    size_t i;
    const json_t *pool;
    json_array_foreach (json_object_get(service, "pools"), i, pool) {
        if (field_is(pool, "state", "draining") && follower->replaces != NULL &&
            field_is(pool, "deployment", follower->replaces))
            return pool;
    }
    return NULL;
}

/* Its traffic is measured. */
static bool is_measured(const struct follower *follower)
{
    return follower->board != NULL && (field_is(follower->deployment, "state", "watching") ||
                                       field_is(follower->deployment, "state", "canary"));
}

static void print_in_flight(struct follower *follower, const json_t *service)
{
    const json_t *pool = draining_pool(follower, service);
    int64_t count = field_number(pool, "in_flight", 0);
    if (pool != NULL && count != follower->in_flight)
        terminal_line(&follower->terminal, TONE_FAINT, "%8.1f s  %s drains: %lld in flight",
                      (double)elapsed(follower) / 1000, follower->replaces, (long long)count);
    follower->in_flight = count;
}

static void show_in_flight(struct follower *follower)
{
    if ((!follower->drains && !is_measured(follower)) || follower->session->json ||
        clock_mono_ms() < follower->next_count_ms)
        return;
    unsigned ignored;
    json_t *service = get(follower, "/v1/services/", follower->plan->service, &ignored);
    follower->next_count_ms = clock_mono_ms() + TURN_MS;
    if (follower->board != NULL)
        board_take_service(follower->board, service, follower->replaces);
    else
        print_in_flight(follower, service);
    json_decref(service);
}

static void keep_deployment(struct follower *follower, json_t *deployment)
{
    json_decref(follower->deployment);
    follower->deployment = deployment;
    free(follower->replaces);
    follower->replaces = mem_dup(json_string_value(json_object_get(deployment, "replaces")));
}

/* An app that takes its usual time to start is not told of. */
static void show_waits_for(struct follower *follower)
{
    const char *text = field_text(follower->deployment, "waits_for", "");
    bool is_news = follower->waits_for == NULL || strcmp(follower->waits_for, text) != 0;
    if (follower->session->json || text[0] == '\0' || !is_news || elapsed(follower) < CHECK_MS)
        return;
    terminal_line(&follower->terminal, TONE_FAINT, "%8.1f s  waits: %s", (double)elapsed(follower) / 1000,
                  text);
    free(follower->waits_for);
    follower->waits_for = mem_dup(text);
}

/* A canary whose last instance is asked once more before the swap is shown as one, and is on its way. */
static const char *stage_of(const struct follower *follower)
{
    const char *state = field_text(follower->deployment, "state", "");
    return follower->plan->until == FOLLOW_SWAPPED ? field_text(follower->deployment, "phase", state) : state;
}

/* Asks for the deployment's state when an event calls for it, or when none came for a while. Returns what it
 * means. */
static int check_state(struct follower *follower)
{
    unsigned status;
    if (!follower->is_due && clock_mono_ms() < follower->next_check_ms)
        return GOES_ON;
    json_t *deployment = get(follower, "/v1/deployments/", follower->plan->deployment, &status);
    if (deployment == NULL)
        return status == 404 ? CLI_REFUSED : GOES_ON;
    follower->is_due = false;
    follower->next_check_ms = clock_mono_ms() + CHECK_MS;
    keep_deployment(follower, deployment);
    show_waits_for(follower);
    if (follower->board != NULL && !follower->gate_kept)
        board_take_deployment(follower->board, deployment, clock_mono_ms());
    if (is_doubted(deployment) && follower->plan->until != FOLLOW_SWAPPED)
        return CLI_REJECTED;
    return follow_status(stage_of(follower), follower->plan->until);
}

/* Lets the last events come, so that the end is shown before its summary. */
static void take_rest(struct follower *follower)
{
    struct err ignored;
    uint64_t until = clock_mono_ms() + REST_MS, now;
    while (!follower->end_seen && !is_doubted(follower->deployment) && (now = clock_mono_ms()) < until) {
        if (feed_turn(follower->feed, until - now, &ignored) != FEED_OPEN)
            return;
    }
}

static void print_deployment(const json_t *deployment)
{
    char *text = json_dumps(deployment, JSON_COMPACT);
    printf("%s\n", text);
    free(text);
}

static void show_failed(struct follower *follower, const char *state)
{
    const char *replaces = follower->replaces;
    terminal_line(&follower->terminal, TONE_BAD, "%s: %s is %s, after %.1f s; %s%s", follower->plan->service,
                  follower->plan->deployment, state, (double)elapsed(follower) / 1000,
                  replaces != NULL ? replaces : "no pool is live", replaces != NULL ? " stays live" : "");
}

/* What a person can do now. */
static void show_next(struct follower *follower, const char *state)
{
    const char *deployment = follower->plan->deployment, *service = follower->plan->service;
    char *text = NULL;
    if (strcmp(state, "rejected") == 0 && !follower->uptest_failed)
        text = mem_printf("Next: \"upswap show %s\" has the whole story%s.", deployment,
                          json_is_object(json_object_get(follower->deployment, "launch"))
                              ? ", with the output of its launch"
                              : "");
    else if (strcmp(state, "rejected") == 0)
        text = mem_printf("Next: \"upswap show %s\" has every uptest's whole output; \"upswap uptest %s "
                          "HOST:PORT\" runs the suite without staging.",
                          deployment, service);
    else if (strcmp(state, "rolled_back") == 0)
        text = mem_printf("Next: \"upswap show %s\" has what was measured; \"upswap why %s\" tells how the "
                          "service stands.",
                          deployment, service);
    if (text != NULL)
        terminal_text(&follower->terminal, TONE_PLAIN, "", text);
    free(text);
}

/* The next one may have been swapped in while the pool before this one drained. */
static void show_done(struct follower *follower)
{
    unsigned ignored;
    const char *service = follower->plan->service, *deployment = follower->plan->deployment;
    double seconds = (double)elapsed(follower) / 1000;
    json_t *json = get(follower, "/v1/services/", service, &ignored);
    const char *live = field_text(json, "live", deployment);
    if (strcmp(live, deployment) == 0)
        terminal_line(&follower->terminal, TONE_GOOD, "%s: %s is live, after %.1f s", service, deployment,
                      seconds);
    else
        terminal_line(&follower->terminal, TONE_GOOD,
                      "%s: %s is done, after %.1f s, and was live; %s is live now", service, deployment,
                      seconds, live);
    json_decref(json);
}

static void show_end(struct follower *follower)
{
    const char *service = follower->plan->service, *state = field_text(follower->deployment, "state", "");
    const char *deployment = follower->plan->deployment;
    struct terminal *terminal = &follower->terminal;
    if (follower->session->json)
        print_deployment(follower->deployment);
    else if (follower->plan->until == FOLLOW_SWAPPED && follow_status(state, FOLLOW_SWAPPED) == CLI_DONE)
        terminal_line(terminal, TONE_GOOD, "%s: promoted; %s is %s", service, deployment,
                      strcmp(state, "canary") == 0 ? "a canary" : "live");
    else if (strcmp(state, "done") == 0)
        show_done(follower);
    else if (strcmp(state, "held") == 0)
        terminal_line(terminal, TONE_PLAIN,
                      "%s: %s waits; \"upswap promote %s\" swaps, \"upswap abort %s\" gives it up", service,
                      deployment, service, service);
    else if (is_doubted(follower->deployment))
        terminal_line(terminal, TONE_BAD, "%s: %s waits for a person: %s", service, deployment,
                      field_text(follower->deployment, "reason", ""));
    else {
        show_failed(follower, state);
        show_next(follower, state);
    }
}

static int leave(struct follower *follower, int status, const char *why)
{
    const char *deployment = follower->plan->deployment, *service = follower->plan->service;
    bool is_live = field_is(follower->deployment, "state", "watching"); /* too late for an abort */
    char *sentence = mem_printf("%s; %s goes on: \"upswap show %s\" tells how, \"upswap %s %s\" gives it up",
                                why, deployment, deployment, is_live ? "rollback" : "abort", service);
    terminal_settle(&follower->terminal);
    ask_warn("upswap: ", sentence);
    free(sentence);
    return status;
}

static void draw_board(const struct follower *follower, struct screen *screen)
{
    if (!follower->gate_kept && board_has_gate(follower->board))
        board_draw_gate(follower->board, screen, clock_mono_ms());
    if (is_measured(follower))
        board_draw_watch(follower->board, screen);
    board_draw_drain(follower->board, screen);
}

/* Only what differs is drawn: a terminal far away takes its time. */
static void draw(struct follower *follower, const struct screen *screen)
{
    bool is_same =
        follower->terminal.pending > 0 && str_equal(buf_str(&follower->drawn), buf_str(&screen->text));
    if (is_same)
        return;
    terminal_draw(&follower->terminal, screen);
    buf_free(&follower->drawn);
    buf_add_str(&follower->drawn, buf_str(&screen->text));
}

/* The line of the time comes first: a matrix that is longer than the terminal is cut below. */
static void show_progress(struct follower *follower)
{
    if (follower->board == NULL)
        return;
    terminal_measure(&follower->terminal);
    struct screen screen = screen_new(&follower->terminal);
    screen_add(&screen, TONE_PLAIN, "%8.1f s  %s: %s", (double)elapsed(follower) / 1000,
               follower->plan->deployment, field_text(follower->deployment, "state", "staged"));
    screen_end_line(&screen);
    draw_board(follower, &screen);
    draw(follower, &screen);
    screen_free(&screen);
}

/* How long a turn may wait: never past --timeout. */
static uint64_t turn_ms(const struct follower *follower)
{
    uint64_t gone = elapsed(follower), timeout = follower->plan->timeout_ms;
    uint64_t most = follower->board != NULL ? DRAW_MS : TURN_MS;
    if (timeout == 0 || timeout > gone + most)
        return most;
    return timeout > gone ? timeout - gone : 0;
}

/* One turn. Returns the exit status, or GOES_ON. */
static int turn(struct follower *follower)
{
    struct err err;
    if (follower->plan->timeout_ms != 0 && elapsed(follower) >= follower->plan->timeout_ms)
        return leave(follower, CLI_TIMEOUT, "the time of --timeout is over");
    switch (feed_turn(follower->feed, turn_ms(follower), &err)) {
    case FEED_INTERRUPTED:
        return leave(follower, CLI_INTERRUPTED, "interrupted");
    case FEED_LOST:
        return leave(follower, CLI_UNREACHABLE, err.text);
    case FEED_REFUSED:
        return ask_fail(CLI_REFUSED, &err);
    default:
        break;
    }
    int status = check_state(follower);
    if (status == CLI_REFUSED) {
        err_set(&err, "the daemon knows no deployment %s any more", follower->plan->deployment);
        return ask_fail(status, &err);
    }
    if (status == GOES_ON) {
        show_in_flight(follower);
        show_progress(follower);
        return status;
    }
    take_rest(follower);
    show_end(follower);
    return status;
}

int follow(const struct session *session, const struct follow_plan *plan)
{
    struct follower follower = {
        .session = session, .plan = plan, .in_flight = -1, .is_due = true, .gate_kept = plan->gate_passed};
    struct feed_options options = {
        .service = plan->service, .since = plan->since, .follow = true, .patient = true};
    follower.terminal = terminal_open(stdout);
    if (follower.terminal.live && !session->json)
        follower.board = board_new();
    client_catch_interrupt(session->client);
    follower.feed = feed_open(session->client, &options, take_event, &follower);
    (void)!check_state(&follower); /* which pool it replaces is to be known before the first event */
    follower.is_due = true;
    int status = GOES_ON;
    while (status == GOES_ON)
        status = turn(&follower);
    terminal_settle(&follower.terminal);
    feed_close(follower.feed);
    json_decref(follower.deployment);
    board_free(follower.board);
    buf_free(&follower.drawn);
    free(follower.replaces);
    free(follower.waits_for);
    return status;
}
