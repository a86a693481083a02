/* Every case of both tables, and every word of CONTRACT.md for the state of a service, a deployment and an
 * instance. */
#include "cli/explain.h"

#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdlib.h>

#define UP "{\"address\":\"h:1\",\"state\":\"up\"}"
#define POOL(instances) \
    "{\"deployment\":\"web-16\",\"state\":\"live\",\"release\":\"v41\",\"instances\":[" instances "]}"
#define SERVICE(state, more, pools) \
    "{\"service\":\"web\",\"state\":\"" state "\"," more "\"pools\":[" pools "]}"
#define MODE(more) "\"mode\":{\"since\":\"2026-11-22T10:00:00.1Z\",\"asked_by\":{\"user\":\"ann\"}" more "},"
#define ASKED "\"created\":\"2026-11-22T09:00:00Z\",\"asked_by\":{\"user\":\"bob\"}"
#define RUNS(state, more) \
    "\"deployment\":{\"deployment\":\"web-17\",\"release\":\"v42\",\"state\":\"" state "\"," more ASKED "},"
#define ENDED(state, reason)                                                                     \
    "[{\"deployment\":\"web-16\",\"release\":\"v41\",\"state\":\"" state "\",\"reason\":" reason \
    ",\"ended\":\"2026-11-22T09:05:00Z\"," ASKED "}]"
#define SERVED "web is served by web-16 (release v41), its one instance is up. "

struct example {
    const char *service, *deployments, *expected;
};

/* The sentences with a space between them. */
static void assert_explained(const struct example *example, const char *reasons_text)
{
    size_t i;
    json_t *sentence;
    struct buf text = BUF_EMPTY;
    json_t *service = json_loads(example->service, 0, NULL);
    json_t *deployments = example->deployments != NULL ? json_loads(example->deployments, 0, NULL) : NULL;
    json_t *reasons = reasons_text != NULL ? json_loads(reasons_text, 0, NULL) : NULL;
    assert_non_null(service);
    assert_true(example->deployments == NULL || deployments != NULL);
    json_t *sentences = explain(service, deployments, reasons);
    json_array_foreach (sentences, i, sentence)
        buf_printf(&text, "%s%s", i > 0 ? " " : "", json_string_value(sentence));
    assert_string_equal(text.p, example->expected);
    assert_in_range(json_array_size(sentences), 2, 3);
    assert_null(strchr(text.p, '{')); /* a fact that has no name */
    buf_free(&text);
    json_decref(sentences);
    json_decref(reasons);
    json_decref(deployments);
    json_decref(service);
}

static void where_the_daemon_starts_instances_deploy_brings_them(void **state)
{
    (void)state;
#define LAUNCHES "\"launches\":true,"
    static const struct example examples[] = {
        {SERVICE("empty", LAUNCHES, ""), "[]",
         "web has no live pool, so its requests are answered with 503 (no-live-pool). Nothing was ever "
         "staged for it. \"upswap deploy web RELEASE\" brings its first pool live."},
        {SERVICE("serving", LAUNCHES, POOL(UP)), ENDED("aborted", "null"),
         SERVED "The last deployment, web-16 (release v41), was aborted at 2026-11-22 09:05:00 UTC. "
                "\"upswap deploy web v41\" tries again; \"upswap show web-16\" has the whole story."},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        assert_explained(&examples[i], NULL);
}

static void what_clients_get_is_told_with_its_cause_and_its_remedy(void **state)
{
    (void)state;
#define DONE ENDED("done", "null")
#define STAGED "bob staged web-16 at 2026-11-22 09:00:00 UTC; it was done at 2026-11-22 09:05:00 UTC. "
#define OUT(state) "{\"address\":\"h:2\",\"state\":\"" state "\"}"
    static const struct example examples[] = {
        {SERVICE("serving", "", POOL(UP)), DONE,
         SERVED STAGED "\"upswap stage web HOST:PORT...\" brings the next release live."},
        {SERVICE("serving", "\"proxy_runs\":false,", POOL(UP)), DONE,
         "No proxy runs, so the clients of web wait for an answer. " STAGED
         "It is being started, again and again; the daemon's log says what prevents that."},
        {SERVICE("maintenance", MODE(",\"message\":\"back at 11.\""), POOL(UP)), DONE,
         "web answers every request with 503 since 2026-11-22 10:00:00 UTC, because ann put it into "
         "maintenance, with the message: back at 11. " STAGED
         "It is served again after \"upswap maintenance web off\"; nothing else ends this, no restart "
         "either."},
        {SERVICE("paused", MODE(",\"waiting\":3,\"until\":\"2026-11-22T10:00:30Z\",\"deployment\":null"),
                 POOL(UP)),
         DONE,
         "Requests of web wait since 2026-11-22 10:00:00 UTC, because ann paused it; 3 wait now. " STAGED
         "They are let go at 2026-11-22 10:00:30 UTC, or at once by \"upswap resume web\"."},
        {SERVICE("paused",
                 MODE(",\"waiting\":3,\"until\":\"2026-11-22T10:00:30Z\",\"deployment\":\"web-17\"")
                     RUNS("testing", ""),
                 POOL(UP)),
         DONE,
         "Requests of web wait since 2026-11-22 10:00:00 UTC, because web-17 runs a command, its uptests and "
         "its swap in a pause; 3 wait now. web-17 (release v42), staged by bob at 2026-11-22 09:00:00 UTC, "
         "goes through its gate. They are let go when web-17 is live or has failed, at the latest at "
         "2026-11-22 10:00:30 UTC; \"upswap abort web\" gives it up."},
        {SERVICE("empty", "", ""), "[]",
         "web has no live pool, so its requests are answered with 503 (no-live-pool). Nothing was ever "
         "staged "
         "for it. \"upswap stage web HOST:PORT...\" brings its first pool live."},
        {SERVICE("serving", "", POOL(OUT("drained"))), DONE,
         "Every instance of web-16 was taken out of rotation by hand, so the requests of web are answered "
         "with "
         "503 (no-instance). " STAGED "\"upswap enable web h:2\" takes it back."},
        {SERVICE("serving", "", POOL(OUT("down") "," OUT("drained"))), DONE,
         "No instance of web-16 is up, so web tries all of them as if they were: h:2 is down, because it "
         "refused. " STAGED
         "It is up again when its checks pass; \"upswap stage web HOST:PORT...\" brings others."},
        {SERVICE("serving", "", POOL(UP "," OUT("drained"))), DONE,
         "web is served by web-16 (release v41) with 1 of 2 instances: h:2 was taken out of rotation by "
         "hand. " STAGED "\"upswap enable web h:2\" takes it back."},
        {SERVICE("serving", "", POOL(UP "," OUT("ejected"))), DONE,
         "web is served by web-16 (release v41) with 1 of 2 instances: h:2 is ejected, because it "
         "refused. " STAGED "It gets requests again by itself, when its time is over or its uptests pass; "
         "\"upswap stage web HOST:PORT...\" brings others."},
        {SERVICE("serving", "", POOL("{\"address\":\"h:3\",\"state\":\"ejected\"}," UP "," OUT("down"))),
         DONE,
         "web is served by web-16 (release v41) with 1 of 3 instances: h:2 is down, because it "
         "refused. " STAGED "It gets requests again when its checks pass; \"upswap stage web HOST:PORT...\" "
         "brings others."},
        {SERVICE("serving", "", POOL(UP ",{\"address\":\"h:2\",\"state\":\"up\",\"uptests\":\"failed\"}")),
         DONE,
         "web is served by web-16 (release v41), all 2 instances are up, but h:2 fails the uptests that are "
         "run on a schedule. " STAGED "\"upswap uptest web h:2\" runs them now and shows what they say; "
         "\"upswap stage web HOST:PORT...\" brings others."},
        {SERVICE("serving", "", POOL(UP)), "[]",
         SERVED "Nothing was deployed yet: its pool is the one of the configuration. \"upswap stage web "
                "HOST:PORT...\" brings the next release live."},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        assert_explained(&examples[i], "{\"h:2\":\"it refused\"}");
}

static void what_a_running_deployment_waits_for_is_told(void **state)
{
    (void)state;
#define IT "web-17 (release v42)"
#define IT_STAGED IT ", staged by bob at 2026-11-22 09:00:00 UTC, "
#define LEFT "\"watched\":{\"left\":41.6},"
#define REPLACES "\"replaces\":\"web-16\","
#define CANARY "\"canary\":{\"shares\":[5.0,25.0],\"share\":5.0},"
    static const struct {
        const char *state, *more, *expected;
    } rows[] = {
        {"staged", "",
         IT
         " was staged by bob at 2026-11-22 09:00:00 UTC and waits until all its instances accept "
         "connections. Then it is tested; after ready_timeout it is rejected, and \"upswap abort web\" gives "
         "it up."},
        {"staged", "\"phase\":\"staged\",\"waits_for\":\"instance h:1 does not accept a connection: No.\",",
         IT " was staged by bob at 2026-11-22 09:00:00 UTC and waits until all its instances accept "
            "connections: instance h:1 does not accept a connection: No. Then it is tested; after "
            "ready_timeout it "
            "is rejected, and \"upswap abort web\" gives it up."},
        {"staged", "\"phase\":\"launching\",",
         "launch.command starts " IT ", which bob asked for at 2026-11-22 09:00:00 UTC. Its instances are "
         "tested when it has ended well, else it is rejected; \"upswap abort web\" gives it up."},
        {"staged", "\"phase\":\"staged\",",
         IT
         " was staged by bob at 2026-11-22 09:00:00 UTC and waits until all its instances accept "
         "connections. Then it is tested; after ready_timeout it is rejected, and \"upswap abort web\" gives "
         "it up."},
        {"testing", "\"phase\":\"pausing\",",
         "The command of " IT_STAGED
         "runs as soon as no request of web is in flight. If it ends well the uptests follow, else it is "
         "rejected; \"upswap abort web\" gives it up."},
        {"testing", "\"phase\":\"shadowing\",",
         IT_STAGED
         "has passed its uptests and is sent copies of live requests. If it answers them as web-16 does it "
         "is swapped in, else it is rejected; \"upswap abort web\" gives it up."},
        {"testing", "\"phase\":\"confirming\",\"hold\":true," CANARY,
         IT_STAGED "has passed its gate, and each instance is to accept one more connection. Then it becomes "
                   "a canary; if one does not it is rejected."},
        {"testing", "\"phase\":\"testing\",",
         IT_STAGED
         "goes through its gate. If every uptest passes on every instance it is swapped in, else it is "
         "rejected; \"upswap abort web\" gives it up."},
        {"testing", "",
         IT_STAGED
         "goes through its gate. If every uptest passes on every instance it is swapped in, else it is "
         "rejected; \"upswap abort web\" gives it up."},
        {"testing", CANARY,
         IT_STAGED
         "goes through its gate. If every uptest passes on every instance it becomes a canary, else "
         "it is rejected; \"upswap abort web\" gives it up."},
        {"testing", CANARY "\"hold\":true,",
         IT_STAGED "goes through its gate. If every uptest passes on every instance it is held before the "
                   "swap, else it is rejected; \"upswap abort web\" gives it up."},
        {"held", "",
         IT_STAGED "has passed its gate and is held, as was asked for. \"upswap promote web\" swaps it in, "
                   "\"upswap abort web\" gives it up; it is aborted when hold_timeout is over."},
        {"held", CANARY,
         IT_STAGED "has passed its gate and is held, as was asked for. \"upswap promote web\" makes it a "
                   "canary, \"upswap abort web\" gives it up; it is aborted when hold_timeout is over."},
        {"canary", CANARY LEFT,
         IT
         " is a canary with 5% of the new sessions for another 42 s. If that share does well it gets the "
         "next, else none; \"upswap promote web\" goes on at once, \"upswap rollback web\" takes it back."},
        {"canary", CANARY "\"reason\":\"5xx: 5.1%; `upswap promote web` keeps it\",",
         IT " waits for a person: 5xx: 5.1%; `upswap promote web` keeps it."},
        {"watching", REPLACES LEFT,
         IT
         " is live and watched for another 42 s; web-16 stays armed. If it does worse, web-16 is live again, "
         "else web-16 drains; \"upswap rollback web\" or \"upswap promote web\" does so at once."},
        {"watching", "\"replaces\":null,",
         IT " is live and watched; there was no pool before it to swap back to. \"upswap promote web\" ends "
            "the watch."},
        {"watching", REPLACES "\"reason\":\"5xx\",", IT " waits for a person: 5xx."},
        {"draining", "\"replaces\":\"web-15\",",
         IT " is live, and web-15 drains with 7 in flight. It is done when nothing is in flight on the pool "
            "before it, at the latest at the drain deadlines, and that is torn down."},
        {"of another version", "", IT " is of another version."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *service = mem_printf(
            "{\"service\":\"web\",\"state\":\"serving\",\"deployment\":{\"deployment\":\"web-17\","
            "\"release\":\"v42\",\"state\":\"%s\",%s" ASKED
            "},\"pools\":[" POOL(UP) ",{\"deployment\":\"web-15\",\"state\":\"draining\",\"in_flight\":7}]}",
            rows[i].state, rows[i].more);
        char *expected = mem_printf(SERVED "%s", rows[i].expected);
        const struct example example = {service, NULL, expected};
        assert_explained(&example, NULL);
        free(expected);
        free(service);
    }
}

static void how_the_last_deployment_ended_is_told(void **state)
{
    (void)state;
#define AGAIN "\"upswap stage web HOST:PORT...\" tries again; \"upswap show web-16\" has the whole story."
#define LAST(what) "The last deployment, web-16 (release v41), was " what " at 2026-11-22 09:05:00 UTC"
    static const struct example examples[] = {
        {SERVICE("serving", "", POOL(UP)), ENDED("rejected", "\"01_alive exited with 1.\\nmore\""),
         SERVED LAST("rejected") ": 01_alive exited with 1. " AGAIN},
        {SERVICE("serving", "", POOL(UP)), ENDED("aborted", "\"by hand\""),
         SERVED LAST("aborted") ": by hand. " AGAIN},
        {SERVICE("serving", "", POOL(UP)), ENDED("rolled_back", "null"),
         SERVED LAST("rolled back") ". " AGAIN},
        {SERVICE("empty", "", ""), ENDED("rejected", "\"no\""),
         "web has no live pool, so its requests are answered with 503 (no-live-pool). " LAST(
             "rejected") ": no. " AGAIN},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        assert_explained(&examples[i], NULL);
}

static void an_answer_of_another_version_is_no_reason_to_fall_over(void **state)
{
    (void)state;
    static const struct example example = {
        "{\"pools\":[{\"state\":\"live\",\"instances\":[{}]}]}", "[{\"asked_by\":5}]",
        "? is served by ? with 0 of 1 instances:  was taken out of rotation by hand. ? is ?. "
        "\"upswap enable ? \" takes it back."};
    assert_explained(&example, "[]");
}

static void reasons_are_asked_for_only_where_there_are_some(void **state)
{
    (void)state;
    static const struct {
        const char *state;
        bool asks;
    } rows[] = {{"up", false}, {"drained", false}, {"down", true}, {"ejected", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *service = json_pack("{s:[{s:s, s:[{s:s}]}]}", "pools", "state", "live", "instances", "state",
                                    rows[i].state);
        assert_int_equal(explain_asks_for_reasons(service), rows[i].asks);
        json_decref(service);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_the_daemon_starts_instances_deploy_brings_them),
        cmocka_unit_test(what_clients_get_is_told_with_its_cause_and_its_remedy),
        cmocka_unit_test(what_a_running_deployment_waits_for_is_told),
        cmocka_unit_test(how_the_last_deployment_ended_is_told),
        cmocka_unit_test(an_answer_of_another_version_is_no_reason_to_fall_over),
        cmocka_unit_test(reasons_are_asked_for_only_where_there_are_some),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
