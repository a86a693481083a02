#include "plane/balance.h"

#include "unit.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE 4

/* A balance, and a world with one pool of SIZE instances in slots 10 and up. */
struct table {
    struct random random;
    struct balance balance;
    void *image;
    const struct snapshot *snapshot;
    const struct snapshot_pool *pool;
    uint32_t weights[SIZE];
    struct balance_tried tried;
    /* in the next world */
    uint32_t size; /* only so many instances; 0: SIZE */
    bool down[SIZE];
    uint64_t since_ms[SIZE];
    /* of a wish */
    uint32_t slow_start_ms;
    uint64_t now_ms;
};

static void set_world(struct table *table, uint64_t version, const bool drained[SIZE])
{
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    static const char *path = "/";
    struct snapshot_instance_spec instances[SIZE];
    struct err err;
    size_t size;
    for (uint32_t i = 0; i < SIZE; i++)
        instances[i] = (struct snapshot_instance_spec){.name = "127.0.0.1:80",
                                                       .address = (const struct sockaddr *)&address,
                                                       .address_length = sizeof address,
                                                       .id = 100 + i,
                                                       .slot = 10 + i,
                                                       .drained = drained != NULL && drained[i],
                                                       .down = table->down[i],
                                                       .since_ms = table->since_ms[i],
                                                       .weight = table->weights[i]};
    struct snapshot_pool_spec pool = {.deployment = "web-1",
                                      .release = "",
                                      .slot = 3,
                                      .instances = instances,
                                      .instance_count = table->size == 0 ? SIZE : table->size};
    struct snapshot_service_spec service = {.name = "web", .paths = &path, .path_count = 1};
    struct snapshot_spec spec = {
        .version = version, .services = &service, .service_count = 1, .pools = &pool, .pool_count = 1};
    spec.settings.head_max = 4096;
    spec.settings.fields_max = 10;
    free(table->image);
    table->image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(table->image);
    table->snapshot = snapshot_open(table->image, size, &err);
    assert_non_null(table->snapshot);
    table->pool = snapshot_pool_at(table->snapshot, 0);
}

static struct table *lay(unsigned worker)
{
    struct table *table = calloc(1, sizeof *table);
    table->random = (struct random){{1, 2}};
    balance_init(&table->balance, worker, &table->random);
    set_world(table, 1, NULL);
    return table;
}

static void weigh(struct table *table, const uint32_t weights[SIZE])
{
    memcpy(table->weights, weights, sizeof table->weights);
    set_world(table, 1, NULL);
}

static void clear(struct table *table)
{
    balance_free(&table->balance);
    free(table->image);
    free(table);
}

/* The index of the chosen instance, or -1. */
static int pick(struct table *table, enum snapshot_balance how)
{
    struct snapshot_instance instance;
    struct balance_wish wish = {
        .how = how, .tried = table->tried, .slow_start_ms = table->slow_start_ms, .now_ms = table->now_ms};
    if (!balance_pick(&table->balance, table->snapshot, table->pool, &wish, &instance))
        return -1;
    return (int)instance.slot - 10;
}

static void round_robin_takes_each_in_turn(void **state)
{
    (void)state;
    struct table *table = lay(0);
    for (int i = 0; i < 3 * SIZE; i++)
        assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), i % SIZE);
    clear(table);
}

static void workers_do_not_begin_with_the_same_instance(void **state)
{
    (void)state;
    for (unsigned worker = 0; worker < 2 * SIZE; worker++) {
        struct table *table = lay(worker);
        assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), worker % SIZE);
        clear(table);
    }
}

static void the_neighbours_of_a_drained_instance_share_its_part(void **state)
{
    (void)state;
    struct table *table = lay(0);
    int taken[SIZE] = {0};
    set_world(table, 2, (const bool[SIZE]){false, true, false, false});
    for (int i = 0; i < 30; i++)
        taken[pick(table, SNAPSHOT_ROUND_ROBIN)]++;
    assert_int_equal(taken[0], 10);
    assert_int_equal(taken[1], 0);
    assert_int_equal(taken[2], 10);
    assert_int_equal(taken[3], 10);
    clear(table);
}

static void one_that_is_down_by_its_checks_is_not_chosen(void **state)
{
    (void)state;
    struct table *table = lay(0);
    table->down[2] = true;
    set_world(table, 2, (const bool[SIZE]){true, false, false, false});
    for (int i = 0; i < 10; i++)
        assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), i % 2 == 0 ? 1 : 3);
    clear(table);
}

/* Whatever traffic says of it: nobody asks the vitals, of which there are none. */
static void one_that_is_alone_is_chosen_if_it_may_serve(void **state)
{
    (void)state;
    struct table *table = lay(0);
    struct snapshot_instance instance;
    struct balance_wish guarded = {.guarded = true, .instance = 12345};
    table->size = 1;
    set_world(table, 2, NULL);
    for (int how = SNAPSHOT_ROUND_ROBIN; how <= SNAPSHOT_HASH_COOKIE; how++)
        assert_int_equal(pick(table, (enum snapshot_balance)how), 0);
    assert_true(balance_pick(&table->balance, table->snapshot, table->pool, &guarded, &instance));
    assert_int_equal(instance.id, 100);
    balance_exclude(&table->tried, 10);
    assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), -1);
    guarded.tried = table->tried;
    instance.id = 7;
    assert_false(balance_pick(&table->balance, table->snapshot, table->pool, &guarded, &instance));
    assert_int_equal(instance.id, 7); /* what was chosen before stays */
    table->tried.count = 0;
    table->down[0] = true;
    set_world(table, 3, NULL);
    assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), -1);
    table->down[0] = false;
    set_world(table, 4, (const bool[SIZE]){true});
    assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), -1);
    clear(table);
}

/* What the instance gets of `picks`. */
static int share_of(struct table *table, enum snapshot_balance how, int index, int picks)
{
    int taken = 0;
    for (int i = 0; i < picks; i++)
        taken += pick(table, how) == index;
    return taken;
}

static struct snapshot_instance one_of(const struct table *table, size_t index)
{
    return snapshot_pool_instance(table->snapshot, table->pool, index);
}

static void one_that_could_not_be_connected_to_is_left_alone_for_a_second(void **state)
{
    (void)state;
    for (int how = SNAPSHOT_ROUND_ROBIN; how <= SNAPSHOT_HASH_COOKIE; how++) {
        struct table *table = lay(0);
        struct snapshot_instance first = one_of(table, 0), second = one_of(table, 1);
        balance_shun(&table->balance, &second, 4000);
        balance_shun(&table->balance, &first, 5000);
        table->now_ms = 5000;
        assert_int_equal(share_of(table, (enum snapshot_balance)how, 0, 50), 0);
        table->now_ms = 5999;
        assert_int_equal(share_of(table, (enum snapshot_balance)how, 0, 50), 0);
        table->now_ms = 6000;
        int taken = share_of(table, (enum snapshot_balance)how, 0, 200);
        assert_true(taken > 0 || how >= SNAPSHOT_HASH_CLIENT);
        assert_int_equal(table->balance.shuns_until_ms, 0);
        clear(table);
    }
}

static void who_is_left_alone_is_asked_where_no_other_can_serve_and_by_who_is_bound_to_it(void **state)
{
    (void)state;
    struct table *table = lay(0);
    struct snapshot_instance first = one_of(table, 0), found;
    struct balance_wish bound = {.instance = first.id, .now_ms = 5001};
    table->now_ms = 5001;
    balance_shun(&table->balance, &first, 5000);
    assert_true(balance_pick(&table->balance, table->snapshot, table->pool, &bound, &found));
    assert_int_equal(found.id, first.id);
    assert_int_not_equal(pick(table, SNAPSHOT_ROUND_ROBIN), 0);
    struct snapshot_instance before = one_of(table, 1);
    before.id = 7; /* had the slot once */
    balance_shun(&table->balance, &before, 5000);
    assert_true(share_of(table, SNAPSHOT_ROUND_ROBIN, 1, 2 * SIZE) > 0);
    set_world(table, 2, (const bool[SIZE]){false, true, true, true});
    assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), 0);
    table->size = 1;
    set_world(table, 3, NULL);
    assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), 0);
    clear(table);
}

static void who_is_left_alone_is_not_asked_while_others_are_only_full(void **state)
{
    (void)state;
    struct table *table = lay(0);
    struct snapshot_instance first = one_of(table, 0), found;
    struct counters *counters;
    struct err err;
    int fd = counters_create(1, &err);
    counters = counters_map(fd, &err);
    assert_non_null(counters);
    table->balance.counters = counters;
    struct balance_wish wish = {.most = 1, .now_ms = 5001};
    balance_shun(&table->balance, &first, 5000);
    for (uint32_t slot = 11; slot < 14; slot++)
        counters_add(&counters_instance(counters, 0, slot)->in_flight, 1);
    assert_false(balance_pick(&table->balance, table->snapshot, table->pool, &wish, &found));
    set_world(table, 2, (const bool[SIZE]){false, true, true, true});
    assert_true(balance_pick(&table->balance, table->snapshot, table->pool, &wish, &found));
    assert_int_equal(found.id, first.id);
    counters_unmap(counters);
    close(fd);
    clear(table);
}

static void one_that_has_come_back_gets_its_share_little_by_little(void **state)
{
    static const struct {
        uint64_t passed_ms;
        int least, most; /* of 1000 requests to four instances */
    } rows[] = {{0, 32, 33}, {500, 153, 156}, {999, 247, 249}, {1000, 250, 250}, {5000, 250, 250}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct table *table = lay(0);
        struct vitals vitals;
        vitals_init(&vitals, 0, &table->random);
        table->balance.vitals = &vitals;
        table->since_ms[1] = 70000;
        table->slow_start_ms = 1000;
        table->now_ms = 70000 + rows[i].passed_ms;
        set_world(table, 2, NULL);
        assert_in_range(share_of(table, SNAPSHOT_ROUND_ROBIN, 1, 1000), rows[i].least, rows[i].most);
        assert_in_range(share_of(table, SNAPSHOT_RANDOM, 1, 1000), rows[i].least / 2, rows[i].most * 2);
        vitals_free(&vitals);
        clear(table);
    }
}

static void one_that_comes_back_from_an_ejection_starts_slowly_too(void **state)
{
    (void)state;
    struct table *table = lay(0);
    struct vitals vitals;
    struct snapshot_rules rules = {
        .ejection_failures = 1, .ejection_pause_ms = 10, .ejection_longest_ms = 10, .ejection_most = 50};
    vitals_init(&vitals, 0, &table->random);
    table->balance.vitals = &vitals;
    table->slow_start_ms = 1000;
    table->now_ms = 70000;
    struct snapshot_instance one = snapshot_pool_instance(table->snapshot, table->pool, 1);
    vitals_failed(&vitals, &rules, table->snapshot, table->pool, &one, 60000);
    vitals_chosen(&vitals, &one, 70000);
    vitals_passed(&vitals, &one, 70000);
    assert_in_range(share_of(table, SNAPSHOT_ROUND_ROBIN, 1, 1000), 32, 33);
    table->now_ms = 71000;
    assert_int_equal(share_of(table, SNAPSHOT_ROUND_ROBIN, 1, 1000), 250);
    vitals_free(&vitals);
    clear(table);
}

static void a_new_snapshot_does_not_reset_the_rotation(void **state)
{
    (void)state;
    struct table *table = lay(0);
    for (int i = 0; i < 3 * SIZE; i++) {
        assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), i % SIZE);
        set_world(table, (uint64_t)i + 2, NULL);
    }
    clear(table);
}

static void none_is_chosen_twice_for_a_request_and_none_that_is_drained(void **state)
{
    static const enum snapshot_balance hows[] = {SNAPSHOT_ROUND_ROBIN, SNAPSHOT_LEAST_REQUESTS,
                                                 SNAPSHOT_TWO_CHOICES, SNAPSHOT_RANDOM};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof hows / sizeof *hows; i++) {
        struct table *table = lay(0);
        int taken[SIZE] = {0};
        weigh(table, i % 2 == 0 ? (const uint32_t[SIZE]){1, 1, 1, 1} : (const uint32_t[SIZE]){5, 1, 9, 2});
        set_world(table, 2, (const bool[SIZE]){false, false, true, false});
        for (int n = 0; n < SIZE - 1; n++) {
            int index = pick(table, hows[i / 2]);
            assert_true(index >= 0 && index != 2);
            assert_int_equal(taken[index]++, 0);
            assert_true(balance_exclude(&table->tried, 10 + (uint32_t)index));
        }
        assert_int_equal(pick(table, hows[i / 2]), -1);
        clear(table);
    }
}

static void a_request_is_at_most_at_so_many_instances(void **state)
{
    (void)state;
    struct balance_tried tried = {0};
    for (uint32_t i = 1; i < BALANCE_TRIED_MAX; i++)
        assert_true(balance_exclude(&tried, i));
    assert_false(balance_exclude(&tried, BALANCE_TRIED_MAX));
}

static void least_requests_takes_the_least_loaded_and_ties_take_turns(void **state)
{
    (void)state;
    struct table *table = lay(0);
    for (int i = 0; i < 2 * SIZE; i++)
        assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), i % SIZE);
    table->balance.loads[10] = 2;
    table->balance.loads[11] = 1;
    table->balance.loads[12] = 2;
    table->balance.loads[13] = 1;
    assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), 1);
    assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), 3);
    assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), 1);
    clear(table);
}

static void random_takes_each_about_as_often(void **state)
{
    (void)state;
    struct table *table = lay(0);
    int taken[SIZE] = {0};
    for (int i = 0; i < 1000 * SIZE; i++)
        taken[pick(table, SNAPSHOT_RANDOM)]++;
    for (int i = 0; i < SIZE; i++)
        assert_in_range(taken[i], 800, 1200);
    clear(table);
}

static void heavy_ones_come_in_between_light_ones(void **state)
{
    static const int wanted[] = {0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0};
    (void)state;
    struct table *table = lay(0);
    weigh(table, (const uint32_t[SIZE]){5, 1, 1, 256});
    set_world(table, 2, (const bool[SIZE]){false, false, false, true});
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_int_equal(pick(table, SNAPSHOT_ROUND_ROBIN), wanted[i]);
    clear(table);
}

/* At every moment, whatever the weights: within one of its part. */
static void no_instance_is_ever_far_from_its_part(void **state)
{
    static const uint32_t weights[SIZE] = {256, 3, 100, 17};
    (void)state;
    struct table *table = lay(2);
    int64_t taken[SIZE] = {0}, total = 256 + 3 + 100 + 17;
    weigh(table, weights);
    for (int64_t n = 1; n <= 2 * total; n++) {
        taken[pick(table, SNAPSHOT_ROUND_ROBIN)]++;
        for (int i = 0; i < SIZE; i++) {
            int64_t off = taken[i] * total - n * weights[i];
            assert_true(off <= 2 * total && off >= -2 * total);
        }
    }
    for (int i = 0; i < SIZE; i++)
        assert_int_equal(taken[i], 2 * weights[i]);
    clear(table);
}

/* The credit of another instance that had the slot before is not its own. */
static void a_slot_that_is_used_again_begins_anew(void **state)
{
    (void)state;
    struct table *table = lay(0);
    weigh(table, (const uint32_t[SIZE]){1, 1, 1, 2});
    table->balance.turns[12] = (struct balance_turn){.id = 7, .credit = 1000000};
    int taken[SIZE] = {0};
    for (int i = 0; i < 50; i++)
        taken[pick(table, SNAPSHOT_ROUND_ROBIN)]++;
    assert_int_equal(taken[2], 10);
    assert_int_equal(taken[3], 20);
    clear(table);
}

static void least_requests_measures_load_by_weight(void **state)
{
    (void)state;
    struct table *table = lay(0);
    weigh(table, (const uint32_t[SIZE]){4, 2, 1, 1});
    table->balance.loads[10] = 7;
    table->balance.loads[11] = 3;
    table->balance.loads[12] = 2;
    table->balance.loads[13] = 2;
    assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), 1);
    table->balance.loads[11] = 4;
    assert_int_equal(pick(table, SNAPSHOT_LEAST_REQUESTS), 0);
    clear(table);
}

static void least_requests_shares_equals_by_weight(void **state)
{
    (void)state;
    struct table *table = lay(0);
    int taken[SIZE] = {0};
    weigh(table, (const uint32_t[SIZE]){4, 2, 1, 1});
    for (int i = 0; i < 80; i++)
        taken[pick(table, SNAPSHOT_LEAST_REQUESTS)]++;
    assert_int_equal(taken[0], 40);
    assert_int_equal(taken[1], 20);
    assert_int_equal(taken[2], 10);
    assert_int_equal(taken[3], 10);
    clear(table);
}

/* Pearson's chi-square against the weights; 16.3 is what chance passes once in a thousand with 3
 * degrees of freedom. */
static void assert_by_weight(const int taken[SIZE], const uint32_t weights[SIZE], int count)
{
    double sum = 0, total = 0;
    for (int i = 0; i < SIZE; i++)
        total += weights[i];
    for (int i = 0; i < SIZE; i++) {
        double wanted = count * weights[i] / total, off = taken[i] - wanted;
        sum += off * off / wanted;
    }
    assert_true(sum < 16.3);
}

static void draws_follow_the_weights(void **state)
{
    static const enum snapshot_balance hows[] = {SNAPSHOT_RANDOM, SNAPSHOT_TWO_CHOICES};
    static const uint32_t all[][SIZE] = {{1, 1, 1, 1}, {5, 1, 2, 8}, {256, 128, 64, 32}};
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        const uint32_t *weights = all[k / 2];
        struct table *table = lay(0);
        int taken[SIZE] = {0};
        weigh(table, weights);
        for (int i = 0; i < 8000; i++)
            taken[pick(table, hows[k % 2])]++;
        assert_by_weight(taken, weights, 8000);
        clear(table);
    }
}

/* It used to be its neighbour that got the part of one that is out. */
static void draws_share_the_part_of_a_drained_instance_among_all(void **state)
{
    (void)state;
    struct table *table = lay(0);
    int taken[SIZE] = {0};
    set_world(table, 2, (const bool[SIZE]){false, true, false, false});
    for (int i = 0; i < 3000; i++)
        taken[pick(table, SNAPSHOT_RANDOM)]++;
    assert_int_equal(taken[1], 0);
    for (int i = 0; i < SIZE; i++)
        assert_true(i == 1 || (taken[i] > 900 && taken[i] < 1100));
    clear(table);
}

/* The one with the most is taken only where it is drawn twice, which cannot be. */
static void of_two_the_one_with_less_in_flight_is_taken(void **state)
{
    (void)state;
    struct table *table = lay(0);
    int taken[SIZE] = {0};
    for (uint32_t i = 0; i < SIZE; i++)
        table->balance.loads[10 + i] = i;
    for (int i = 0; i < 6000; i++)
        taken[pick(table, SNAPSHOT_TWO_CHOICES)]++;
    assert_in_range(taken[0], 2800, 3200);
    assert_in_range(taken[1], 1850, 2150);
    assert_in_range(taken[2], 900, 1100);
    assert_int_equal(taken[3], 0);
    clear(table);
}

static void of_two_the_loads_of_all_workers_count(void **state)
{
    (void)state;
    struct err err;
    struct table *table = lay(0);
    int fd = counters_create(2, &err), taken[SIZE] = {0};
    table->balance.counters = counters_map(fd, &err);
    assert_non_null(table->balance.counters);
    counters_instance(table->balance.counters, 1, 12)->in_flight = 5;
    for (int i = 0; i < 1000; i++)
        taken[pick(table, SNAPSHOT_TWO_CHOICES)]++;
    assert_int_equal(taken[2], 0);
    counters_unmap(table->balance.counters);
    close(fd);
    clear(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_takes_each_in_turn),
        cmocka_unit_test(workers_do_not_begin_with_the_same_instance),
        cmocka_unit_test(the_neighbours_of_a_drained_instance_share_its_part),
        cmocka_unit_test(one_that_is_down_by_its_checks_is_not_chosen),
        cmocka_unit_test(one_that_is_alone_is_chosen_if_it_may_serve),
        cmocka_unit_test(one_that_could_not_be_connected_to_is_left_alone_for_a_second),
        cmocka_unit_test(who_is_left_alone_is_asked_where_no_other_can_serve_and_by_who_is_bound_to_it),
        cmocka_unit_test(who_is_left_alone_is_not_asked_while_others_are_only_full),
        cmocka_unit_test(one_that_has_come_back_gets_its_share_little_by_little),
        cmocka_unit_test(one_that_comes_back_from_an_ejection_starts_slowly_too),
        cmocka_unit_test(a_new_snapshot_does_not_reset_the_rotation),
        cmocka_unit_test(none_is_chosen_twice_for_a_request_and_none_that_is_drained),
        cmocka_unit_test(a_request_is_at_most_at_so_many_instances),
        cmocka_unit_test(least_requests_takes_the_least_loaded_and_ties_take_turns),
        cmocka_unit_test(random_takes_each_about_as_often),
        cmocka_unit_test(heavy_ones_come_in_between_light_ones),
        cmocka_unit_test(no_instance_is_ever_far_from_its_part),
        cmocka_unit_test(a_slot_that_is_used_again_begins_anew),
        cmocka_unit_test(least_requests_measures_load_by_weight),
        cmocka_unit_test(least_requests_shares_equals_by_weight),
        cmocka_unit_test(draws_follow_the_weights),
        cmocka_unit_test(draws_share_the_part_of_a_drained_instance_among_all),
        cmocka_unit_test(of_two_the_one_with_less_in_flight_is_taken),
        cmocka_unit_test(of_two_the_loads_of_all_workers_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
