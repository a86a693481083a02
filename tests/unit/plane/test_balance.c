#include "plane/balance.h"

#include "unit.h"

#include <netinet/in.h>
#include <stdlib.h>

#define SIZE 4

/* A balance, and a world with one pool of SIZE instances in slots 10 and up. */
struct table {
    struct random random;
    struct balance balance;
    void *image;
    const struct snapshot *snapshot;
    const struct snapshot_pool *pool;
    struct balance_tried tried;
    bool down[SIZE]; /* in the next world */
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
                                                       .down = table->down[i]};
    struct snapshot_pool_spec pool = {
        .deployment = "web-1", .release = "", .slot = 3, .instances = instances, .instance_count = SIZE};
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
    random_seed(&table->random);
    balance_init(&table->balance, worker, &table->random);
    set_world(table, 1, NULL);
    return table;
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
    if (!balance_pick(&table->balance, table->snapshot, table->pool, how, &table->tried, &instance))
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
                                                 SNAPSHOT_RANDOM};
    (void)state;
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        struct table *table = lay(0);
        int taken[SIZE] = {0};
        set_world(table, 2, (const bool[SIZE]){false, false, true, false});
        for (int n = 0; n < SIZE - 1; n++) {
            int index = pick(table, hows[i]);
            assert_true(index >= 0 && index != 2);
            assert_int_equal(taken[index]++, 0);
            assert_true(balance_exclude(&table->tried, 10 + (uint32_t)index));
        }
        assert_int_equal(pick(table, hows[i]), -1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_takes_each_in_turn),
        cmocka_unit_test(workers_do_not_begin_with_the_same_instance),
        cmocka_unit_test(the_neighbours_of_a_drained_instance_share_its_part),
        cmocka_unit_test(one_that_is_down_by_its_checks_is_not_chosen),
        cmocka_unit_test(a_new_snapshot_does_not_reset_the_rotation),
        cmocka_unit_test(none_is_chosen_twice_for_a_request_and_none_that_is_drained),
        cmocka_unit_test(a_request_is_at_most_at_so_many_instances),
        cmocka_unit_test(least_requests_takes_the_least_loaded_and_ties_take_turns),
        cmocka_unit_test(random_takes_each_about_as_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
