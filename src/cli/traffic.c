/* Errors of a pool are its answers of 5xx; those of an instance are exchanges with it that failed, also where
 * another one answered after all. */
#include "cli/traffic.h"

#include "cli/fields.h"

#include <string.h>

#define NAME_WIDTH 20

/* The member of the array whose `key` is the same as the given object's; NULL: none. */
static const json_t *same(const json_t *array, const char *key, const json_t *object)
{
    size_t i;
    const json_t *each;
    json_array_foreach (array, i, each) {
        if (field_is(each, key, field_text(object, key, "")))
            return each;
    }
    return NULL;
}

static double rate(const json_t *before, const json_t *now, const char *key, double seconds)
{
    int64_t more = field_number(now, key, 0) - field_number(before, key, 0);
    return before != NULL && more > 0 && seconds > 0 ? (double)more / seconds : 0;
}

/* ---- durations ---- */

static double bound_of(const json_t *pair)
{
    return json_number_value(json_array_get(pair, 0));
}

static int64_t total_of(const json_t *pair)
{
    return json_integer_value(json_array_get(pair, 1));
}

/* How many more there are in a bucket now. */
static int64_t more_in(const json_t *pair, const json_t *before)
{
    size_t i;
    const json_t *old;
    json_array_foreach (before, i, old) {
        if (bound_of(old) >= bound_of(pair) && bound_of(old) <= bound_of(pair))
            return total_of(pair) > total_of(old) ? total_of(pair) - total_of(old) : 0;
    }
    return total_of(pair);
}

/* The bound that this share of what was answered meanwhile stays below; null: nothing was. */
static json_t *quantile(const json_t *before, const json_t *now, double share)
{
    size_t i;
    const json_t *pair;
    int64_t count = 0, seen = 0;
    json_array_foreach (now, i, pair)
        count += more_in(pair, before);
    json_array_foreach (now, i, pair) {
        seen += more_in(pair, before);
        if (count > 0 && (double)seen >= share * (double)count)
            return json_real(bound_of(pair));
    }
    return json_null();
}

/* ---- rates ---- */

static json_t *instances_between(const json_t *before, const json_t *now, double seconds)
{
    size_t i;
    const json_t *instance;
    json_t *list = json_array();
    json_array_foreach (now, i, instance) {
        const json_t *old = same(before, "address", instance);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:f, s:f}", "address",
                                              field_text(instance, "address", "?"), "state",
                                              field_text(instance, "state", "?"), "in_flight",
                                              (json_int_t)field_number(instance, "in_flight", 0),
                                              "requests_per_second", rate(old, instance, "requests", seconds),
                                              "errors_per_second", rate(old, instance, "errors", seconds)));
    }
    return list;
}

static json_t *pool_between(const json_t *service, const json_t *old, const json_t *pool, double seconds)
{
    const json_t *before = json_object_get(old, "durations"), *now = json_object_get(pool, "durations");
    bool is_new = old == NULL; /* what it has done before it was first seen is of no known time */
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:f, s:f, s:o, s:o, s:o}", "service", field_text(service, "service", "?"),
        "pool", field_text(pool, "deployment", "?"), "state", field_text(pool, "state", "?"), "in_flight",
        (json_int_t)field_number(pool, "in_flight", 0), "requests_per_second",
        rate(old, pool, "requests", seconds), "errors_per_second", rate(old, pool, "answers_5xx", seconds),
        "p50", is_new ? json_null() : quantile(before, now, 0.5), "p99",
        is_new ? json_null() : quantile(before, now, 0.99), "instances",
        instances_between(json_object_get(old, "instances"), json_object_get(pool, "instances"), seconds));
}

json_t *traffic_between(const json_t *before, const json_t *now, double seconds, const char *service)
{
    size_t i, j;
    const json_t *each, *pool;
    json_t *pools = json_array();
    json_array_foreach (json_object_get(now, "services"), i, each) {
        const json_t *old = same(json_object_get(before, "services"), "service", each);
        if (service != NULL && !field_is(each, "service", service))
            continue;
        json_array_foreach (json_object_get(each, "pools"), j, pool)
            json_array_append_new(
                pools,
                pool_between(each, same(json_object_get(old, "pools"), "deployment", pool), pool, seconds));
    }
    return json_pack("{s:f, s:o}", "seconds", seconds, "pools", pools);
}

/* ---- for a person ---- */

static void draw_duration(struct screen *screen, const json_t *seconds)
{
    double ms = json_number_value(seconds) * 1000;
    if (!json_is_number(seconds))
        screen_add(screen, TONE_FAINT, " %8s", "-");
    else
        screen_add(screen, TONE_PLAIN, " %5.4g %2s", ms < 1000 ? ms : ms / 1000, ms < 1000 ? "ms" : "s");
}

static void draw_row(struct screen *screen, const char *indent, const char *name, const json_t *row)
{
    size_t n = strlen(name), most = NAME_WIDTH - strlen(indent);
    double errors = field_real(row, "errors_per_second");
    screen_add(screen, TONE_PLAIN, "%s%-*s %-8.8s %10.1f %9lld", indent, (int)most,
               n > most ? name + n - most : name, field_text(row, "state", "?"),
               field_real(row, "requests_per_second"), (long long)field_number(row, "in_flight", 0));
    screen_add(screen, errors > 0 ? TONE_BAD : TONE_PLAIN, " %9.1f", errors);
}

void traffic_draw(const json_t *traffic, struct screen *screen)
{
    size_t i, j;
    const json_t *pool, *instance;
    screen_add(screen, TONE_FAINT, "%-*s %-8s %10s %9s %9s %8s %8s", NAME_WIDTH, "pool", "state",
               "requests/s", "in flight", "errors/s", "p50", "p99");
    screen_end_line(screen);
    json_array_foreach (json_object_get(traffic, "pools"), i, pool) {
        draw_row(screen, "", field_text(pool, "pool", "?"), pool);
        draw_duration(screen, json_object_get(pool, "p50"));
        draw_duration(screen, json_object_get(pool, "p99"));
        screen_end_line(screen);
        json_array_foreach (json_object_get(pool, "instances"), j, instance) {
            draw_row(screen, "  ", field_text(instance, "address", "?"), instance);
            screen_end_line(screen);
        }
    }
}
