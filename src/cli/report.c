/* One row a type of event. A type without a row, from a daemon of another version, is shown by its name. */
#include "cli/report.h"

#include "cli/fields.h"

#include <string.h>

#define INDENT "               "

struct moment {
    struct terminal *terminal;
    double seconds;
    const json_t *event;
};

struct shape {
    const char *type;
    enum tone tone;
    void (*show)(const struct moment *moment, const struct shape *shape);
    const char *words;
};

/* "  12.3 s  " in front of the line. */
#define LINE(moment, tone, format, ...) \
    terminal_line((moment)->terminal, tone, "%8.1f s  " format, (moment)->seconds, __VA_ARGS__)

static char *write_verdict(bool passed, bool timed_out, json_int_t signal, json_int_t exit,
                           char out[REPORT_VERDICT_MAX])
{
    if (passed)
        snprintf(out, REPORT_VERDICT_MAX, "passed");
    else if (timed_out)
        snprintf(out, REPORT_VERDICT_MAX, "timed out");
    else if (signal > 0)
        snprintf(out, REPORT_VERDICT_MAX, "ended by signal %lld", (long long)signal);
    else if (exit > 0)
        snprintf(out, REPORT_VERDICT_MAX, "exited with %lld", (long long)exit);
    else
        snprintf(out, REPORT_VERDICT_MAX, "failed");
    return out;
}

char *report_verdict(const json_t *cell, char out[REPORT_VERDICT_MAX])
{
    const json_t *passed = json_object_get(cell, "passed");
    bool is_passed = passed != NULL ? json_is_true(passed) : field_is(cell, "state", "passed");
    return write_verdict(is_passed, field_true(cell, "timed_out"), field_number(cell, "signal", 0),
                         field_number(cell, "exit", -1), out);
}

char *report_verdict_by_hand(const json_t *result, char out[REPORT_VERDICT_MAX])
{
    return write_verdict(field_true(result, "Passed"), field_true(result, "TimedOut"),
                         field_number(result, "Signal", 0), field_number(result, "Exit", -1), out);
}

static void show_deployment(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s %s", field_text(moment->event, "deployment", "?"), shape->words);
}

/* With the sentence that says why. */
static void show_because(const struct moment *moment, const struct shape *shape)
{
    const char *why = field_text(moment->event, "reason", field_text(moment->event, "why", ""));
    LINE(moment, shape->tone, "%s %s%s%s", field_text(moment->event, "deployment", "?"), shape->words,
         why[0] != '\0' ? ": " : "", why);
}

static void show_staged(const struct moment *moment, const struct shape *shape)
{
    const char *release = field_text(moment->event, "release", "");
    LINE(moment, shape->tone, "%s %s%s%s", field_text(moment->event, "deployment", "?"), shape->words,
         release[0] != '\0' ? ": release " : "", release);
}

static void show_uptest_started(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s  %s  %s", field_text(moment->event, "instance", "?"),
         field_text(moment->event, "uptest", "?"), shape->words);
}

static void show_uptest_finished(const struct moment *moment, const struct shape *shape)
{
    char verdict[REPORT_VERDICT_MAX];
    bool passed = strcmp(report_verdict(moment->event, verdict), "passed") == 0;
    LINE(moment, passed ? TONE_GOOD : TONE_BAD, "%s  %s  %s %s %.2f s",
         field_text(moment->event, "instance", "?"), field_text(moment->event, "uptest", "?"), verdict,
         shape->words, field_real(moment->event, "seconds"));
    if (!passed)
        terminal_block(moment->terminal, INDENT, field_text(moment->event, "output", ""));
}

static void show_swap(const struct moment *moment, const struct shape *shape)
{
    double ms = field_real(moment->event, "nanoseconds") / 1e6;
    LINE(moment, shape->tone, "%s %s, %.3f ms from decision to publication",
         field_text(moment->event, "live", field_text(moment->event, "deployment", "?")), shape->words, ms);
}

static void show_step(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s %s %g%% of the new sessions", field_text(moment->event, "deployment", "?"),
         shape->words, field_real(moment->event, "share"));
}

static const char *pool_of(const json_t *event)
{
    return field_text(event, "pool", field_text(event, "deployment", "?"));
}

static void show_pool(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s %s", pool_of(moment->event), shape->words);
}

/* `forced` counts the instances that were still busy at the deadline. */
static void show_drained(const struct moment *moment, const struct shape *shape)
{
    long long forced = field_number(moment->event, "forced", 0);
    char more[64] = "";
    if (forced > 0)
        snprintf(more, sizeof more, ", %lld instance%s at the deadline", forced, forced == 1 ? "" : "s");
    LINE(moment, forced > 0 ? TONE_BAD : shape->tone, "%s %s in %.1f s%s", pool_of(moment->event),
         shape->words, field_real(moment->event, "seconds"), more);
}

static void show_instance(const struct moment *moment, const struct shape *shape)
{
    const char *reason = field_text(moment->event, "reason", "");
    LINE(moment, shape->tone, "%s %s%s%s", field_text(moment->event, "instance", "?"), shape->words,
         reason[0] != '\0' ? ": " : "", reason);
}

/* One that failed rejects its deployment, which says why. */
static void show_launch(const struct moment *moment, const struct shape *shape)
{
    long long count = field_number(moment->event, "instances", 0);
    bool passed = json_is_true(json_object_get(moment->event, "passed"));
    LINE(moment, passed ? shape->tone : TONE_BAD, "%s %s after %.1f s, with %lld instance%s", shape->words,
         passed ? "ended" : "failed", field_real(moment->event, "seconds"), count, count == 1 ? "" : "s");
}

/* Of the command that was to run in it. */
static void show_command(const struct moment *moment, const struct shape *shape)
{
    bool passed = field_true(moment->event, "passed");
    LINE(moment, passed ? shape->tone : TONE_BAD, "%s %s after %.1f s", shape->words,
         passed ? "ended" : "failed", field_real(moment->event, "seconds"));
}

static void show_service(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s %s", field_text(moment->event, "service", "?"), shape->words);
}

static void show_other(const struct moment *moment, const struct shape *shape)
{
    LINE(moment, shape->tone, "%s", field_text(moment->event, "type", "?"));
}

static const struct shape shapes[] = {
    {"deployment.staged", TONE_PLAIN, show_staged, "is staged"},
    {"launch.instance", TONE_PLAIN, show_instance, "is started"},
    {"launch.finished", TONE_PLAIN, show_launch, "launch.command"},
    {"deployment.ready", TONE_PLAIN, show_deployment, "is ready: every instance accepts connections"},
    {"pause.started", TONE_PLAIN, show_service, "is paused"},
    {"pause.quiet", TONE_PLAIN, show_service, "is quiet"},
    {"pause.command", TONE_PLAIN, show_command, "the command of the pause"},
    {"pause.ended", TONE_PLAIN, show_service, "is paused no more"},
    {"deployment.held", TONE_PLAIN, show_deployment, "is held"},
    {"deployment.promoted", TONE_PLAIN, show_deployment, "is promoted"},
    {"deployment.rejected", TONE_BAD, show_because, "is rejected"},
    {"deployment.aborted", TONE_BAD, show_because, "is aborted"},
    {"deployment.rolled_back", TONE_BAD, show_because, "is rolled back"},
    {"deployment.done", TONE_GOOD, show_deployment, "is done"},
    {"uptest.started", TONE_FAINT, show_uptest_started, "started"},
    {"uptest.finished", TONE_PLAIN, show_uptest_finished, "in"},
    {"uptest.failed", TONE_BAD, show_instance, "fails its uptests"},
    {"uptest.passed", TONE_GOOD, show_instance, "passes its uptests again"},
    {"shadow.started", TONE_PLAIN, show_because, "is sent copies of live requests"},
    {"gate.passed", TONE_GOOD, show_deployment, "passed its gate"},
    {"gate.failed", TONE_BAD, show_deployment, "failed its gate"},
    {"canary.step", TONE_GOOD, show_step, "has"},
    {"watch.started", TONE_PLAIN, show_deployment, "is watched; the pool before it is armed"},
    {"watch.passed", TONE_GOOD, show_because, "passed its watch"},
    {"watch.failed", TONE_BAD, show_because, "failed its watch"},
    {"swap.published", TONE_GOOD, show_swap, "is live"},
    {"drain.started", TONE_PLAIN, show_pool, "drains"},
    {"drain.finished", TONE_PLAIN, show_drained, "is drained"},
    {"instance.ejected", TONE_BAD, show_instance, "is out of rotation"},
    {"instance.restored", TONE_GOOD, show_instance, "is back in rotation"},
    {"instance.retired", TONE_FAINT, show_instance, "is retired"},
    {"teardown.started", TONE_FAINT, show_instance, "is being torn down"},
    {"teardown.finished", TONE_PLAIN, show_instance, "is torn down"},
    {"teardown.failed", TONE_BAD, show_instance, "could not be torn down"},
};
static const struct shape other_shape = {"", TONE_FAINT, show_other, ""};

void report_event(struct terminal *terminal, uint64_t elapsed_ms, const json_t *event)
{
    const struct moment moment = {terminal, (double)elapsed_ms / 1000, event};
    const char *type = field_text(event, "type", "");
    const struct shape *shape = &other_shape;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].type, type) == 0)
            shape = &shapes[i];
    }
    shape->show(&moment, shape);
}
