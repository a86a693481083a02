/* Consistent hashing: where keys go, and that they stay. */
#include "plane/balance.h"

#include "unit.h"

#include "base/siphash.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST 300
#define KEYS 20000

struct pool_of {
    uint32_t count;         /* of instances; number i has the name 10.0.0.i:80 and the slot 10 + i */
    uint32_t weights[MOST]; /* 0: 1 */
    bool drained[MOST];
    bool skipped[MOST]; /* is not there at all */
};

struct table {
    struct random random;
    struct balance balance;
    void *image;
    const struct snapshot *snapshot;
};

static struct table *lay(const struct pool_of *of, uint64_t version)
{
    static char names[MOST][24];
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct table *table = calloc(1, sizeof *table);
    struct snapshot_instance_spec *instances = calloc(of->count, sizeof *instances);
    struct err err;
    size_t size, count = 0;
    for (uint32_t i = 0; i < of->count; i++) {
        snprintf(names[i], sizeof names[i], "10.0.0.%u:80", i);
        if (of->skipped[i])
            continue;
        instances[count++] = (struct snapshot_instance_spec){.name = names[i],
                                                             .address = (const struct sockaddr *)&address,
                                                             .address_length = sizeof address,
                                                             .id = 1000 * version + i,
                                                             .slot = 10 + i,
                                                             .weight = of->weights[i],
                                                             .drained = of->drained[i]};
    }
    struct snapshot_pool_spec pool = {
        .deployment = "web-1", .release = "", .slot = 3, .instances = instances, .instance_count = count};
    struct snapshot_spec spec = {.version = version, .pools = &pool, .pool_count = 1};
    table->image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(table->image);
    table->snapshot = snapshot_open(table->image, size, &err);
    assert_non_null(table->snapshot);
    free(instances);
    table->random = (struct random){{version, 2}};
    balance_init(&table->balance, (unsigned)version, &table->random);
    return table;
}

static void clear(struct table *table)
{
    balance_free(&table->balance);
    free(table->image);
    free(table);
}

static uint64_t key_of(uint32_t number)
{
    static const uint64_t secret[2] = {1, 2};
    return siphash(secret, &number, sizeof number);
}

/* The number of the instance, or -1. */
static int goes(struct table *table, uint32_t key, const struct balance_tried *tried)
{
    struct snapshot_instance instance;
    struct balance_wish wish = {.how = SNAPSHOT_HASH_CLIENT, .key = key_of(key)};
    if (tried != NULL)
        wish.tried = *tried;
    const struct snapshot_pool *pool = snapshot_pool_at(table->snapshot, 0);
    return balance_pick(&table->balance, table->snapshot, pool, &wish, &instance) ? (int)instance.slot - 10
                                                                                  : -1;
}

/* Where each key goes. */
static int *map(const struct pool_of *of, uint64_t version)
{
    int *to = calloc(KEYS, sizeof *to);
    struct table *table = lay(of, version);
    for (uint32_t key = 0; key < KEYS; key++)
        to[key] = goes(table, key, NULL);
    clear(table);
    return to;
}

static const struct pool_of even = {.count = 10};
static const struct pool_of uneven = {.count = 6, .weights = {1, 256, 3, 100, 40, 100}};

/* Pearson's chi-square against the weights; at 9 degrees of freedom chance passes 27.9 once in a thousand. */
static void assert_by_weight(const struct pool_of *of, const int *to)
{
    double total = 0, sum = 0;
    int taken[MOST] = {0};
    for (uint32_t key = 0; key < KEYS; key++)
        taken[to[key]]++;
    for (uint32_t i = 0; i < of->count; i++)
        total += of->weights[i] == 0 ? 1 : of->weights[i];
    for (uint32_t i = 0; i < of->count; i++) {
        double wanted = KEYS * (of->weights[i] == 0 ? 1 : of->weights[i]) / total, off = taken[i] - wanted;
        sum += off * off / wanted;
    }
    assert_true(sum < 27.9);
}

static void keys_are_spread_by_weight(void **state)
{
    static const struct pool_of *const pools[] = {&even, &uneven};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int *to = map(pools[i], 1);
        assert_by_weight(pools[i], to);
        free(to);
    }
}

/* Another worker, after a restart, in a new world and with new ids: nothing of it counts. */
static void a_key_has_its_instance_everywhere_and_for_ever(void **state)
{
    (void)state;
    int *one = map(&uneven, 1), *other = map(&uneven, 7);
    assert_memory_equal(one, other, KEYS * sizeof *one);
    free(one);
    free(other);
}

/* Those that `gone` had go elsewhere, to all others by their weights; no other key moves. */
static void assert_moves_only_from(const int *before, const int *after, int gone)
{
    int taken[MOST] = {0}, moved = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        if (before[key] != gone)
            assert_int_equal(after[key], before[key]);
        else
            moved++, taken[after[key]]++;
    }
    assert_true(moved > 0);
    assert_int_equal(taken[gone], 0);
    if (gone == 4)
        for (int i = 0; i < 10; i++)
            assert_true(i == gone || (taken[i] > moved / 9 * 3 / 4 && taken[i] < moved / 9 * 5 / 4));
}

static void an_instance_that_goes_leaves_its_own_keys_only(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        struct pool_of less = even;
        (way == 0 ? less.drained : less.skipped)[4] = true;
        int *before = map(&even, 1), *after = map(&less, 2);
        assert_moves_only_from(before, after, 4);
        free(before);
        free(after);
    }
    struct pool_of less = uneven;
    less.drained[1] = true;
    int *before = map(&uneven, 1), *after = map(&less, 2);
    assert_moves_only_from(before, after, 1);
    free(before);
    free(after);
}

static void an_instance_that_comes_takes_its_part_and_no_more(void **state)
{
    (void)state;
    struct pool_of more = even;
    more.count = 11;
    int *before = map(&even, 1), *after = map(&more, 2), moved = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_true(after[key] == before[key] || after[key] == 10);
        moved += after[key] != before[key];
    }
    assert_in_range(moved, KEYS / 11 * 9 / 10, KEYS / 11 * 11 / 10);
    free(before);
    free(after);
}

/* Only the weight that has changed matters: keys come to it from everywhere, and none moves between others.
 */
static void a_weight_that_grows_only_draws_keys_to_it(void **state)
{
    (void)state;
    struct pool_of heavier = uneven;
    heavier.weights[2] = 30;
    int *before = map(&uneven, 1), *after = map(&heavier, 2);
    for (uint32_t key = 0; key < KEYS; key++)
        assert_true(after[key] == before[key] || after[key] == 2);
    free(before);
    free(after);
}

/* Second choices are as fixed as first ones, and each instance gets its turn. */
static void one_that_was_tried_is_as_one_that_is_away(void **state)
{
    (void)state;
    struct table *table = lay(&uneven, 1);
    for (uint32_t key = 0; key < 100; key++) {
        struct balance_tried tried = {0};
        int seen = 0;
        for (unsigned i = 0; i < 4; i++) {
            int at = goes(table, key, &tried);
            assert_true(at >= 0 && (seen & 1 << at) == 0);
            seen |= 1 << at;
            assert_int_equal(goes(table, key, &tried), at);
            (void)balance_exclude(&tried, 10 + (uint32_t)at);
        }
    }
    clear(table);
}

static void where_none_may_serve_none_is_found(void **state)
{
    (void)state;
    struct pool_of none = {.count = 2, .weights = {1, 2}, .drained = {true, true}};
    struct table *table = lay(&none, 1);
    assert_int_equal(goes(table, 1, NULL), -1);
    clear(table);
    none.weights[1] = 1;
    table = lay(&none, 1);
    assert_int_equal(goes(table, 1, NULL), -1);
    clear(table);
}

static uint64_t spent_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
}

/* No bound: what it costs is printed for whoever wants to know. */
static void what_a_choice_among_many_costs(void **state)
{
    (void)state;
    static struct pool_of many = {.count = MOST};
    for (unsigned way = 0; way < 2; way++) {
        struct table *table = lay(&many, 1);
        uint64_t begin = spent_ns();
        for (uint32_t key = 0; key < 2000; key++)
            assert_true(goes(table, key, NULL) >= 0);
        print_message("# %d instances, %s: %llu ns a choice\n", MOST, way == 0 ? "even" : "weighted",
                      (unsigned long long)(spent_ns() - begin) / 2000);
        clear(table);
        many.weights[7] = 2;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_spread_by_weight),
        cmocka_unit_test(a_key_has_its_instance_everywhere_and_for_ever),
        cmocka_unit_test(an_instance_that_goes_leaves_its_own_keys_only),
        cmocka_unit_test(an_instance_that_comes_takes_its_part_and_no_more),
        cmocka_unit_test(a_weight_that_grows_only_draws_keys_to_it),
        cmocka_unit_test(one_that_was_tried_is_as_one_that_is_away),
        cmocka_unit_test(where_none_may_serve_none_is_found),
        cmocka_unit_test(what_a_choice_among_many_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
