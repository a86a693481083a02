/* What a deployment has that an earlier one had not. */
#include "control/difference.h"

#include "unit.h"

#include <stdlib.h>

#define CELL(instance, uptest, state, seconds)                                                              \
    "{\"instance\":\"" instance "\",\"uptest\":\"" uptest "\",\"state\":\"" state "\",\"seconds\":" seconds \
    "}"
#define GATE(cells) "\"gate\":{\"passed\":true,\"cells\":[" cells "]}"

static json_t *between(const char *now, const char *then)
{
    json_t *is = json_loads(now, 0, NULL), *was = json_loads(then, 0, NULL);
    assert_non_null(is);
    assert_non_null(was);
    json_t *json = difference(is, was);
    json_decref(is);
    json_decref(was);
    assert_non_null(json);
    return json;
}

static void assert_member(const json_t *json, const char *name, const char *expected)
{
    char *text =
        json_dumps(json_object_get(json, name), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void what_is_the_same_is_no_difference_of_settings(void **state)
{
    (void)state;
#define CANARY(share) "\"canary\":{\"shares\":[5.0,25.0],\"step\":30.0,\"share\":" share "}"
    json_t *json =
        between("{\"release\":\"v2\",\"instances\":[\"h:1\",\"h:2\"],\"watch\":60.0,\"hold\":false," CANARY(
                    "5.0") "}",
                "{\"deployment\":\"web-1\",\"release\":\"v1\",\"instances\":[\"h:3\"],\"watch\":60.0,"
                "\"hold\":false," CANARY("25.0") "}");
    assert_member(json, "deployment", "\"web-1\"");
    assert_member(json, "release", "{\"then\":\"v1\",\"now\":\"v2\"}");
    assert_member(json, "instances", "{\"then\":1,\"now\":2}");
    assert_member(json, "settings", "[]");
    assert_member(json, "uptests", "null");
    json_decref(json);
}

static void settings_that_differ_are_named_with_both_values(void **state)
{
    (void)state;
    json_t *json = between("{\"watch\":60.0,\"canary\":null,\"hold\":true,\"allow_untested\":false}",
                           "{\"watch\":0.0," CANARY("25.0") ",\"hold\":false,\"allow_untested\":true}");
    assert_member(json, "settings",
                  "[{\"name\":\"watch\",\"then\":0.0,\"now\":60.0},"
                  "{\"name\":\"canary\",\"then\":{\"shares\":[5.0,25.0],\"step\":30.0},\"now\":null},"
                  "{\"name\":\"hold\",\"then\":false,\"now\":true},"
                  "{\"name\":\"allow_untested\",\"then\":true,\"now\":false}]");
    json_decref(json);
}

static void uptests_are_compared_by_name_over_all_instances(void **state)
{
    (void)state;
    json_t *json =
        between("{" GATE(CELL("h:1", "01", "passed", "0.5") "," CELL("h:1", "02", "failed", "0.25") "," CELL(
                    "h:1", "04", "waiting",
                    "0") "," CELL("h:2", "01", "failed",
                                  "0.25") "," CELL("h:2", "02", "passed",
                                                   "1.0") "," CELL("h:2", "04", "waiting", "0")) "}",
                "{" GATE(CELL("h:3", "01", "passed", "0.5") "," CELL("h:3", "02", "passed", "0.5") "," CELL(
                    "h:3", "03", "passed", "2.0")) "}");
    assert_member(json, "uptests",
                  "{\"then\":{\"count\":3,\"seconds\":3.0},\"now\":{\"count\":3,\"seconds\":1.5},"
                  "\"new\":[\"04\"],\"gone\":[\"03\"],\"failing\":[\"01\",\"02\"],"
                  "\"slower\":[{\"uptest\":\"02\",\"then\":0.5,\"now\":1.0}]}");
    json_decref(json);
}

static void much_slower_is_twice_as_long_and_a_second(void **state)
{
    (void)state;
    static const struct {
        const char *then, *now;
        bool told;
    } rows[] = {{"0.5", "1.0", true}, {"0.5", "0.99", false}, {"1.0", "1.99", false}, {"1.0", "2.0", true},
                {"0.0", "1.0", true}, {"0.1", "0.9", false},  {"60.0", "60.0", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char now[256], then[256];
        snprintf(now, sizeof now, "{" GATE(CELL("h:1", "01", "passed", "%s")) "}", rows[i].now);
        snprintf(then, sizeof then, "{" GATE(CELL("h:1", "01", "passed", "%s")) "}", rows[i].then);
        json_t *json = between(now, then);
        const json_t *uptests = json_object_get(json, "uptests");
        assert_int_equal(json_array_size(json_object_get(uptests, "slower")), rows[i].told ? 1 : 0);
        json_decref(json);
    }
}

static void what_failed_then_too_is_not_news(void **state)
{
    (void)state;
    json_t *json =
        between("{" GATE(CELL("h:1", "01", "failed", "0.5")) "}",
                "{" GATE(CELL("h:1", "01", "passed", "0.5") "," CELL("h:2", "01", "failed", "0.5")) "}");
    assert_int_equal(json_array_size(json_object_get(json_object_get(json, "uptests"), "failing")), 0);
    json_decref(json);
}

static void a_gate_that_did_not_run_is_not_compared(void **state)
{
    (void)state;
    static const char *const others[] = {"{}", "{\"gate\":null}", "{" GATE("") "}", "{" GATE("{},5") "}"};
    static const char one[] = "{" GATE(CELL("h:1", "01", "passed", "0.5")) "}";
    for (size_t i = 0; i < 2 * sizeof others / sizeof *others; i++) {
        json_t *json = i % 2 == 0 ? between(others[i / 2], one) : between(one, others[i / 2]);
        assert_member(json, "uptests", "null");
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_the_same_is_no_difference_of_settings),
        cmocka_unit_test(settings_that_differ_are_named_with_both_values),
        cmocka_unit_test(uptests_are_compared_by_name_over_all_instances),
        cmocka_unit_test(much_slower_is_twice_as_long_and_a_second),
        cmocka_unit_test(what_failed_then_too_is_not_news),
        cmocka_unit_test(a_gate_that_did_not_run_is_not_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
