/* The cells of each gate are first summed up by uptest: an object of name -> {"seconds","failed"}, in the
 * order of the suite. */
#include "control/difference.h"

#include <stdbool.h>
#include <string.h>

#define SLOWER_TIMES 2.0
#define SLOWER_LEAST 1.0 /* s */

static bool is_state(const json_t *cell, const char *state)
{
    const char *is = json_string_value(json_object_get(cell, "state"));
    return is != NULL && strcmp(is, state) == 0;
}

static double seconds_of(const json_t *object)
{
    return json_number_value(json_object_get(object, "seconds"));
}

static void add_cell(json_t *sums, const json_t *cell)
{
    const char *name = json_string_value(json_object_get(cell, "uptest"));
    const json_t *sum = json_object_get(sums, name != NULL ? name : "");
    double seconds = seconds_of(cell), before = seconds_of(sum);
    bool failed = is_state(cell, "failed") || json_is_true(json_object_get(sum, "failed"));
    if (name != NULL)
        json_object_set_new(
            sums, name,
            json_pack("{s:f, s:b}", "seconds", seconds > before ? seconds : before, "failed", failed));
}

/* Empty where there was no gate. */
static json_t *sum_up(const json_t *deployment)
{
    size_t i;
    const json_t *cell;
    json_t *sums = json_object();
    json_array_foreach (json_object_get(json_object_get(deployment, "gate"), "cells"), i, cell)
        add_cell(sums, cell);
    return sums;
}

static json_t *suite_json(json_t *sums)
{
    const char *name;
    json_t *sum;
    double seconds = 0;
    json_object_foreach (sums, name, sum)
        seconds += seconds_of(sum);
    return json_pack("{s:I, s:f}", "count", (json_int_t)json_object_size(sums), "seconds", seconds);
}

/* Those of `sums` that are not in `others`. */
static json_t *names_beside(json_t *sums, const json_t *others)
{
    const char *name;
    json_t *sum, *names = json_array();
    json_object_foreach (sums, name, sum) {
        if (json_object_get(others, name) == NULL)
            json_array_append_new(names, json_string(name));
    }
    return names;
}

static void compare(const char *name, const json_t *now, const json_t *then, json_t *failing, json_t *slower)
{
    double seconds = seconds_of(now), before = seconds_of(then);
    if (json_is_true(json_object_get(now, "failed")) && json_is_false(json_object_get(then, "failed")))
        json_array_append_new(failing, json_string(name));
    if (seconds >= SLOWER_LEAST && seconds >= SLOWER_TIMES * before)
        json_array_append_new(slower,
                              json_pack("{s:s, s:f, s:f}", "uptest", name, "then", before, "now", seconds));
}

static json_t *uptests_json(json_t *now, json_t *then)
{
    const char *name;
    json_t *sum, *failing = json_array(), *slower = json_array();
    json_object_foreach (now, name, sum) {
        const json_t *before = json_object_get(then, name);
        if (before != NULL)
            compare(name, sum, before, failing, slower);
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "then", suite_json(then), "now", suite_json(now),
                     "new", names_beside(now, then), "gone", names_beside(then, now), "failing", failing,
                     "slower", slower);
}

static json_t *uptests_between(const json_t *now, const json_t *then)
{
    json_t *sums = sum_up(now), *before = sum_up(then);
    bool both = json_object_size(sums) > 0 && json_object_size(before) > 0;
    json_t *json = both ? uptests_json(sums, before) : json_null();
    json_decref(sums);
    json_decref(before);
    return json;
}

/* What a canary was to do, and not how far it came. */
static json_t *setting_of(const json_t *deployment, const char *name)
{
    json_t *value = json_object_get(deployment, name);
    if (json_is_object(value)) {
        value = json_copy(value);
        json_object_del(value, "share");
        return value;
    }
    return value == NULL ? json_null() : json_incref(value);
}

static json_t *settings_between(const json_t *now, const json_t *then)
{
    static const char *const names[] = {"watch", "canary", "hold", "allow_untested"};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *is = setting_of(now, names[i]), *was = setting_of(then, names[i]);
        if (!json_equal(is, was))
            json_array_append_new(list,
                                  json_pack("{s:s, s:O, s:O}", "name", names[i], "then", was, "now", is));
        json_decref(is);
        json_decref(was);
    }
    return list;
}

static json_t *release_of(const json_t *deployment)
{
    json_t *release = json_object_get(deployment, "release");
    return release == NULL ? json_null() : json_incref(release);
}

static json_int_t instances_of(const json_t *deployment)
{
    return (json_int_t)json_array_size(json_object_get(deployment, "instances"));
}

json_t *difference(const json_t *now, const json_t *then)
{
    const char *name = json_string_value(json_object_get(then, "deployment"));
    return json_pack("{s:s, s:{s:o, s:o}, s:{s:I, s:I}, s:o, s:o}", "deployment", name != NULL ? name : "",
                     "release", "then", release_of(then), "now", release_of(now), "instances", "then",
                     instances_of(then), "now", instances_of(now), "settings", settings_between(now, then),
                     "uptests", uptests_between(now, then));
}
