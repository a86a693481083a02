/* Images that amend others. */
#include "route/image.h"

#include "unit.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define GROUND 5 /* version of the ground */
#define NOW 9    /* and of what amends it */

/* What is said of one service: its one pool, and what tells the images apart. */
struct row {
    const char *name, *deployment, *release, *instance;
    uint32_t slot; /* of the pool; its number too */
    uint8_t mode;  /* enum snapshot_mode */
};

static const struct row before[] = {
    {"a", "a-1", "old", "10.0.0.1:80", 1, SNAPSHOT_SERVING},
    {"b", "b-2", "old", "10.0.0.2:80", 2, SNAPSHOT_SERVING},
    {"c", "c-3", "old", "10.0.0.3:80", 3, SNAPSHOT_SERVING},
};
#define SERVICES (sizeof before / sizeof *before)

static void *freeze(const struct row *rows, size_t count, const uint32_t *amended, size_t *size,
                    struct err *err)
{
    static const struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = 1};
    static const char *const paths[] = {"/", "/p"};
    const char *hosts[SERVICES];
    struct snapshot_service_spec services[SERVICES];
    struct snapshot_pool_spec pools[SERVICES];
    struct snapshot_instance_spec instances[SERVICES];
    struct snapshot_page_spec pages[SERVICES];
    for (uint32_t i = 0; i < count; i++) {
        hosts[i] = rows[i].name;
        instances[i] = (struct snapshot_instance_spec){.name = rows[i].instance,
                                                       .address = (const struct sockaddr *)&ip4,
                                                       .address_length = sizeof ip4,
                                                       .id = rows[i].slot,
                                                       .slot = rows[i].slot,
                                                       .weight = rows[i].slot};
        pools[i] = (struct snapshot_pool_spec){.deployment = rows[i].deployment,
                                               .release = rows[i].release,
                                               .number = rows[i].slot,
                                               .slot = rows[i].slot,
                                               .instances = &instances[i],
                                               .instance_count = 1};
        pages[i] = (struct snapshot_page_spec){.status = 502, .body = str_of(rows[i].release)};
        services[i] = (struct snapshot_service_spec){.name = rows[i].name,
                                                     .hosts = &hosts[i],
                                                     .host_count = 1,
                                                     .paths = paths,
                                                     .path_count = 2,
                                                     .rules = {.mode = rows[i].mode},
                                                     .pages = &pages[i],
                                                     .page_count = 1,
                                                     .texts = {[SNAPSHOT_MESSAGE] = rows[i].release},
                                                     .pin_cookie = rows[i].release,
                                                     .pool_first = i,
                                                     .pool_count = 1,
                                                     .live = i};
    }
    struct snapshot_spec spec = {.version = amended == NULL ? GROUND : NOW,
                                 .ground_version = amended == NULL ? 0 : GROUND,
                                 .ground_services = SERVICES,
                                 .amended = amended,
                                 .services = services,
                                 .service_count = count,
                                 .pools = pools,
                                 .pool_count = count};
    return snapshot_freeze(&spec, size, err);
}

struct images {
    void *ground, *amendment;
    size_t size; /* of the amendment */
    const struct snapshot *opened;
};

static int set_up(void **state)
{
    struct images *images = calloc(1, sizeof *images);
    struct err err;
    size_t size;
    images->ground = freeze(before, SERVICES, NULL, &size, &err);
    images->opened = images->ground == NULL ? NULL : snapshot_open(images->ground, size, &err);
    *state = images;
    return images->opened == NULL;
}

static int tear_down(void **state)
{
    struct images *images = *state;
    free(images->ground);
    free(images->amendment);
    free(images);
    return 0;
}

static const struct snapshot *amend(struct images *images, const struct row *rows, size_t count,
                                    const uint32_t *places)
{
    struct err err;
    images->amendment = freeze(rows, count, places, &images->size, &err);
    assert_non_null(images->amendment);
    const struct snapshot *snapshot = snapshot_amend(images->amendment, images->size, images->opened, &err);
    assert_non_null(snapshot);
    return snapshot;
}

static const struct row new_b = {"b", "b-7", "new", "10.0.0.7:80", 7, SNAPSHOT_SERVING};
static const uint32_t place_of_b[] = {1};

/* All that a service says of itself. */
static void assert_says(const struct snapshot *snapshot, const struct snapshot_service *service,
                        const struct row *row)
{
    const struct snapshot_pool *live = snapshot_service_live(snapshot, service);
    struct snapshot_instance instance = snapshot_pool_instance(snapshot, live, 0);
    struct str release = str_of(row->release);
    assert_true(str_equal(snapshot_service_name(snapshot, service), str_of(row->name)));
    assert_true(str_equal(snapshot_service_text(snapshot, service, SNAPSHOT_MESSAGE), release));
    assert_true(str_equal(snapshot_service_page(snapshot, service, 502, false), release));
    assert_true(str_equal(snapshot_service_cookie(snapshot, service, SNAPSHOT_PIN), release));
    assert_true(str_equal(snapshot_pool_deployment(snapshot, live), str_of(row->deployment)));
    assert_true(str_equal(snapshot_pool_release(snapshot, live), release));
    assert_true(str_equal(instance.name, str_of(row->instance)));
    assert_int_equal(instance.id, row->slot);
    assert_int_equal(snapshot_pool_seats(snapshot, live)->weight, row->slot);
    assert_int_equal(snapshot_service_pool_count(service), 1);
    assert_ptr_equal(snapshot_service_pool_at(snapshot, service, 0), live);
    assert_ptr_equal(snapshot_service_pool(snapshot, service, row->slot), live);
    assert_ptr_equal(snapshot_pool_of_slot(snapshot, row->slot), live);
}

static void what_is_amended_is_as_the_amendment_says_and_all_else_as_the_ground_does(void **state)
{
    const struct snapshot *snapshot = amend(*state, &new_b, 1, place_of_b);
    assert_int_equal(snapshot_version(snapshot), NOW);
    assert_int_equal(snapshot_version(snapshot_ground(snapshot)), GROUND);
    assert_int_equal(snapshot_service_count(snapshot), SERVICES);
    for (size_t i = 0; i < SERVICES; i++) {
        const struct snapshot_service *service = snapshot_service_at(snapshot, i);
        assert_says(snapshot, service, i == 1 ? &new_b : &before[i]);
        assert_int_equal(snapshot_service_index(snapshot, service), i);
    }
}

static void the_routes_of_the_ground_lead_to_what_is_amended(void **state)
{
    const struct snapshot *snapshot = amend(*state, &new_b, 1, place_of_b);
    uint32_t prefix;
    assert_says(snapshot, snapshot_match(snapshot, STR("b"), STR("/p/x"), &prefix), &new_b);
    assert_int_equal(prefix, 2);
    assert_says(snapshot, snapshot_match(snapshot, STR("c"), STR("/p"), &prefix), &before[2]);
    assert_null(snapshot_match(snapshot, STR("d"), STR("/"), &prefix));
}

static void a_pool_that_only_the_ground_names_of_an_amended_service_is_in_no_slot(void **state)
{
    const struct snapshot *snapshot = amend(*state, &new_b, 1, place_of_b);
    assert_non_null(snapshot_pool_of_slot(snapshot_ground(snapshot), 2));
    assert_null(snapshot_pool_of_slot(snapshot, 2));
    assert_null(snapshot_pool_of_slot(snapshot, 4));
}

static void who_routes_to_an_instance_is_told_with_it(void **state)
{
    const struct snapshot *snapshot = amend(*state, &new_b, 1, place_of_b);
    for (size_t i = 0; i < SERVICES; i++) {
        const struct snapshot_pool *live = snapshot_service_live(snapshot, snapshot_service_at(snapshot, i));
        assert_int_equal(snapshot_pool_instance(snapshot, live, 0).routed_by, i == 1 ? NOW : GROUND);
    }
}

static void all_may_be_amended_and_none(void **state)
{
    struct images *images = *state;
    static const struct row rows[] = {{"a", "a-4", "new", "10.0.0.4:80", 4, SNAPSHOT_SERVING},
                                      {"b", "b-5", "new", "10.0.0.5:80", 5, SNAPSHOT_SERVING},
                                      {"c", "c-6", "new", "10.0.0.6:80", 6, SNAPSHOT_SERVING}};
    static const uint32_t places[] = {0, 1, 2};
    const struct snapshot *snapshot = amend(images, rows, SERVICES, places);
    for (size_t i = 0; i < SERVICES; i++)
        assert_says(snapshot, snapshot_service_at(snapshot, i), &rows[i]);
    free(images->amendment);
    snapshot = amend(images, rows, 0, places);
    assert_int_equal(snapshot_amended_count(snapshot), 0);
    for (size_t i = 0; i < SERVICES; i++)
        assert_says(snapshot, snapshot_service_at(snapshot, i), &before[i]);
}

static void a_pause_is_seen_whichever_image_says_it(void **state)
{
    struct images *images = *state;
    struct row paused = new_b;
    assert_false(snapshot_may_pause(images->opened));
    assert_false(snapshot_may_pause(amend(images, &paused, 1, place_of_b)));
    free(images->amendment);
    paused.mode = SNAPSHOT_PAUSED;
    assert_true(snapshot_may_pause(amend(images, &paused, 1, place_of_b)));
}

/* ---- what is refused ---- */

static void assert_refused(struct images *images, const char *fault)
{
    struct err err;
    assert_null(snapshot_amend(images->amendment, images->size, images->opened, &err));
    assert_non_null(strstr(err.text, fault));
}

static void make(struct images *images, const uint32_t *places, size_t count)
{
    static const struct row rows[] = {{"a", "a-4", "new", "10.0.0.4:80", 4, SNAPSHOT_SERVING},
                                      {"b", "b-5", "new", "10.0.0.5:80", 5, SNAPSHOT_SERVING}};
    struct err err;
    images->amendment = freeze(rows, count, places, &images->size, &err);
    assert_non_null(images->amendment);
}

static void an_amendment_is_no_world_by_itself(void **state)
{
    struct images *images = *state;
    struct err err;
    make(images, place_of_b, 1);
    assert_int_equal(snapshot_amends(images->amendment), GROUND);
    assert_int_equal(snapshot_amends(images->ground), 0);
    assert_null(snapshot_open(images->amendment, images->size, &err));
    assert_non_null(strstr(err.text, "it amends version 5, not 0"));
}

static void an_amendment_of_another_ground_is_refused(void **state)
{
    struct images *images = *state;
    make(images, place_of_b, 1);
    ((struct snapshot *)images->amendment)->ground_version = GROUND - 1;
    assert_refused(images, "it amends version 4, not 5");
}

static void an_amendment_that_says_where_its_ground_lies_is_refused(void **state)
{
    struct images *images = *state;
    make(images, place_of_b, 1);
    ((struct snapshot *)images->amendment)->ground = 8;
    assert_refused(images, "where another image would lie");
}

static void services_that_the_ground_has_not_or_that_are_named_twice_are_refused(void **state)
{
    static const uint32_t wrong[][2] = {{1, SERVICES}, {1, 1}, {2, 1}};
    static const uint32_t right[] = {0, 1};
    struct images *images = *state;
    make(images, right, 2);
    struct snapshot *image = images->amendment;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy((char *)image + image->parts[IMAGE_AMENDED].at, wrong[i], sizeof wrong[i]);
        assert_refused(images, "out of order");
    }
}

static void an_amendment_cannot_be_frozen_of_what_the_ground_has_not(void **state)
{
    static const uint32_t wrong[] = {SERVICES};
    struct err err;
    size_t size;
    (void)state;
    assert_null(freeze(&new_b, 1, wrong, &size, &err));
    assert_non_null(strstr(err.text, "out of order"));
}

/* The bytes of a whole image with the header of an amendment. */
static void an_amendment_with_routes_or_services_without_a_place_is_refused(void **state)
{
    struct images *images = *state;
    struct snapshot *whole = images->ground;
    images->size = whole->size;
    images->amendment = malloc(whole->size);
    memcpy(images->amendment, whole, whole->size);
    ((struct snapshot *)images->amendment)->ground_version = GROUND;
    assert_refused(images, "it amends 0 services, but has 3");
    struct image_span parts[IMAGE_PARTS];
    memcpy(parts, whole->parts, sizeof parts);
    parts[IMAGE_AMENDED].count = SERVICES;
    images->size = image_place(parts);
    struct snapshot *moved = images->amendment = realloc(images->amendment, images->size);
    size_t begin = parts[IMAGE_AMENDED].at, end = parts[IMAGE_AMENDED + 1].at;
    memmove((char *)moved + end, (char *)moved + begin, whole->size - begin);
    memcpy((char *)moved + begin, (uint32_t[]){0, 1, 2}, sizeof(uint32_t[SERVICES]));
    memcpy(moved->parts, parts, sizeof parts);
    moved->size = images->size;
    assert_refused(images, "has routes");
}

static void a_wrong_count_of_paused_services_is_refused(void **state)
{
    struct images *images = *state;
    make(images, place_of_b, 1);
    ((struct snapshot *)images->amendment)->paused = 1;
    assert_refused(images, "paused");
}

static size_t sum_of(struct str text)
{
    size_t sum = 0;
    for (size_t i = 0; i < text.n; i++)
        sum += (uint8_t)text.p[i];
    return sum;
}

/* Reads what readers do; under a sanitizer, nothing of it may lie outside the two images. */
static size_t read_all(const struct snapshot *snapshot)
{
    size_t sum = 0;
    uint32_t prefix;
    for (uint32_t i = 0; i < SERVICES; i++) {
        const struct snapshot_service *service =
            snapshot_match(snapshot, str_of(before[i].name), STR("/p"), &prefix);
        sum += sum_of(snapshot_service_name(snapshot, service)) +
               sum_of(snapshot_service_page(snapshot, service, 502, false)) +
               sum_of(snapshot_service_text(snapshot, service, SNAPSHOT_MESSAGE));
        for (size_t k = 0; k < snapshot_service_pool_count(service); k++) {
            const struct snapshot_pool *pool = snapshot_service_pool_at(snapshot, service, k);
            sum += sum_of(snapshot_pool_deployment(snapshot, pool));
            for (size_t n = 0; n < snapshot_pool_size(pool); n++)
                sum += sum_of(snapshot_pool_instance(snapshot, pool, n).name) +
                       snapshot_pool_seats(snapshot, pool)[n].weight;
        }
        sum += snapshot_pool_of_slot(snapshot, i) != NULL;
    }
    return sum;
}

static bool open_copy(const struct images *images, const void *image, size_t size)
{
    struct err err;
    void *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, image, size);
    const struct snapshot *snapshot = snapshot_amend(copy, size, images->opened, &err);
    if (snapshot != NULL)
        assert_in_range(read_all(snapshot), 1, SIZE_MAX - 1);
    free(copy);
    return snapshot != NULL;
}

static void an_amendment_with_any_word_replaced_or_cut_is_refused_or_harmless(void **state)
{
    static const uint32_t lies[] = {0, 1, 3, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, UINT32_MAX};
    struct images *images = *state;
    make(images, place_of_b, 1);
    char *image = images->amendment;
    for (size_t n = 0; n < images->size; n++)
        assert_false(open_copy(images, image, n));
    for (size_t at = 0; at + 4 <= images->size; at += 4) {
        uint32_t word;
        memcpy(&word, image + at, 4);
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
            memcpy(image + at, lies + i, 4);
            open_copy(images, image, images->size);
        }
        memcpy(image + at, &word, 4);
    }
    assert_true(open_copy(images, image, images->size));
}

#define with_images(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_images(what_is_amended_is_as_the_amendment_says_and_all_else_as_the_ground_does),
        with_images(the_routes_of_the_ground_lead_to_what_is_amended),
        with_images(a_pool_that_only_the_ground_names_of_an_amended_service_is_in_no_slot),
        with_images(who_routes_to_an_instance_is_told_with_it),
        with_images(all_may_be_amended_and_none),
        with_images(a_pause_is_seen_whichever_image_says_it),
        with_images(an_amendment_is_no_world_by_itself),
        with_images(an_amendment_of_another_ground_is_refused),
        with_images(an_amendment_that_says_where_its_ground_lies_is_refused),
        with_images(services_that_the_ground_has_not_or_that_are_named_twice_are_refused),
        with_images(an_amendment_cannot_be_frozen_of_what_the_ground_has_not),
        with_images(an_amendment_with_routes_or_services_without_a_place_is_refused),
        with_images(a_wrong_count_of_paused_services_is_refused),
        with_images(an_amendment_with_any_word_replaced_or_cut_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
