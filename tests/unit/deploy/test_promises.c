/* A random walk over all records, allowed or not, against the promises of DESIGN.md that the registry alone
 * can keep. Seeds are fixed: a failure can be run again. */
#include "deploy/registry.h"

#include "unit.h"

#include "promises.h"
#include "walk.h"

#include <stdlib.h>

#define WALKS 80
#define STEPS 400
#define SHORT 80 /* steps of a walk whose whole image costs little */

struct walk {
    struct registry *registry;
    unsigned next_instance;
    bool had_live, had_swap;
    char **journal; /* lines of what was applied */
    size_t lines;
};

static unsigned pick(unsigned count)
{
    return (unsigned)rand() % count;
}

static struct pool *any_pool(struct walk *walk)
{
    unsigned index = pick(HASH_COUNT(walk->registry->pools));
    struct pool *pool = walk->registry->pools;
    while (index-- > 0)
        pool = pool->hh.next;
    return pool;
}

static void random_pool(struct walk *walk, struct record *record)
{
    struct service *service = registry_service(walk->registry, "web");
    bool first = service == NULL && pick(2) == 0;
    char name[32];
    snprintf(name, sizeof name, "web-%u", service == NULL ? !first : (unsigned)service->last_number + 1);
    bool launches = !first && pick(3) == 0;
    struct pool *pool = make_pool(name, launches ? 0 : 1 + pick(3), walk->next_instance, !first);
    walk->next_instance += 3;
    if (launches)
        pool->deployment->state = DEPLOYMENT_LAUNCHING;
    if (!first) {
        pool->deployment->hold = pick(2) == 0;
        pool->deployment->shadow_ms = pick(2) * 1000;
        pool->deployment->watch_ms = pick(2) * 1000;
        pool->deployment->canary = (struct canary){.shares = {10000, 500000}, .count = pick(3), .step_ms = 7};
        if (pick(4) == 0)
            deployment_pause_with(pool->deployment, (const char *const[]){"true"}, 1, 1000);
    }
    pool_record(record, pool);
}

/* Of so many events few are possible in a state, and a walk that stands still shows nothing. */
static enum deployment_event random_event(const struct pool *pool)
{
    enum deployment_event event = (enum deployment_event)pick(DEPLOYMENT_EVENTS);
    for (unsigned i = 0; i < 30 && pool_transition(pool, event) == NULL; i++)
        event = (enum deployment_event)pick(DEPLOYMENT_EVENTS);
    return event;
}

static void random_record(struct walk *walk, struct record *record)
{
    unsigned what = pick(11);
    if (walk->registry->pools == NULL || what == 0) {
        random_pool(walk, record);
        return;
    }
    struct service *service = registry_service(walk->registry, "web");
    struct pool *pool = what < 6 && service->running != NULL ? service->running->pool : any_pool(walk);
    if (what < 7) {
        event_record(record, pool, random_event(pool));
        return;
    }
    if (what == 7 || pool->instance_count == 0) {
        added_record(record, pool->name, walk->next_instance++);
        return;
    }
    record_init(record, (enum record_type)(RECORD_ROTATED + (int)pick(3)), pool->name);
    record->time_ns = 4000000;
    record->out = record->forced = pick(2) == 0;
    record->left = pick(4) == 0;
    record->end = TEARDOWN_DONE;
    record_add_instance(record, pick((unsigned)pool->instance_count));
}

static void keep_line(struct walk *walk, const struct record *record)
{
    size_t size;
    walk->journal = mem_resize(walk->journal, walk->lines + 1, sizeof *walk->journal);
    walk->journal[walk->lines++] = record_encode(record, &size);
}

static void check_invariants(struct walk *walk)
{
    const char *broken = broken_promise(walk->registry);
    struct service *service, *next;
    if (broken != NULL)
        fail_msg("this does not hold: %s", broken);
    HASH_ITER(hh, walk->registry->services, service, next)
    {
        walk->had_live |= service->live != NULL;
        assert_int_equal(service->live != NULL, walk->had_live);
        /* An armed pool is there just as long as it can be gone back to. */
        bool is_watched = service->running != NULL && deployment_state_is_watched(service->running->state);
        assert_int_equal(service->armed != NULL, is_watched);
    }
}

static struct pool *live_of(struct walk *walk)
{
    struct service *service = registry_service(walk->registry, "web");
    return service == NULL ? NULL : service->live;
}

static void check_refusal(struct walk *walk, struct record *record)
{
    struct err err;
    char *before = registry_image(walk->registry);
    assert_false(registry_apply(walk->registry, record, NULL, &err));
    char *after = registry_image(walk->registry);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* One random record: either it changes nothing, or it is a line of the journal. */
static void step(struct walk *walk, unsigned number)
{
    struct record record;
    struct err err;
    random_record(walk, &record);
    if (pick(3) == 0)
        record.steady_ns = (1 + pick(9)) * 1000000; /* the wall clock has been set */
    struct pool *live = live_of(walk);
    if (registry_allows(walk->registry, &record, &err)) {
        keep_line(walk, &record);
        assert_true(registry_apply(walk->registry, &record, NULL, &err));
    } else if (number < SHORT || number % 8 == 0) {
        check_refusal(walk, &record);
    }
    /* Promise 4: only a first pool, a confirmed deployment or a rollback moves what is live. */
    bool may_move = record.type == RECORD_POOL ||
                    (record.type == RECORD_EVENT &&
                     (record.event == EVENT_CONFIRMED || record.event == EVENT_ROLLED_BACK ||
                      record.event == EVENT_WATCH_FAILED));
    if (!may_move)
        assert_ptr_equal(live_of(walk), live);
    record_free(&record);
    check_invariants(walk);
    walk->had_swap |= live_of(walk) != NULL && live_of(walk)->deployment != NULL;
}

/* Whatever state a walk comes to, a compaction of it can be read. */
static void check_compaction(struct walk *walk)
{
    struct err err;
    struct registry *again = registry_again(walk->registry, &err);
    if (again == NULL)
        fail_msg("%s", err.text);
    const char *broken = broken_promise(again);
    if (broken != NULL)
        fail_msg("of what a compaction gives: %s", broken);
    char *image = registry_image(walk->registry), *read = registry_image(again);
    assert_string_equal(image, read);
    free(image);
    free(read);
    registry_free(again);
}

/* What the lines give when they are read again. */
static void check_replay(struct walk *walk)
{
    struct registry *again = registry_new();
    struct err err;
    for (size_t i = 0; i < walk->lines; i++) {
        struct record record;
        if (!record_decode((struct str){walk->journal[i], strlen(walk->journal[i]) - 1}, &record, &err) ||
            !registry_apply(again, &record, NULL, &err))
            fail_msg("%s: %s", err.text, walk->journal[i]);
        record_free(&record);
    }
    char *image = registry_image(walk->registry), *replayed = registry_image(again);
    assert_string_equal(image, replayed);
    free(image);
    free(replayed);
    registry_free(again);
}

static void count_ends(struct walk *walk, unsigned ends[DEPLOYMENT_STATES])
{
    struct pool *pool, *next;
    HASH_ITER(hh, walk->registry->pools, pool, next)
    {
        if (pool->deployment != NULL)
            ends[pool->deployment->state]++;
    }
}

static void no_walk_breaks_a_promise_and_a_replay_gives_the_same(void **state)
{
    (void)state;
    unsigned swaps = 0, ends[DEPLOYMENT_STATES] = {0};
    for (unsigned seed = 0; seed < WALKS; seed++) {
        srand(seed);
        struct walk walk = {.registry = registry_new(), .next_instance = 1};
        for (unsigned i = 0; i < STEPS; i++) {
            step(&walk, i);
            if (i % (i < SHORT ? 8 : 40) == 0)
                check_compaction(&walk);
        }
        check_replay(&walk);
        swaps += walk.had_swap;
        count_ends(&walk, ends);
        for (size_t i = 0; i < walk.lines; i++)
            free(walk.journal[i]);
        free(walk.journal);
        registry_free(walk.registry);
    }
    /* The walks go where it matters. */
    assert_true(swaps > WALKS / 8);
    assert_true(ends[DEPLOYMENT_DONE] > 0 && ends[DEPLOYMENT_REJECTED] > 0 && ends[DEPLOYMENT_ABORTED] > 0);
    assert_true(ends[DEPLOYMENT_ROLLED_BACK] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_walk_breaks_a_promise_and_a_replay_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
