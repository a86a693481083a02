#include "control/tallies.h"

#include "base/mem.h"

#include <stdlib.h>

/* A service of which everything is there. */
struct expected {
    UT_hash_handle hh;
    char service[];
};

struct tallies {
    struct event_subscription subscription;
    struct tally *families[TALLY_FAMILIES];
    struct expected *expected;
};

void tallies_label(struct buf *out, const char *name, const char *value)
{
    if (out->n > 0 && out->p[out->n - 1] != '{')
        buf_add(out, ",", 1);
    buf_add_str(out, str_of(name));
    buf_add(out, "=\"", 2);
    while (*value != '\0') {
        size_t plain = strcspn(value, "\\\"\n");
        buf_add(out, value, plain);
        value += plain;
        if (*value == '\0')
            break;
        buf_add(out, "\\", 1);
        buf_add(out, *value == '\n' ? "n" : value, 1);
        value++;
    }
    buf_add(out, "\"", 1);
}

/* The one of these labels. `service` NULL: it has none. */
static struct tally *tally_of(struct tally **family, const char *service, const char *label,
                              const char *value)
{
    struct buf labels = BUF_EMPTY;
    struct tally *tally = NULL;
    buf_add(&labels, "", 0);
    if (service != NULL) {
        buf_add_str(&labels, STR("{"));
        tallies_label(&labels, "service", service);
        if (label != NULL)
            tallies_label(&labels, label, value);
        buf_add_str(&labels, STR("}"));
    }
    HASH_FIND_STR(*family, labels.p, tally);
    if (tally == NULL) {
        tally = mem_zero(1, sizeof *tally);
        tally->labels = mem_dup(labels.p);
        HASH_ADD_KEYPTR(hh, *family, tally->labels, labels.n, tally);
    }
    buf_free(&labels);
    return tally;
}

static void tally_add(struct tally **family, const char *service, const char *label, const char *value,
                      double amount)
{
    struct tally *tally = tally_of(family, service, label, value);
    tally->count++;
    tally->sum += amount;
}

static void deployment_ended(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)event;
    tally_add(&tallies->families[TALLY_DEPLOYMENTS], service, "result", strchr(type, '.') + 1, 0);
}

static void watch_ended(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)event;
    tally_add(&tallies->families[TALLY_WATCHES], service, "result", strchr(type, '.') + 1, 0);
}

static void swap_published(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)type;
    double ns = json_number_value(json_object_get(event, "nanoseconds"));
    tally_add(&tallies->families[TALLY_SWAPS], service, NULL, NULL, ns / 1e9);
}

static void uptest_finished(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)type;
    const char *uptest = json_string_value(json_object_get(event, "uptest"));
    bool passed = json_is_true(json_object_get(event, "passed"));
    double seconds = json_number_value(json_object_get(event, "seconds"));
    tally_add(&tallies->families[TALLY_UPTEST_SECONDS], service, "uptest", uptest != NULL ? uptest : "",
              seconds);
    tally_add(&tallies->families[TALLY_UPTESTS], service, "result", passed ? "passed" : "failed", 0);
}

static void teardown_ended(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)event;
    tally_add(&tallies->families[TALLY_TEARDOWNS], service, "result", strchr(type, '.') + 1, 0);
}

static void proxy_restarted(struct tallies *tallies, const char *service, const char *type, json_t *event)
{
    (void)service;
    (void)type;
    (void)event;
    tally_add(&tallies->families[TALLY_PROXY_RESTARTS], NULL, NULL, NULL, 0);
}

static const struct {
    const char *type;
    void (*count)(struct tallies *tallies, const char *service, const char *type, json_t *event);
} counted[] = {
    {"deployment.done", deployment_ended},
    {"deployment.rejected", deployment_ended},
    {"deployment.aborted", deployment_ended},
    {"deployment.rolled_back", deployment_ended},
    {"watch.passed", watch_ended},
    {"watch.failed", watch_ended},
    {"swap.published", swap_published},
    {"uptest.finished", uptest_finished},
    {"teardown.finished", teardown_ended},
    {"teardown.failed", teardown_ended},
    {"daemon.proxy_restarted", proxy_restarted},
};

static const struct {
    enum tally_family family;
    const char *result;
} results[] = {
    {TALLY_DEPLOYMENTS, "done"},        {TALLY_DEPLOYMENTS, "rejected"}, {TALLY_DEPLOYMENTS, "aborted"},
    {TALLY_DEPLOYMENTS, "rolled_back"}, {TALLY_WATCHES, "passed"},       {TALLY_WATCHES, "failed"},
    {TALLY_UPTESTS, "passed"},          {TALLY_UPTESTS, "failed"},       {TALLY_TEARDOWNS, "finished"},
    {TALLY_TEARDOWNS, "failed"},
};

/* Asked with each writing, for each service. */
static bool is_new(struct tallies *tallies, const char *service)
{
    struct expected *expected;
    HASH_FIND_STR(tallies->expected, service, expected);
    if (expected != NULL)
        return false;
    expected = mem_zero(1, sizeof *expected + strlen(service) + 1);
    strcpy(expected->service, service);
    HASH_ADD_STR(tallies->expected, service, expected);
    return true;
}

void tallies_expect(struct tallies *tallies, const char *service)
{
    if (service == NULL) {
        tally_of(&tallies->families[TALLY_PROXY_RESTARTS], NULL, NULL, NULL);
        return;
    }
    if (!is_new(tallies, service))
        return;
    tally_of(&tallies->families[TALLY_SWAPS], service, NULL, NULL);
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        tally_of(&tallies->families[results[i].family], service, "result", results[i].result);
}

static void event_added(struct event_subscription *subscription, uint64_t seq, const char *service,
                        struct str line)
{
    (void)seq;
    struct tallies *tallies = mem_container(subscription, struct tallies, subscription);
    json_t *event = json_loadb(line.p, line.n, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    for (size_t i = 0; type != NULL && i < sizeof counted / sizeof *counted; i++) {
        if (strcmp(type, counted[i].type) == 0)
            counted[i].count(tallies, service, type, event);
    }
    json_decref(event);
}

struct tallies *tallies_new(struct event_log *events)
{
    struct tallies *tallies = mem_zero(1, sizeof *tallies);
    tallies->subscription.added = event_added;
    event_log_subscribe(events, &tallies->subscription);
    return tallies;
}

void tallies_free(struct tallies *tallies)
{
    event_log_unsubscribe(&tallies->subscription);
    struct expected *expected, *after;
    HASH_ITER(hh, tallies->expected, expected, after)
    {
        HASH_DEL(tallies->expected, expected);
        free(expected);
    }
    for (size_t i = 0; i < TALLY_FAMILIES; i++) {
        struct tally *tally, *next;
        HASH_ITER(hh, tallies->families[i], tally, next)
        {
            HASH_DEL(tallies->families[i], tally);
            free(tally->labels);
            free(tally);
        }
    }
    free(tallies);
}

const struct tally *tallies_first(const struct tallies *tallies, enum tally_family family)
{
    return tallies->families[family];
}
