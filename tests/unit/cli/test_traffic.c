/* Rates from two looks at totals, and how they are shown. */
#include "cli/traffic.h"

#include "unit.h"

#include <stdlib.h>

#define LOOK(requests, failed, durations, instance_requests)                                               \
    "{\"services\":[{\"service\":\"shop\",\"pools\":[]},{\"service\":\"web\",\"pools\":[{\"deployment\":"  \
    "\"web-1\",\"state\":\"live\",\"in_flight\":7,\"requests\":" requests ",\"answers_5xx\":" failed       \
    ",\"durations\":[" durations "],\"instances\":[{\"address\":\"h:1\",\"state\":\"up\",\"in_flight\":7," \
    "\"requests\":" instance_requests ",\"errors\":4}]}]}]}"

static json_t *between(const char *before, const char *now, double seconds, const char *service)
{
    json_t *one = json_loads(before, 0, NULL), *two = json_loads(now, 0, NULL);
    assert_true(one != NULL && two != NULL);
    json_t *traffic = traffic_between(one, two, seconds, service);
    json_decref(one);
    json_decref(two);
    return traffic;
}

static void assert_drawn(json_t *traffic, const char *expected)
{
    struct screen screen = screen_new(&(struct terminal){.width = 0});
    traffic_draw(traffic, &screen);
    assert_string_equal(screen.text.p, expected);
    screen_free(&screen);
    json_decref(traffic);
}

#define HEAD "pool                 state    requests/s in flight  errors/s      p50      p99\n"

static void what_came_between_two_looks_is_divided_by_the_time(void **state)
{
    (void)state;
    /* 100 came: 50 below 1 ms, 48 below 2 ms, 2 below 2.5 s */
    assert_drawn(between(LOOK("1000", "3", "[0.001,900],[0.002,100]", "10"),
                         LOOK("1100", "13", "[0.001,950],[0.002,148],[2.5,2]", "110"), 2.0, NULL),
                 HEAD "web-1                live           50.0         7       5.0     1 ms   2.5  s\n"
                      "  h:1                up             50.0         7       0.0\n");
}

static void a_percentile_is_the_bound_that_so_many_stay_below(void **state)
{
    (void)state;
    static const struct {
        const char *durations;
        double p50, p99;
    } rows[] = {
        {"[0.001,99],[0.002,1]", 0.001, 0.001},
        {"[0.001,98],[0.002,2]", 0.001, 0.002},
        {"[0.001,50],[0.002,50]", 0.001, 0.002},
        {"[0.001,49],[0.002,51]", 0.002, 0.002},
        {"[0.001,1]", 0.001, 0.001},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char now[512];
        snprintf(now, sizeof now,
                 "{\"services\":[{\"service\":\"web\",\"pools\":[{\"deployment\":\"web-1\",\"durations\":[%s]"
                 "}]}]}",
                 rows[i].durations);
        json_t *traffic = between(LOOK("0", "0", "", "0"), now, 1, "web");
        const json_t *pool = json_array_get(json_object_get(traffic, "pools"), 0);
        assert_float_equal((float)json_number_value(json_object_get(pool, "p50")), (float)rows[i].p50, 1e-9F);
        assert_float_equal((float)json_number_value(json_object_get(pool, "p99")), (float)rows[i].p99, 1e-9F);
        json_decref(traffic);
    }
}

static void nothing_is_made_up_of_what_was_not_seen_twice(void **state)
{
    (void)state;
#define NOTHING                                                                             \
    HEAD "web-1                live            0.0         7       0.0        -        -\n" \
         "  h:1                up              0.0         7       0.0\n"
    static const char now[] = LOOK("50", "5", "[0.001,50]", "50");
    assert_drawn(between("{}", now, 1, "web"), NOTHING);                                /* a new pool */
    assert_drawn(between(now, now, 1, "web"), NOTHING);                                 /* no traffic */
    assert_drawn(between(LOOK("90", "9", "[0.001,90]", "90"), now, 1, "web"), NOTHING); /* a restart */
    assert_drawn(between(now, now, 1, "shop"), HEAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_between_two_looks_is_divided_by_the_time),
        cmocka_unit_test(a_percentile_is_the_bound_that_so_many_stay_below),
        cmocka_unit_test(nothing_is_made_up_of_what_was_not_seen_twice),
    };
    return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
