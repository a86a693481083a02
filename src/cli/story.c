/* Each part writes its own heading, and nothing where there is nothing to tell. What comes first in a line
 * has columns of a fixed width, what comes last is a text, which is broken where the terminal ends. */
#include "cli/story.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

#define DAY_SIZE 11 /* of FIELD_TIME_SIZE: "2026-11-22 " */

char *story_length(double seconds, char out[STORY_LENGTH_SIZE])
{
    if (!(seconds > 0 && seconds < 1e12))
        seconds = 0;
    uint64_t whole = (uint64_t)(seconds + 0.5);
    if (whole >= 86400)
        snprintf(out, STORY_LENGTH_SIZE, "%llud %02lluh", (unsigned long long)(whole / 86400),
                 (unsigned long long)(whole % 86400 / 3600));
    else if (whole >= 3600)
        snprintf(out, STORY_LENGTH_SIZE, "%lluh %02llum", (unsigned long long)(whole / 3600),
                 (unsigned long long)(whole % 3600 / 60));
    else if (whole >= 60)
        snprintf(out, STORY_LENGTH_SIZE, "%llum %02llus", (unsigned long long)(whole / 60),
                 (unsigned long long)(whole % 60));
    else
        snprintf(out, STORY_LENGTH_SIZE, seconds < 9.995 ? "%.2f s" : "%.1f s", seconds);
    return out;
}

static void heading(struct terminal *terminal, const char *text)
{
    terminal_line(terminal, TONE_PLAIN, "%s", "");
    terminal_line(terminal, TONE_PLAIN, "%s", text);
}

/* A line of a part, or several: a name, and what there is to be told of it, which is freed. */
static void tell(struct terminal *terminal, enum tone tone, const char *name, char *text)
{
    char label[32];
    snprintf(label, sizeof label, "  %-11.11s ", name);
    terminal_entry(terminal, tone, label, text);
    free(text);
}

/* The strings of an array, with something between them; to be freed. */
static char *join(const json_t *array, const char *between)
{
    size_t i;
    const json_t *item;
    struct buf out = BUF_EMPTY;
    json_array_foreach (array, i, item)
        buf_printf(&out, "%s%s", i > 0 ? between : "", json_is_string(item) ? json_string_value(item) : "?");
    char *text = str_dup(buf_str(&out));
    buf_free(&out);
    return text;
}

/* ---- what was asked for ---- */

static enum tone tone_of(const json_t *deployment)
{
    static const char *const bad[] = {"rejected", "aborted", "rolled_back"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (field_is(deployment, "state", bad[i]))
            return TONE_BAD;
    }
    return field_is(deployment, "state", "done") ? TONE_GOOD : TONE_PLAIN;
}

/* Who has a token has no uid, and who is another machine's has no pid. */
static char *asker_text(const json_t *asker)
{
    long long uid = field_number(asker, "uid", -1), pid = field_number(asker, "pid", 0);
    const char *user = field_text(asker, "user", "");
    struct buf out = BUF_EMPTY;
    buf_printf(&out, "%s", user[0] != '\0' ? user : "nobody that is known");
    if (uid >= 0)
        buf_printf(&out, ", uid %lld", uid);
    if (pid > 0)
        buf_printf(&out, ", pid %lld", pid);
    char *text = str_dup(buf_str(&out));
    buf_free(&out);
    return text;
}

static void add_shares(struct buf *out, const json_t *canary)
{
    size_t i;
    const json_t *share;
    char length[STORY_LENGTH_SIZE];
    json_array_foreach (json_object_get(canary, "shares"), i, share)
        buf_printf(out, "%s%g%%", i > 0 ? ", " : "", json_number_value(share));
    buf_printf(out, ", each for %s", story_length(field_real(canary, "step"), length));
}

/* "held; watched for 60 s"; empty where nothing special was. To be freed. */
static char *settings_text(const json_t *deployment)
{
    char length[STORY_LENGTH_SIZE];
    struct buf out = BUF_EMPTY;
    const json_t *canary = json_object_get(deployment, "canary");
    buf_add(&out, "", 0);
    if (field_true(deployment, "allow_untested"))
        buf_printf(&out, "accepted without uptests");
    if (field_true(deployment, "hold"))
        buf_printf(&out, "%sheld before the swap", out.n > 0 ? "; " : "");
    if (json_is_object(canary)) {
        buf_printf(&out, "%sa canary of ", out.n > 0 ? "; " : "");
        add_shares(&out, canary);
    }
    if (field_real(deployment, "watch") > 0)
        buf_printf(&out, "%swatched for %s", out.n > 0 ? "; " : "",
                   story_length(field_real(deployment, "watch"), length));
    char *text = str_dup(buf_str(&out));
    buf_free(&out);
    return text;
}

static void tell_unless_empty(struct terminal *terminal, const char *name, char *text)
{
    if (text[0] != '\0')
        tell(terminal, TONE_PLAIN, name, text);
    else
        free(text);
}

static void tell_times(struct terminal *terminal, const json_t *deployment)
{
    char created[FIELD_TIME_SIZE], ended[FIELD_TIME_SIZE];
    tell(terminal, TONE_PLAIN, "created", mem_printf("%s UTC", field_time(deployment, "created", created)));
    if (field_text(deployment, "ended", NULL) != NULL)
        tell(terminal, TONE_PLAIN, "ended", mem_printf("%s UTC", field_time(deployment, "ended", ended)));
}

static void tell_head(struct terminal *terminal, const json_t *deployment)
{
    terminal_line(terminal, tone_of(deployment), "%s: %s", field_text(deployment, "deployment", "?"),
                  field_text(deployment, "state", "?"));
    terminal_text(terminal, tone_of(deployment), "  ", field_text(deployment, "reason", ""));
    tell_unless_empty(terminal, "release", mem_dup(field_text(deployment, "release", "")));
    tell_unless_empty(terminal, "instances", join(json_object_get(deployment, "instances"), ", "));
    tell(terminal, TONE_PLAIN, "asked by", asker_text(json_object_get(deployment, "asked_by")));
    tell_unless_empty(terminal, "in place of", mem_dup(field_text(deployment, "replaces", "")));
    tell_unless_empty(terminal, "to be", settings_text(deployment));
    tell_times(terminal, deployment);
}

/* ---- timeline ---- */

static void tell_moment(struct terminal *terminal, const json_t *moment, char day[DAY_SIZE])
{
    const char *by = field_text(moment, "by", "");
    char time[FIELD_TIME_SIZE], length[STORY_LENGTH_SIZE] = "", label[64];
    bool is_whole = strlen(field_time(moment, "time", time)) == FIELD_TIME_SIZE - 1;
    if (is_whole && strncmp(time, day, DAY_SIZE - 1) != 0) {
        snprintf(day, DAY_SIZE, "%.*s", DAY_SIZE - 1, time);
        terminal_line(terminal, TONE_FAINT, "  %s", day);
    }
    if (json_is_number(json_object_get(moment, "seconds")))
        story_length(field_real(moment, "seconds"), length);
    snprintf(label, sizeof label, "  %-8s  %-11.11s %8.8s  ", is_whole ? time + DAY_SIZE : "-",
             field_text(moment, "state", "?"), length);
    char *text = mem_printf("%s%s%s%s", field_text(moment, "why", ""), by[0] != '\0' ? " (" : "", by,
                            by[0] != '\0' ? ")" : "");
    terminal_entry(terminal, TONE_PLAIN, label, text);
    free(text);
}

static void tell_timeline(struct terminal *terminal, const json_t *timeline)
{
    size_t i;
    const json_t *moment;
    char day[DAY_SIZE] = "";
    if (json_array_size(timeline) > 0)
        heading(terminal, "timeline, in UTC: when, state, for how long, why");
    json_array_foreach (timeline, i, moment)
        tell_moment(terminal, moment, day);
}

/* ---- what ran ---- */

static void tell_usage(struct terminal *terminal, const json_t *usage)
{
    const char *key = json_object_get(usage, "memory") != NULL ? "memory" : "memory_at_most";
    if (!json_is_object(usage))
        return;
    terminal_line(terminal, TONE_FAINT, "    CPU %.2f s user, %.2f s system; memory %s%.1f MB",
                  field_real(usage, "user"), field_real(usage, "system"),
                  strcmp(key, "memory") == 0 ? "" : "at most ", field_real(usage, key) / 1e6);
}

/* A program: a launch, or an uptest on an instance. */
static void tell_run(struct terminal *terminal, const char *on, const char *what, const json_t *run)
{
    char verdict[REPORT_VERDICT_MAX];
    bool failed = field_is(run, "state", "failed"), ended = failed || field_is(run, "state", "passed");
    char *argv = join(json_object_get(run, "argv"), " ");
    char *line = mem_printf("%s  %s  %s, %.2f s", on, what,
                            ended ? report_verdict(run, verdict) : field_text(run, "state", "?"),
                            field_real(run, "seconds"));
    terminal_entry(terminal, failed ? TONE_BAD : TONE_PLAIN, "  ", line);
    tell_usage(terminal, json_object_get(run, "usage"));
    terminal_text(terminal, TONE_FAINT, "    ", argv);
    terminal_block(terminal, "    ", field_text(run, "output", ""));
    free(line);
    free(argv);
}

static void tell_programs(struct terminal *terminal, const json_t *deployment)
{
    const json_t *launch = json_object_get(deployment, "launch");
    const json_t *command = json_object_get(deployment, "command");
    if (json_is_object(launch)) {
        heading(terminal, "launch");
        tell_run(terminal, field_text(deployment, "release", "?"), "launch.command", launch);
    }
    if (json_is_object(command)) {
        heading(terminal, "command of the pause");
        tell_run(terminal, field_text(deployment, "service", "?"), "the command of the pause", command);
    }
}

static void tell_gate(struct terminal *terminal, const json_t *gate)
{
    size_t i, passed = 0;
    const json_t *cell, *cells = json_object_get(gate, "cells");
    if (json_is_false(json_object_get(gate, "kept")))
        heading(terminal, "uptests: what they have come to is not kept any more; the daemon's log says why");
    json_array_foreach (cells, i, cell)
        passed += field_is(cell, "state", "passed");
    if (json_array_size(cells) > 0) {
        char *text = mem_printf("uptests: %zu of %zu passed", passed, json_array_size(cells));
        heading(terminal, text);
        free(text);
    }
    json_array_foreach (cells, i, cell)
        tell_run(terminal, field_text(cell, "instance", "?"), field_text(cell, "uptest", "?"), cell);
}

/* ---- what was measured ---- */

static void tell_shadow(struct terminal *terminal, const json_t *shadow)
{
    if (!json_is_object(shadow))
        return;
    heading(terminal, "copies of live requests");
    tell(terminal, TONE_PLAIN, "compared",
         mem_printf(
             "%lld; %lld answered differently, %lld slower, %lld not sent",
             (long long)field_number(shadow, "compared", 0), (long long)field_number(shadow, "differing", 0),
             (long long)field_number(shadow, "slower", 0), (long long)field_number(shadow, "dropped", 0)));
}

static double percent_of(const json_t *claim, const char *key)
{
    return field_real(claim, key) * 100;
}

/* Its answers beside those of the pool before it, from which the limits come: without them there is none. */
static void tell_answers(struct terminal *terminal, const json_t *deployment, const json_t *watched)
{
    const json_t *errors = json_object_get(watched, "errors"), *slow = json_object_get(watched, "slow");
    double before = field_real(watched, "requests_before");
    char title[32] = "", share[16] = "";
    if (before > 0) {
        snprintf(title, sizeof title, ">= %.0f ms", field_real(watched, "slow_seconds") * 1000);
        snprintf(share, sizeof share, "%.2f%%", percent_of(slow, "share"));
    }
    terminal_line(terminal, TONE_FAINT, "  %-24s %10s %8s %10s %12s", "", "requests", "5xx", "p99", title);
    terminal_line(terminal, TONE_PLAIN, "  %-24.24s %10lld %7.2f%% %7.0f ms %12s",
                  field_text(deployment, "deployment", "?"), (long long)field_number(watched, "requests", 0),
                  percent_of(errors, "share"), field_real(watched, "p99") * 1000, share);
    if (before <= 0)
        return;
    terminal_line(terminal, TONE_PLAIN, "  %-24.24s %10.0f %7.2f%% %7.0f ms",
                  field_text(deployment, "replaces", "the pool before it"), before,
                  field_real(watched, "errors_before") * 100 / before,
                  field_real(watched, "p99_before") * 1000);
    terminal_line(terminal, TONE_PLAIN, "  %-24s %10s %7.2f%% %10s %11.2f%%", "limit", "",
                  percent_of(errors, "limit"), "", percent_of(slow, "limit"));
}

/* How a watch stands, or stood when it ended. */
static void tell_watch(struct terminal *terminal, const json_t *deployment)
{
    const json_t *watched = json_object_get(deployment, "watched");
    const json_t *uptest = json_object_get(watched, "uptest");
    const char *failure = field_text(watched, "failure", "");
    char length[STORY_LENGTH_SIZE], rest[STORY_LENGTH_SIZE];
    double left = field_real(watched, "left");
    bool goes_on = left > 0 && field_text(deployment, "ended", NULL) == NULL;
    if (!json_is_object(watched))
        return;
    char *text = mem_printf("watched for %s%s%s", story_length(field_real(watched, "seconds"), length),
                            goes_on ? ", for another " : "", goes_on ? story_length(left, rest) : "");
    heading(terminal, text);
    free(text);
    tell_answers(terminal, deployment, watched);
    if (field_number(watched, "uptests_passed", 0) > 0)
        terminal_line(terminal, TONE_PLAIN, "  runs of its uptests that passed: %lld",
                      (long long)field_number(watched, "uptests_passed", 0));
    terminal_text(terminal, TONE_BAD, "  ", failure);
    if (json_is_object(uptest))
        terminal_block(terminal, "    ", field_text(uptest, "output", ""));
}

/* ---- what is other than before ---- */

/* A setting as a word; to be freed. */
static char *value_text(const json_t *value)
{
    char length[STORY_LENGTH_SIZE];
    struct buf out = BUF_EMPTY;
    if (json_is_number(value))
        return mem_dup(story_length(json_number_value(value), length));
    if (!json_is_object(value))
        return mem_dup(json_is_true(value) ? "yes" : "no");
    add_shares(&out, value);
    char *text = str_dup(buf_str(&out));
    buf_free(&out);
    return text;
}

/* "old -> new"; frees both. */
static char *change_text(char *then, char *now)
{
    char *text = mem_printf("%s -> %s", then[0] != '\0' ? then : "none", now[0] != '\0' ? now : "none");
    free(then);
    free(now);
    return text;
}

static void tell_settings(struct terminal *terminal, const json_t *settings)
{
    size_t i;
    const json_t *setting;
    json_array_foreach (settings, i, setting) {
        const char *name = field_text(setting, "name", "?");
        bool is_long = strcmp(name, "allow_untested") == 0;
        tell(terminal, TONE_PLAIN, is_long ? "untested" : name,
             change_text(value_text(json_object_get(setting, "then")),
                         value_text(json_object_get(setting, "now"))));
    }
}

static char *suite_text(const json_t *suite)
{
    char length[STORY_LENGTH_SIZE];
    return mem_printf("%lld in %s", (long long)field_number(suite, "count", 0),
                      story_length(field_real(suite, "seconds"), length));
}

static void tell_slower(struct terminal *terminal, const json_t *slower)
{
    size_t i;
    const json_t *uptest;
    char then[STORY_LENGTH_SIZE], now[STORY_LENGTH_SIZE];
    json_array_foreach (slower, i, uptest)
        tell(terminal, TONE_BAD, "slower",
             mem_printf("%s: %s -> %s", field_text(uptest, "uptest", "?"),
                        story_length(field_real(uptest, "then"), then),
                        story_length(field_real(uptest, "now"), now)));
}

static void tell_uptests(struct terminal *terminal, const json_t *uptests)
{
    static const struct {
        const char *key, *name;
        enum tone tone;
    } lists[] = {
        {"new", "new", TONE_PLAIN}, {"gone", "gone", TONE_PLAIN}, {"failing", "failing now", TONE_BAD}};
    if (!json_is_object(uptests))
        return;
    tell(terminal, TONE_PLAIN, "uptests",
         change_text(suite_text(json_object_get(uptests, "then")),
                     suite_text(json_object_get(uptests, "now"))));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *list = json_object_get(uptests, lists[i].key);
        if (json_array_size(list) > 0)
            tell(terminal, lists[i].tone, lists[i].name, join(list, ", "));
    }
    tell_slower(terminal, json_object_get(uptests, "slower"));
}

static void tell_difference(struct terminal *terminal, const json_t *difference)
{
    const json_t *release = json_object_get(difference, "release");
    const json_t *instances = json_object_get(difference, "instances");
    const char *now = field_text(release, "now", ""), *then = field_text(release, "then", "");
    long long count = field_number(instances, "now", 0), before = field_number(instances, "then", 0);
    if (!json_is_object(difference))
        return;
    char *text = mem_printf("since %s, the last good deployment", field_text(difference, "deployment", "?"));
    heading(terminal, text);
    free(text);
    tell(terminal, TONE_PLAIN, "release",
         strcmp(now, then) == 0 ? mem_printf("%s, as then", now[0] != '\0' ? now : "none")
                                : change_text(mem_dup(then), mem_dup(now)));
    tell(terminal, TONE_PLAIN, "instances",
         count == before ? mem_printf("%lld, as then", count) : mem_printf("%lld -> %lld", before, count));
    tell_settings(terminal, json_object_get(difference, "settings"));
    tell_uptests(terminal, json_object_get(difference, "uptests"));
}

/* ---- the whole ---- */

void story_tell(struct terminal *terminal, const json_t *deployment)
{
    tell_head(terminal, deployment);
    tell_timeline(terminal, json_object_get(deployment, "timeline"));
    tell_difference(terminal, json_object_get(deployment, "difference"));
    tell_programs(terminal, deployment);
    tell_shadow(terminal, json_object_get(deployment, "shadow"));
    tell_watch(terminal, deployment);
    tell_gate(terminal, json_object_get(deployment, "gate"));
}
