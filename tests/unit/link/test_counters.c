#include "link/counters.h"

#include "unit.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 3

static struct counters *map_new(unsigned workers, int *fd)
{
    struct err err;
    *fd = counters_create(workers, &err);
    assert_true(*fd >= 0);
    struct counters *counters = counters_map(*fd, &err);
    assert_non_null(counters);
    return counters;
}

static uint64_t bytes_in_use(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static void two_mappings_see_the_same_cells(void **state)
{
    (void)state;
    int fd;
    struct err err;
    struct counters *writer = map_new(WORKERS, &fd), *reader = counters_map(fd, &err);
    assert_non_null(reader);
    assert_int_equal(counters_workers(reader), WORKERS);
    counters_add(&counters_pool(writer, 2, COUNTERS_POOLS - 1)->in_flight, 5);
    counters_sub(&counters_pool(writer, 2, COUNTERS_POOLS - 1)->in_flight, 2);
    counters_add(&counters_instance(writer, 0, COUNTERS_INSTANCES - 1)->requests, 7);
    assert_int_equal(counters_read(&counters_pool(reader, 2, COUNTERS_POOLS - 1)->in_flight), 3);
    assert_int_equal(counters_read(&counters_instance(reader, 0, COUNTERS_INSTANCES - 1)->requests), 7);
    counters_unmap(writer);
    counters_unmap(reader);
    close(fd);
}

static void no_two_workers_or_slots_share_a_cache_line(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal((uintptr_t)counters_worker(counters, i) % 4096, 0);
        assert_int_equal((uintptr_t)counters_pool(counters, i, 1) % 64, 0);
        assert_int_equal((uintptr_t)counters_instance(counters, i, 1) % 64, 0);
    }
    counters_unmap(counters);
    close(fd);
}

static void sums_are_over_all_workers_and_one_slot(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    for (unsigned i = 0; i < WORKERS; i++) {
        for (uint32_t slot = 8; slot <= 10; slot++) {
            struct counters_pool *pool = counters_pool(counters, i, slot);
            struct counters_instance *instance = counters_instance(counters, i, slot);
            counters_add(&pool->in_flight, slot == 9 ? i + 1 : 1000);
            counters_add(&pool->codes[COUNTERS_CODES - 1], slot == 9 ? 10 : 1000);
            counters_add(&instance->in_flight, slot == 9 ? 2 : 1000);
            counters_add(&instance->connections, slot == 9 ? 4 : 1000);
        }
    }
    struct counters_pool pool;
    struct counters_instance instance;
    counters_pool_sum(counters, 9, &pool);
    counters_instance_sum(counters, 9, &instance);
    assert_int_equal(pool.in_flight, 6);
    assert_int_equal(pool.codes[COUNTERS_CODES - 1], 30);
    assert_int_equal(pool.requests, 0);
    assert_int_equal(instance.in_flight, 6);
    assert_int_equal(instance.connections, 12);
    assert_int_equal(counters_pool_in_flight(counters, 9), 6);
    assert_int_equal(counters_instance_in_flight(counters, 9), 6);
    counters_unmap(counters);
    close(fd);
}

static void what_a_group_of_pools_has_ended_is_summed_over_all_workers(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    uint64_t sums[COUNTERS_GROUPS] = {99}; /* what was there is nothing to them */
    counters_add(&counters_worker(counters, 0)->ended[1], 3);
    counters_add(&counters_worker(counters, 1)->ended[1], 4);
    counters_add(&counters_worker(counters, 1)->ended[COUNTERS_GROUPS - 1], 5);
    counters_groups_ended(counters, sums);
    assert_int_equal(sums[0], 0);
    assert_int_equal(sums[1], 7);
    assert_int_equal(sums[COUNTERS_GROUPS - 1], 5);
    counters_unmap(counters);
    close(fd);
}

static void a_cleared_slot_is_zero_and_its_neighbours_are_not(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    for (uint32_t slot = 4; slot <= 6; slot++) {
        memset(counters_pool(counters, 1, slot), 1, sizeof(struct counters_pool));
        memset(counters_instance(counters, 2, slot), 1, sizeof(struct counters_instance));
    }
    counters_clear_pool(counters, 5);
    counters_clear_instance(counters, 5);
    static const struct counters_pool no_pool;
    static const struct counters_instance no_instance;
    assert_memory_equal(counters_pool(counters, 1, 5), &no_pool, sizeof no_pool);
    assert_memory_equal(counters_instance(counters, 2, 5), &no_instance, sizeof no_instance);
    for (uint32_t slot = 4; slot <= 6; slot += 2) {
        assert_int_equal(counters_pool(counters, 1, slot)->in_flight, 0x0101010101010101);
        assert_int_equal(counters_pool(counters, 1, slot)->codes[COUNTERS_CODES - 1], 0x0101010101010101);
        assert_int_equal(counters_instance(counters, 2, slot)->in_flight, 0x0101010101010101);
        assert_int_equal(counters_instance(counters, 2, slot)->standing, 0x0101010101010101);
    }
    counters_unmap(counters);
    close(fd);
}

static void the_version_is_that_of_the_slowest_worker(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    for (unsigned i = 0; i < WORKERS; i++)
        counters_add(&counters_worker(counters, i)->version, 10 + i);
    assert_int_equal(counters_version(counters), 10);
    counters_add(&counters_worker(counters, 0)->version, 5);
    assert_int_equal(counters_version(counters), 11);
    counters_unmap(counters);
    close(fd);
}

static void memory_is_taken_only_for_slots_that_are_used(void **state)
{
    (void)state;
    int fd;
    struct counters_pool sum;
    struct counters *counters = map_new(WORKERS, &fd);
    assert_in_range(bytes_in_use(fd), 0, 4096);
    counters_add(&counters_pool(counters, 0, 7)->requests, 1);
    counters_pool_sum(counters, 7, &sum);
    /* a pool's record spans at most 3 pages */
    assert_in_range(bytes_in_use(fd), 1, 4096 * (1 + 3 * WORKERS));
    counters_unmap(counters);
    close(fd);
}

#define LONE 9000

/* The used slots are first, last and in the middle of a run of pages, and on both sides of page borders. */
static void a_reset_zeroes_every_gauge_keeps_totals_and_takes_no_memory(void **state)
{
    (void)state;
    static const uint32_t slots[] = {0, 1, 2, 3, 500, 501, 20000, COUNTERS_POOLS - 1};
    const size_t count = sizeof slots / sizeof *slots;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct counters_worker *worker = counters_worker(counters, i);
        worker->version = 5;
        worker->turns = 6;
        worker->connections[COUNTERS_LISTENERS - 1] = 7;
        worker->accepted[0] = 8;
        for (size_t j = 0; j < count; j++) {
            *counters_pool(counters, i, slots[j]) = (struct counters_pool){.in_flight = 1, .requests = 2};
            *counters_instance(counters, i, slots[j]) =
                (struct counters_instance){.in_flight = 1, .requests = 2, .connections = 3};
        }
        /* of this one, only the page with the gauge was ever used */
        counters_add(&counters_pool(counters, i, LONE)->in_flight, 1);
        *counters_instance(counters, i, COUNTERS_INSTANCES - 1) = (struct counters_instance){.in_flight = 1};
    }
    uint64_t before = bytes_in_use(fd);
    counters_give(counters, 0, 4711);
    /* the worker blocks' own pages may have been untouched */
    assert_in_range(bytes_in_use(fd), before, before + 4096 * WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        const struct counters_worker *worker = counters_worker(counters, i);
        assert_int_equal(worker->version, 0);
        assert_int_equal(worker->turns, 6);
        assert_int_equal(worker->connections[COUNTERS_LISTENERS - 1], 0);
        assert_int_equal(worker->accepted[0], 8);
        for (size_t j = 0; j < count; j++) {
            assert_int_equal(counters_pool(counters, i, slots[j])->in_flight, 0);
            assert_int_equal(counters_pool(counters, i, slots[j])->requests, 2);
            assert_int_equal(counters_instance(counters, i, slots[j])->in_flight, 0);
            assert_int_equal(counters_instance(counters, i, slots[j])->connections, 0);
            assert_int_equal(counters_instance(counters, i, slots[j])->requests, 2);
        }
        assert_int_equal(counters_pool(counters, i, LONE)->in_flight, 0);
        assert_int_equal(counters_instance(counters, i, COUNTERS_INSTANCES - 1)->in_flight, 0);
    }
    counters_unmap(counters);
    close(fd);
}

/* So that a control which comes after both proxies knows whose they are. */
static void gauges_are_reset_once_for_each_proxy(void **state)
{
    (void)state;
    int fd;
    struct err err;
    struct counters *counters = map_new(1, &fd);
    counters_give(counters, 0, 4711);
    counters_add(&counters_pool(counters, 0, 3)->in_flight, 1);
    counters_add(&counters_pool(counters, 0, 3)->choosing, 1);
    struct counters *again = counters_map(fd, &err);
    counters_give(again, 0, 4711);
    assert_int_equal(counters_pool_in_flight(counters, 3), 1);
    assert_int_equal(counters_pool_choosing(counters, 3), 1);
    counters_give(again, 0, 4712);
    assert_int_equal(counters_pool_in_flight(counters, 3), 0);
    assert_int_equal(counters_pool_choosing(counters, 3), 0);
    counters_unmap(again);
    counters_unmap(counters);
    close(fd);
}

static void every_duration_lies_between_the_bounds_of_its_bucket(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int64_t off = -2; off <= 2; off++) {
            uint64_t bounds[] = {(1ULL << shift) + (uint64_t)off, (5ULL << shift) / 4 + (uint64_t)off,
                                 (3ULL << shift) / 2 + (uint64_t)off};
            for (size_t i = 0; i < 3; i++) {
                unsigned bucket = counters_bucket(bounds[i]);
                assert_in_range(bucket, 0, COUNTERS_BUCKETS - 1);
                assert_true(bounds[i] < counters_bucket_us(bucket) || bounds[i] == UINT64_MAX);
                assert_true(bucket == 0 || bounds[i] >= counters_bucket_us(bucket - 1));
            }
        }
    }
}

static void buckets_grow_by_at_most_a_quarter_from_128_us(void **state)
{
    (void)state;
    assert_int_equal(counters_bucket_us(0), 128);
    assert_int_equal(counters_bucket_us(4), 256);
    assert_int_equal(counters_bucket_us(COUNTERS_BUCKETS - 1), UINT64_MAX);
    for (unsigned i = 1; i < COUNTERS_BUCKETS - 1; i++) {
        uint64_t below = counters_bucket_us(i - 1), above = counters_bucket_us(i);
        assert_true(above > below && above - below <= below / 4);
    }
}

static void each_own_answer_has_a_cell_and_the_rest_share_the_last(void **state)
{
    (void)state;
    for (unsigned i = 0; i + 1 < COUNTERS_REFUSED; i++)
        assert_int_equal(counters_refused(counters_refused_codes[i]), i);
    assert_int_equal(counters_refused(418), COUNTERS_REFUSED - 1);
    assert_int_equal(counters_refused(404), 1);
    for (unsigned i = 0; i < COUNTERS_ERRORS; i++)
        assert_non_null(counters_error_names[i]);
}

static void assert_not_mapped(int fd, const char *fault)
{
    struct err err;
    assert_null(counters_map(fd, &err));
    assert_non_null(strstr(err.text, fault));
}

/* A memfd of the given size with the first bytes of real counters; sealed or not. */
static int forge(int real, off_t size, size_t change_at, bool sealed)
{
    char page[4096];
    assert_int_equal(pread(real, page, sizeof page, 0), sizeof page);
    page[change_at] ^= 1;
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_true(pwrite(fd, page, sizeof page, 0) > 0);
    if (sealed)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

static void only_memory_of_this_layout_and_fixed_size_is_mapped(void **state)
{
    (void)state;
    struct err err;
    int real = counters_create(1, &err);
    struct stat status;
    assert_int_equal(fstat(real, &status), 0);
    static const struct {
        off_t more;
        size_t change_at;
        bool sealed;
        const char *fault;
    } rows[] = {
        {0, 4095, false, "no memory of fixed size"},
        {4096, 4095, true, "not what 1 workers need"},
        {0, 0, true, "another layout"},
        {0, 8, true, "another layout"},
        {0, 16, true, "not what 0 workers need"},
        {0, 24, true, "another layout"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = forge(real, status.st_size + rows[i].more, rows[i].change_at, rows[i].sealed);
        assert_not_mapped(fd, rows[i].fault);
        close(fd);
    }
    assert_not_mapped(STDERR_FILENO, "no memory of fixed size");
    assert_int_equal(ftruncate(real, 0), -1);
    close(real);
}

static void impossible_numbers_of_workers_are_refused(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(counters_create(0, &err), -1);
    assert_int_equal(counters_create(COUNTERS_WORKERS_MAX + 1, &err), -1);
    assert_non_null(strstr(err.text, "257 workers"));
    int fd;
    struct counters *counters = map_new(COUNTERS_WORKERS_MAX, &fd);
    counters_add(&counters_instance(counters, COUNTERS_WORKERS_MAX - 1, COUNTERS_INSTANCES - 1)->errors, 1);
    counters_unmap(counters);
    close(fd);
}

/* The old proxy's exchanges and the new one's are in one sum, and neither is reset with the other. */
static void two_generations_count_side_by_side(void **state)
{
    (void)state;
    int fd;
    struct err err;
    struct counters *old = map_new(WORKERS, &fd), *new = counters_map(fd, &err);
    struct counters *reader = counters_map(fd, &err);
    struct counters_worker sum;
    counters_use(new, 2);
    counters_give(reader, 0, 4711);
    counters_add(&counters_pool(old, 1, 3)->in_flight, 1);
    counters_add(&counters_worker(old, 0)->accepted[0], 5);
    counters_give(reader, 2, 4712);
    assert_int_equal(counters_pool_in_flight(reader, 3), 1);
    counters_add(&counters_pool(new, 1, 3)->in_flight, 1);
    counters_add(&counters_pool(new, 0, 3)->choosing, 1);
    counters_add(&counters_worker(new, 0)->accepted[0], 6);
    assert_int_equal(counters_pool(old, 1, 3)->in_flight, 1);
    assert_int_equal(counters_pool_in_flight(reader, 3), 2);
    assert_int_equal(counters_pool_choosing(reader, 3), 1);
    counters_worker_sum(reader, &sum);
    assert_int_equal(sum.accepted[0], 11);
    counters_end(reader, 0);
    assert_int_equal(counters_pool_in_flight(reader, 3), 1);
    counters_worker_sum(reader, &sum);
    assert_int_equal(sum.accepted[0], 11); /* totals stay */
    counters_clear_pool(reader, 3);
    assert_int_equal(counters_pool_in_flight(reader, 3), 0);
    counters_unmap(reader);
    counters_unmap(new);
    counters_unmap(old);
    close(fd);
}

static void set_versions(struct counters *counters, uint64_t version)
{
    for (unsigned i = 0; i < WORKERS; i++)
        __atomic_store_n(&counters_worker(counters, i)->version, version, __ATOMIC_RELEASE);
}

static void the_version_is_that_of_the_slowest_proxy_that_is_there(void **state)
{
    (void)state;
    int fd;
    struct err err;
    struct counters *old = map_new(WORKERS, &fd), *new = counters_map(fd, &err);
    counters_use(new, 1);
    counters_give(old, 0, 4711);
    set_versions(old, 10);
    assert_int_equal(counters_version(old), 10);
    counters_give(old, 1, 4712); /* it has no world yet */
    assert_int_equal(counters_version(old), 0);
    set_versions(new, 12);
    assert_int_equal(counters_version(old), 10);
    assert_int_equal(counters_newest(old), 12);
    counters_end(old, 0);
    assert_int_equal(counters_version(old), 12);
    counters_give(old, 0, 4713); /* the generation is used again */
    assert_int_equal(counters_version(old), 0);
    counters_unmap(new);
    counters_unmap(old);
    close(fd);
}

static void a_worker_that_has_ended_holds_nobody_up(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    set_versions(counters, 10);
    counters_worker(counters, 0)->version = COUNTERS_ENDED;
    assert_int_equal(counters_version(counters), 10);
    assert_int_equal(counters_newest(counters), 10);
    set_versions(counters, COUNTERS_ENDED);
    assert_true(counters_version(counters) > 10);
    assert_int_equal(counters_newest(counters), 0);
    counters_unmap(counters);
    close(fd);
}

static void a_generation_that_nobody_had_takes_no_memory(void **state)
{
    (void)state;
    int fd;
    struct counters_pool sum;
    struct counters *counters = map_new(WORKERS, &fd);
    counters_pool_sum(counters, 7, &sum); /* generation 0, which is looked at */
    uint64_t before = bytes_in_use(fd);
    for (unsigned generation = 1; generation < COUNTERS_GENERATIONS; generation++)
        counters_end(counters, generation);
    counters_pool_sum(counters, 7, &sum);
    counters_clear_pool(counters, 7);
    assert_int_equal(counters_version(counters), 0);
    assert_in_range(bytes_in_use(fd), before, before + 4096 * WORKERS);
    counters_unmap(counters);
    close(fd);
}

static void a_slot_that_was_never_used_is_idle_cleared_and_summed_without_taking_memory(void **state)
{
    (void)state;
    int fd;
    struct counters *counters = map_new(WORKERS, &fd);
    counters_add(&counters_pool(counters, 0, 0)->requests, 1);
    uint64_t before = bytes_in_use(fd);
    for (uint32_t slot = 0; slot < 100; slot++) { /* records share pages with their neighbours */
        struct counters_pool sum;
        assert_false(counters_pool_is_busy(counters, slot));
        counters_clear_pool(counters, slot);
        counters_pool_sum(counters, slot, &sum);
        assert_int_equal(sum.requests, 0);
    }
    assert_int_equal(bytes_in_use(fd), before);
    counters_add(&counters_pool(counters, WORKERS - 1, 700)->in_flight, 1);
    assert_true(counters_pool_is_busy(counters, 700));
    counters_add(&counters_pool(counters, 0, 600)->warming, 1);
    assert_true(counters_pool_is_busy(counters, 600));
    assert_int_equal(counters_pool_warming(counters, 600), 1);
    assert_false(counters_instance_is_busy(counters, 700));
    counters_add(&counters_instance(counters, WORKERS - 1, 700)->connections, 1);
    assert_true(counters_instance_is_busy(counters, 700));
    assert_false(counters_pool_is_busy(counters, 699));
    counters_add(&counters_pool(counters, 0, 900)->codes[COUNTERS_CODES - 1], 1); /* its last page alone */
    counters_add(&counters_pool(counters, 0, 901)->in_flight, 1);
    counters_clear_pool(counters, 900);
    assert_int_equal(counters_pool(counters, 0, 900)->codes[COUNTERS_CODES - 1], 0);
    assert_int_equal(counters_pool(counters, 0, 901)->in_flight, 1);
    counters_unmap(counters);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_mappings_see_the_same_cells),
        cmocka_unit_test(no_two_workers_or_slots_share_a_cache_line),
        cmocka_unit_test(sums_are_over_all_workers_and_one_slot),
        cmocka_unit_test(what_a_group_of_pools_has_ended_is_summed_over_all_workers),
        cmocka_unit_test(a_cleared_slot_is_zero_and_its_neighbours_are_not),
        cmocka_unit_test(the_version_is_that_of_the_slowest_worker),
        cmocka_unit_test(memory_is_taken_only_for_slots_that_are_used),
        cmocka_unit_test(a_reset_zeroes_every_gauge_keeps_totals_and_takes_no_memory),
        cmocka_unit_test(gauges_are_reset_once_for_each_proxy),
        cmocka_unit_test(two_generations_count_side_by_side),
        cmocka_unit_test(the_version_is_that_of_the_slowest_proxy_that_is_there),
        cmocka_unit_test(a_worker_that_has_ended_holds_nobody_up),
        cmocka_unit_test(a_generation_that_nobody_had_takes_no_memory),
        cmocka_unit_test(a_slot_that_was_never_used_is_idle_cleared_and_summed_without_taking_memory),
        cmocka_unit_test(every_duration_lies_between_the_bounds_of_its_bucket),
        cmocka_unit_test(buckets_grow_by_at_most_a_quarter_from_128_us),
        cmocka_unit_test(each_own_answer_has_a_cell_and_the_rest_share_the_last),
        cmocka_unit_test(only_memory_of_this_layout_and_fixed_size_is_mapped),
        cmocka_unit_test(impossible_numbers_of_workers_are_refused),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
