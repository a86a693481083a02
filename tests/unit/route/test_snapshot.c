#include "route/snapshot.h"

#include "route/image.h"
#include "world.h"

#include <arpa/inet.h>
#include <sys/un.h>

/* A world with one of everything. */
static void *freeze_world(size_t *size)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(8001)};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(8002)};
    ip6.sin6_addr = in6addr_loopback;
    const struct snapshot_instance_spec instances[] = {
        {.name = "127.0.0.1:8001",
         .address = (struct sockaddr *)&ip4,
         .address_length = sizeof ip4,
         .id = 7,
         .slot = 70,
         .down = true,
         .weight = 3},
        {.name = "[::1]:8002",
         .address = (struct sockaddr *)&ip6,
         .address_length = sizeof ip6,
         .id = 8,
         .slot = 80,
         .drained = true},
    };
    const struct snapshot_pool_spec pools[] = {
        {.deployment = "web-16",
         .release = "",
         .number = 16,
         .slot = 3,
         .drain = {11, 12, 13, 14},
         .instances = instances,
         .instance_count = 1},
        {.deployment = "web-17", .release = "v42", .slot = 4, .instances = instances, .instance_count = 2},
    };
    static const char *const hosts[] = {"example.com", "*.example.com"};
    static const char *const paths[] = {"/", "/api", "/static"};
    const struct snapshot_page_spec pages[] = {{.status = 502, .body = STR("sorry")},
                                               {.status = 502, .json = true, .body = STR("{}")}};
    struct snapshot_service_spec services[] = {
        {.name = "web",
         .texts = {[SNAPSHOT_REQUEST_HEADERS] = "-X-A\n", [SNAPSHOT_CANONICAL_HOST] = "www.example.com"},
         .pages = pages,
         .page_count = 2,
         .hosts = hosts,
         .host_count = 2,
         .paths = paths,
         .path_count = 3,
         .rules = {.connect_ms = 2000, .balance = SNAPSHOT_RANDOM, .strip_path = 1},
         .hash_name = "X-User",
         .affinity_cookie = "upswap",
         .pin_cookie = "upswap-pin-web",
         .cookie_path = "/app",
         .pool_count = 2,
         .live = 1},
        {.name = "empty", .paths = paths, .path_count = 1, .live = SNAPSHOT_NONE},
    };
    struct err err;
    struct address_prefix trusted, proxies[2];
    services[0].rules.mode = SNAPSHOT_MAINTENANCE;
    services[0].allowed = &proxies[0];
    services[1].allowed = proxies;
    services[0].allowed_count = 1;
    services[1].allowed_count = 2;
    assert_true(address_prefix_parse(STR("10.0.0.0/8"), &trusted, &err));
    assert_true(address_prefix_parse(STR("10.1.0.0/16"), &proxies[0], &err));
    assert_true(address_prefix_parse(STR("fd00::/8"), &proxies[1], &err));
    const struct snapshot_listener_spec listeners[] = {
        {.id = 5, .address = "0.0.0.0:8080", .proxies = &proxies[0], .proxy_count = 1},
        {.id = 63, .address = "[::]:8081", .proxies = proxies, .proxy_count = 2},
    };
    struct snapshot_spec spec = {
        .version = 12,
        .settings = {.head_max = 32768, .access_log = SNAPSHOT_LOG_JSON},
        .trusted = &trusted,
        .trusted_count = 1,
        .listeners = listeners,
        .listener_count = 2,
        .services = services,
        .service_count = 2,
        .pools = pools,
        .pool_count = 2,
    };
    void *image = snapshot_freeze(&spec, size, &err);
    assert_non_null(image);
    return image;
}

/* Reads everything a reader can read; under a sanitizer, nothing of it may lie outside the image. */
static size_t sum_bytes(struct str text)
{
    size_t sum = 0;
    for (size_t i = 0; i < text.n; i++)
        sum += (uint8_t)text.p[i];
    return sum;
}

static size_t read_all(const struct snapshot *snapshot)
{
    static const char *const hosts[] = {"example.com", "a.example.com", "other", ""};
    static const char *const paths[] = {"/", "/api/x", "/static", "/statics/and/more/of/a/long/path"};
    static const uint8_t address[16];
    size_t sum = snapshot_trusts(snapshot, address);
    for (size_t i = 0; i < snapshot_listener_count(snapshot); i++) {
        uint32_t id = snapshot_listener_id(snapshot, i);
        sum += id + snapshot_expects_proxy(snapshot, id, address);
    }
    for (size_t i = 0; i < snapshot_pool_count(snapshot); i++) {
        const struct snapshot_pool *pool = snapshot_pool_at(snapshot, i);
        struct str texts[] = {snapshot_pool_deployment(snapshot, pool),
                              snapshot_pool_release(snapshot, pool)};
        sum += str_equal(texts[0], texts[1]);
        for (size_t j = 0; j < snapshot_pool_size(pool); j++) {
            struct snapshot_instance instance = snapshot_pool_instance(snapshot, pool, j);
            struct sockaddr_storage copy;
            memcpy(&copy, instance.address, instance.address_length);
            sum += str_distance(instance.name, texts[0]) + copy.ss_family;
        }
    }
    for (size_t i = 0; i < 16; i++) {
        uint32_t prefix;
        struct str name = world_match(snapshot, hosts[i % 4], paths[i / 4], &prefix);
        sum += str_equal(name, STR("web")) + prefix;
    }
    for (size_t i = 0; i < snapshot_service_count(snapshot); i++) {
        const struct snapshot_service *service = snapshot_service_at(snapshot, i);
        const struct snapshot_pool *live = snapshot_service_live(snapshot, service);
        sum += live == NULL ? 0 : snapshot_pool_slot(live);
        for (unsigned k = 0; k < SNAPSHOT_TEXTS; k++)
            sum += sum_bytes(snapshot_service_text(snapshot, service, (enum snapshot_text)k));
        sum += sum_bytes(snapshot_service_page(snapshot, service, 502, i % 2 == 0));
        sum += snapshot_service_allows(snapshot, service, address);
        for (unsigned k = 0; k < SNAPSHOT_COOKIES; k++)
            sum += sum_bytes(snapshot_service_cookie(snapshot, service, (enum snapshot_cookie)k));
        sum += str_distance(snapshot_service_cookie_path(snapshot, service), STR("/")) +
               str_distance(snapshot_service_hash_name(snapshot, service), STR("x"));
        const struct snapshot_pool *old = snapshot_service_pool(snapshot, service, 16);
        sum += old == NULL ? 0 : snapshot_pool_slot(old);
    }
    return sum;
}

static void what_was_frozen_is_read_back(void **state)
{
    (void)state;
    size_t size;
    struct err err;
    void *image = freeze_world(&size);
    const struct snapshot *snapshot = snapshot_open(image, size, &err);
    assert_non_null(snapshot);
    assert_int_equal(snapshot_version(snapshot), 12);
    assert_int_equal(snapshot_settings(snapshot)->head_max, 32768);
    assert_int_equal(snapshot_settings(snapshot)->access_log, SNAPSHOT_LOG_JSON);
    assert_int_equal(snapshot_listener_count(snapshot), 2);
    assert_int_equal(snapshot_listener_id(snapshot, 1), 63);
    assert_int_equal(snapshot_service_count(snapshot), 2);
    const struct snapshot_service *web = snapshot_service_at(snapshot, 0);
    assert_str_equal(snapshot_service_name(snapshot, web), "web");
    assert_int_equal(snapshot_service_rules(web)->connect_ms, 2000);
    assert_int_equal(snapshot_service_rules(web)->balance, SNAPSHOT_RANDOM);
    assert_int_equal(snapshot_service_rules(web)->strip_path, 1);
    const struct snapshot_service *empty = snapshot_service_at(snapshot, 1);
    assert_int_equal(snapshot_service_index(snapshot, empty), 1);
    for (uint32_t place = 0; place < 3; place++)
        assert_ptr_equal(snapshot_service_named(snapshot, STR("web"), place), web);
    assert_null(snapshot_service_named(snapshot, STR("we"), 0));
    assert_null(snapshot_service_live(snapshot, empty));
    assert_ptr_equal(snapshot_service_live(snapshot, web), snapshot_pool_at(snapshot, 1));
    free(image);
}

static void pools_and_instances_are_read_back(void **state)
{
    (void)state;
    size_t size;
    void *image = freeze_world(&size);
    const struct snapshot *snapshot = image;
    assert_int_equal(snapshot_pool_count(snapshot), 2);
    const struct snapshot_pool *old = snapshot_pool_at(snapshot, 0), *live = snapshot_pool_at(snapshot, 1);
    assert_str_equal(snapshot_pool_deployment(snapshot, old), "web-16");
    assert_str_equal(snapshot_pool_release(snapshot, old), "");
    assert_str_equal(snapshot_pool_release(snapshot, live), "v42");
    assert_int_equal(snapshot_pool_slot(live), 4);
    assert_int_equal(snapshot_pool_drain(old)->websockets_until_ms, 13);
    assert_int_equal(snapshot_pool_drain(live)->requests_until_ms, 0);
    assert_int_equal(snapshot_pool_size(old), 1);
    assert_int_equal(snapshot_pool_size(live), 2);
    struct snapshot_instance second = snapshot_pool_instance(snapshot, live, 1);
    assert_str_equal(second.name, "[::1]:8002");
    assert_int_equal(second.id, 8);
    assert_int_equal(second.slot, 80);
    assert_true(second.drained && !second.down);
    struct snapshot_instance first = snapshot_pool_instance(snapshot, live, 0);
    assert_true(first.down && !first.drained);
    assert_int_equal(first.weight, 3);
    assert_int_equal(second.weight, 1);
    assert_true(snapshot_pool_is_even(old));
    assert_false(snapshot_pool_is_even(live));
    assert_int_equal(second.address->sa_family, AF_INET6);
    assert_int_equal(second.address_length, sizeof(struct sockaddr_in6));
    free(image);
}

static void texts_and_pages_of_a_service_are_read_back(void **state)
{
    (void)state;
    size_t size;
    struct err err;
    void *image = freeze_world(&size);
    const struct snapshot *snapshot = snapshot_open(image, size, &err);
    const struct snapshot_service *web = snapshot_service_at(snapshot, 0);
    const struct snapshot_service *empty = snapshot_service_at(snapshot, 1);
    assert_str_equal(snapshot_service_text(snapshot, web, SNAPSHOT_REQUEST_HEADERS), "-X-A\n");
    assert_int_equal(snapshot_service_text(snapshot, web, SNAPSHOT_RESPONSE_HEADERS).n, 0);
    assert_str_equal(snapshot_service_text(snapshot, web, SNAPSHOT_CANONICAL_HOST), "www.example.com");
    for (unsigned i = 0; i < SNAPSHOT_TEXTS; i++) {
        enum snapshot_text which = (enum snapshot_text)i;
        assert_int_equal(snapshot_has_text(snapshot_service_rules(web), which),
                         which == SNAPSHOT_REQUEST_HEADERS || which == SNAPSHOT_CANONICAL_HOST);
        assert_false(snapshot_has_text(snapshot_service_rules(empty), which));
    }
    assert_str_equal(snapshot_service_page(snapshot, web, 502, false), "sorry");
    assert_str_equal(snapshot_service_page(snapshot, web, 502, true), "{}");
    assert_int_equal(snapshot_service_page(snapshot, web, 503, false).n, 0);
    assert_int_equal(snapshot_service_page(snapshot, empty, 502, false).n, 0);
    free(image);
}

/* One service of this kind cannot be frozen. */
static void assert_not_frozen(struct snapshot_service_spec service, struct snapshot_settings settings,
                              const char *fault)
{
    static const char *const path = "/";
    service.name = "web";
    service.paths = &path;
    service.path_count = 1;
    service.live = SNAPSHOT_NONE;
    const struct snapshot_spec spec = {.settings = settings, .services = &service, .service_count = 1};
    size_t size;
    struct err err;
    assert_null(snapshot_freeze(&spec, &size, &err));
    if (strstr(err.text, fault) == NULL)
        fail_msg("%s is not in: %s", fault, err.text);
}

static void what_could_forge_a_head_or_a_limit_is_refused(void **state)
{
    enum { TEXT_MAX = 131072 };
    (void)state;
    const struct snapshot_settings fine = {.head_max = 4096};
    static const char *const texts[] = {"=X: a\r\n", "=X: \x01\n", "\x7f"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_not_frozen((struct snapshot_service_spec){.texts = {texts[i]}}, fine, "impossible text");
    char *large = calloc(1, TEXT_MAX + 2);
    memset(large, 'x', TEXT_MAX + 1);
    const struct snapshot_page_spec page = {.status = 502, .body = {large, SNAPSHOT_PAGE_MAX + 1}};
    assert_not_frozen((struct snapshot_service_spec){.texts = {large}}, fine, "impossible text");
    assert_not_frozen((struct snapshot_service_spec){.pages = &page, .page_count = 1}, fine,
                      "no readable body");
    free(large);
    assert_not_frozen((struct snapshot_service_spec){.rules = {.mode = SNAPSHOT_MODES}}, fine,
                      "unknown mode");
    assert_not_frozen((struct snapshot_service_spec){.rules = {.pause = {.slot = SNAPSHOT_PAUSE_SLOTS}}},
                      fine, "unknown mode");
    static const struct snapshot_rate rates[] = {{1, 0}, {1000001, 1}, {1, 3600}, {2, 7200}};
    for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
        assert_not_frozen((struct snapshot_service_spec){.rules = {.rate = rates[i]}}, fine,
                          "impossible limit");
        assert_not_frozen((struct snapshot_service_spec){.name = NULL},
                          (struct snapshot_settings){.rate = rates[i]}, "limit of requests is impossible");
    }
}

static void cookies_and_pools_of_a_service_are_read_back(void **state)
{
    (void)state;
    size_t size;
    void *image = freeze_world(&size);
    const struct snapshot_service *web = snapshot_service_at(image, 0),
                                  *empty = snapshot_service_at(image, 1);
    assert_str_equal(snapshot_service_cookie(image, web, SNAPSHOT_AFFINITY), "upswap");
    assert_str_equal(snapshot_service_cookie(image, web, SNAPSHOT_PIN), "upswap-pin-web");
    assert_true(snapshot_has_cookie(snapshot_service_rules(web), SNAPSHOT_AFFINITY));
    assert_true(snapshot_has_cookie(snapshot_service_rules(web), SNAPSHOT_PIN));
    assert_false(snapshot_has_cookie(snapshot_service_rules(web), SNAPSHOT_CANARY));
    assert_str_equal(snapshot_service_cookie_path(image, web), "/app");
    assert_str_equal(snapshot_service_hash_name(image, web), "X-User");
    assert_ptr_equal(snapshot_service_pool(image, web, 16), snapshot_pool_at(image, 0));
    assert_null(snapshot_service_pool(image, web, 17));
    assert_null(snapshot_service_pool(image, empty, 16));
    for (unsigned i = 0; i < SNAPSHOT_COOKIES; i++)
        assert_str_equal(snapshot_service_cookie(image, empty, (enum snapshot_cookie)i), "");
    assert_str_equal(snapshot_service_cookie_path(image, empty), "/");
    free(image);
}

/* It would be written into a head as it is. */
static void a_cookie_that_would_break_its_line_is_refused(void **state)
{
    static const char *const texts[] = {"a\r\nb", "a;b", "a b", "\x7f", "\xc3\xa4"};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof texts / sizeof *texts; i++) {
        const struct snapshot_service_spec service = {.name = "web",
                                                      .pin_cookie = i % 2 == 0 ? texts[i / 2] : "pin",
                                                      .cookie_path = i % 2 == 1 ? texts[i / 2] : "/",
                                                      .live = SNAPSHOT_NONE};
        const struct snapshot_spec spec = {.services = &service, .service_count = 1};
        size_t size;
        struct err err;
        assert_null(snapshot_freeze(&spec, &size, &err));
        assert_non_null(strstr(err.text, "service \"web\" has cookies or pools that cannot be"));
    }
}

static void only_trusted_networks_are_trusted(void **state)
{
    (void)state;
    static const uint8_t inside[16] = {[10] = 0xff, 0xff, 10, 1, 2, 3}, outside[16] = {[10] = 0xff, 0xff, 11};
    size_t size;
    void *image = freeze_world(&size);
    assert_true(snapshot_trusts(image, inside));
    assert_false(snapshot_trusts(image, outside));
    free(image);
}

static void each_listener_has_its_own_proxies(void **state)
{
    (void)state;
    static const uint8_t ip4[16] = {[10] = 0xff, 0xff, 10, 1, 2, 3}, other[16] = {[10] = 0xff, 0xff, 10, 2};
    static const uint8_t ip6[16] = {0xfd, 1};
    size_t size;
    void *image = freeze_world(&size);
    assert_true(snapshot_expects_proxy(image, 5, ip4));
    assert_false(snapshot_expects_proxy(image, 5, other));
    assert_false(snapshot_expects_proxy(image, 5, ip6));
    assert_true(snapshot_expects_proxy(image, 63, ip4));
    assert_true(snapshot_expects_proxy(image, 63, ip6));
    assert_false(snapshot_expects_proxy(image, 6, ip4));
    free(image);
}

/* One host and path for two services, in several spellings. */
static void each_service_has_its_own_allowed_networks(void **state)
{
    (void)state;
    size_t size;
    struct err err;
    void *image = freeze_world(&size);
    const struct snapshot *snapshot = snapshot_open(image, size, &err);
    uint8_t inside[16] = {[10] = 0xff, 0xff, 10, 1, 0, 1}, other[16] = {0xfd};
    const struct snapshot_service *web = snapshot_service_at(snapshot, 0),
                                  *empty = snapshot_service_at(snapshot, 1);
    assert_int_equal(snapshot_service_rules(web)->mode, SNAPSHOT_MAINTENANCE);
    assert_true(snapshot_service_allows(snapshot, web, inside));
    assert_false(snapshot_service_allows(snapshot, web, other));
    assert_true(snapshot_service_allows(snapshot, empty, inside));
    assert_true(snapshot_service_allows(snapshot, empty, other));
    free(image);
}

static void two_services_on_one_host_and_path_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct world_service services[2];
        const char *place;
    } rows[] = {
        {{{"one", {"a.org", "b.org"}, {"/"}}, {"two", {"c.org", "B.org"}, {"/"}}},
         "path \"/\" on host \"b.org\""},
        {{{"one", {"b.org."}, {"/", "/x/"}}, {"two", {"b.org"}, {"/x"}}}, "path \"/x\" on host \"b.org\""},
        {{{"one", {"*.b.org"}, {"/"}}, {"two", {"*.B.org"}, {"//"}}}, "path \"/\" on host \"*.b.org\""},
        {{{"one", {NULL}, {"/"}}, {"two", {NULL}, {"/"}}}, "path \"/\" on any host"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size;
        struct err err;
        assert_null(world_freeze(rows[i].services, 2, &size, &err));
        assert_non_null(strstr(err.text, "services \"one\" and \"two\""));
        assert_non_null(strstr(err.text, rows[i].place));
    }
}

static void one_service_may_say_the_same_twice(void **state)
{
    (void)state;
    static const struct world_service row = {"one", {"b.org", "B.org"}, {"/x", "/x/", "/"}};
    size_t size;
    struct err err;
    uint32_t prefix;
    void *image = world_freeze(&row, 1, &size, &err);
    assert_non_null(image);
    assert_str_equal(world_match(image, "b.org", "/x/y", &prefix), "one");
    assert_int_equal(prefix, 2);
    free(image);
}

static void bad_hosts_and_paths_are_refused_by_name(void **state)
{
    (void)state;
    static char long_host[300], long_path[1100], long_name[1100];
    memset(long_host, 'h', sizeof long_host - 1);
    memset(long_path, 'p', sizeof long_path - 1);
    memset(long_name, 'n', sizeof long_name - 1);
    long_path[0] = '/';
    const struct {
        struct world_service service;
        const char *fault;
    } rows[] = {
        {{"web", {""}, {"/"}}, "service \"web\": host \"\""},
        {{"web", {"*"}, {"/"}}, "service \"web\": host \"*\""},
        {{"web", {"*."}, {"/"}}, "service \"web\": host \"*.\""},
        {{"web", {"a.*.org"}, {"/"}}, "service \"web\": host \"a.*.org\""},
        {{"web", {".org"}, {"/"}}, "service \"web\": host \".org\""},
        {{"web", {long_host}, {"/"}}, "too long"},
        {{"web", {NULL}, {"api"}}, "path \"api\" must begin with /"},
        {{"web", {NULL}, {""}}, "path \"\" must begin with /"},
        {{"web", {NULL}, {long_path}}, "too long"},
        {{long_name, {NULL}, {"/"}}, "the service's name \"nnn"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size;
        struct err err;
        assert_null(world_freeze(&rows[i].service, 1, &size, &err));
        if (strstr(err.text, rows[i].fault) == NULL)
            fail_msg("%s is not in: %s", rows[i].fault, err.text);
    }
}

static void assert_pool_is_refused(uint32_t live, const struct sockaddr *address, socklen_t length,
                                   uint32_t slot, const char *fault)
{
    const struct snapshot_instance_spec instance = {
        .name = "x:1", .address = address, .address_length = length, .id = 1, .slot = slot};
    const struct snapshot_pool_spec pool = {
        .deployment = "web-1", .release = "", .slot = slot, .instances = &instance, .instance_count = 1};
    static const char *const path = "/";
    const struct snapshot_service_spec service = {
        .name = "web", .paths = &path, .path_count = 1, .live = live};
    const struct snapshot_spec spec = {
        .services = &service, .service_count = 1, .pools = &pool, .pool_count = 1};
    size_t size;
    struct err err;
    assert_null(snapshot_freeze(&spec, &size, &err));
    if (strstr(err.text, fault) == NULL)
        fail_msg("%s is not in: %s", fault, err.text);
}

static void impossible_pools_and_instances_are_refused_by_name(void **state)
{
    (void)state;
    struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in no_port = {.sin_family = AF_INET};
    const struct sockaddr_storage unix_path = {.ss_family = AF_UNIX};
    const struct sockaddr *good = (struct sockaddr *)&ip4;
    assert_pool_is_refused(1, good, sizeof ip4, 0, "service \"web\" has the live pool 1");
    assert_pool_is_refused(0, good, sizeof ip4 - 1, 0, "instance \"x:1\" has no IPv4 or IPv6 address");
    assert_pool_is_refused(0, (struct sockaddr *)&no_port, sizeof no_port, 0, "with a port");
    assert_pool_is_refused(0, (struct sockaddr *)&unix_path, sizeof unix_path, 0, "only IPv4, IPv6 and Unix");
    assert_pool_is_refused(0, good, sizeof ip4, SNAPSHOT_POOL_SLOTS, "pool \"web-1\" has the counter slot");
}

static void a_unix_sockets_path_is_absolute_and_as_long_as_it_says(void **state)
{
    (void)state;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/run/app.sock"};
    const struct sockaddr *address = (struct sockaddr *)&name;
    const char *fault = "instance \"x:1\" has no IPv4";
    /* The world is refused for its live pool, and only for it. */
    assert_pool_is_refused(1, address, (socklen_t)head + 14, 0, "service \"web\" has the live pool 1");
    assert_pool_is_refused(0, address, (socklen_t)head + 13, 0, fault);
    assert_pool_is_refused(0, address, (socklen_t)head + 15, 0, fault);
    assert_pool_is_refused(0, address, (socklen_t)head + 1, 0, fault);
    assert_pool_is_refused(0, address, (socklen_t)head, 0, fault);
    memset(name.sun_path, '/', sizeof name.sun_path);
    assert_pool_is_refused(0, address, sizeof name, 0, fault);
    name = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "run"};
    assert_pool_is_refused(0, address, (socklen_t)head + 4, 0, fault);
    name = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "\0abstract"};
    assert_pool_is_refused(0, address, (socklen_t)head + 10, 0, fault);
}

static void an_impossible_weight_is_refused(void **state)
{
    static const uint32_t weights[] = {SNAPSHOT_WEIGHT_MAX + 1, UINT32_MAX};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(80)};
        const struct snapshot_instance_spec instance = {.name = "x:1",
                                                        .address = (struct sockaddr *)&ip4,
                                                        .address_length = sizeof ip4,
                                                        .weight = weights[i]};
        const struct snapshot_pool_spec pool = {
            .deployment = "web-1", .release = "", .instances = &instance, .instance_count = 1};
        const struct snapshot_spec spec = {.pools = &pool, .pool_count = 1};
        size_t size;
        struct err err;
        assert_null(snapshot_freeze(&spec, &size, &err));
        assert_non_null(strstr(err.text, "instance \"x:1\" has the weight"));
    }
}

/* A copy that ends exactly where a sanitizer watches. */
static bool open_copy(const void *image, size_t size)
{
    struct err err;
    void *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, image, size);
    const struct snapshot *snapshot = snapshot_open(copy, size, &err);
    if (snapshot != NULL)
        assert_in_range(read_all(snapshot), 0, SIZE_MAX - 1);
    free(copy);
    return snapshot != NULL;
}

static void a_cut_image_is_refused_at_every_length(void **state)
{
    (void)state;
    size_t size;
    char *image = freeze_world(&size);
    for (size_t n = 0; n < size; n++)
        assert_false(open_copy(image, n));
    assert_true(open_copy(image, size));
    free(image);
}

/* Where the change is no more than another number (a timeout, a letter of a name that nobody looks up), it is
 * accepted; what counts is that nothing outside the image is read then. */
static void an_image_with_any_byte_changed_is_refused_or_harmless(void **state)
{
    (void)state;
    static const uint8_t flips[] = {0x01, 0x02, 0x20, 0x80, 0xff, 0x7f};
    size_t size, accepted = 0;
    uint8_t *image = freeze_world(&size);
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < sizeof flips; i++) {
            image[at] ^= flips[i];
            accepted += open_copy(image, size);
            image[at] ^= flips[i];
        }
    }
    assert_true(open_copy(image, size));
    assert_in_range(accepted, 1, size * sizeof flips * 3 / 4);
    free(image);
}

/* Whole words: what a liar would write into counts, offsets and indexes. */
static void an_image_with_any_word_replaced_is_refused_or_harmless(void **state)
{
    (void)state;
    static const uint32_t lies[] = {0, 1, 3, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, UINT32_MAX};
    size_t size;
    char *image = freeze_world(&size);
    for (size_t at = 0; at + 4 <= size; at += 4) {
        uint32_t word;
        memcpy(&word, image + at, 4);
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
            memcpy(image + at, lies + i, 4);
            open_copy(image, size);
        }
        memcpy(image + at, &word, 4);
    }
    assert_true(open_copy(image, size));
    free(image);
}

static void assert_refused(const void *image, size_t size, const char *fault)
{
    struct err err;
    assert_null(snapshot_open(image, size, &err));
    assert_non_null(strstr(err.text, fault));
}

static struct snapshot *freeze_one_host(size_t *size)
{
    static const struct world_service row = {"one", {"a.org"}, {"/"}};
    struct err err;
    struct snapshot *image = world_freeze(&row, 1, size, &err);
    assert_non_null(image);
    return image;
}

/* Else a search for a host that is not there would never end. */
static void a_hash_table_without_an_empty_slot_is_refused(void **state)
{
    (void)state;
    size_t size;
    struct snapshot *image = freeze_one_host(&size);
    struct image_slot *slots = (void *)((char *)image + image->parts[IMAGE_HOST_SLOTS].at);
    assert_int_equal(image->parts[IMAGE_HOST_SLOTS].count, 2);
    if (slots[0].index == SNAPSHOT_NONE)
        slots[0] = slots[1];
    size -= sizeof *slots;
    memmove(slots + 1, slots + 2, (size_t)((char *)image + size - (char *)(slots + 1)));
    image->parts[IMAGE_HOST_SLOTS].count = 1;
    image->size = size;
    assert_int_equal(image_place(image->parts), size);
    assert_refused(image, size, "hash tables");
    free(image);
}

/* Else its service would be there and never asked for. */
static void a_host_with_a_key_of_a_length_that_is_not_looked_for_is_refused(void **state)
{
    (void)state;
    size_t size;
    struct snapshot *image = freeze_one_host(&size);
    assert_int_equal(image->key_lengths[0], 1 << 5);
    image->key_lengths[0] = 1 << 6;
    assert_refused(image, size, "host 0 cannot be found by its key");
    free(image);
}

/* Else they would never be asked for. */
static void a_service_that_says_that_it_has_other_texts_or_cookies_is_refused(void **state)
{
    (void)state;
    size_t size;
    struct snapshot *image = freeze_one_host(&size);
    struct snapshot_service *service = (void *)((char *)image + image->parts[IMAGE_SERVICES].at);
    assert_int_equal(service->rules.texts, 0);
    service->rules.texts = 1 << SNAPSHOT_MESSAGE;
    assert_refused(image, size, "service \"one\" has other texts or cookies than it says");
    service->rules.texts = 0;
    service->rules.cookies = 1 << SNAPSHOT_PIN;
    assert_refused(image, size, "service \"one\" has other texts or cookies than it says");
    free(image);
}

static void prefix_lengths_out_of_order_are_refused(void **state)
{
    (void)state;
    size_t size;
    struct snapshot *image = freeze_world(&size);
    uint32_t *lengths = (void *)((char *)image + image->parts[IMAGE_LENGTHS].at);
    assert_true(lengths[0] < lengths[1]);
    lengths[0] = lengths[1];
    assert_refused(image, size, "lengths");
    free(image);
}

static void an_image_that_is_not_aligned_is_refused(void **state)
{
    (void)state;
    size_t size;
    char *image = freeze_world(&size), *moved = malloc(size + 8);
    memcpy(moved + 4, image, size);
    assert_refused(moved + 4, size, "multiple of 8");
    free(moved);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_frozen_is_read_back),
        cmocka_unit_test(pools_and_instances_are_read_back),
        cmocka_unit_test(texts_and_pages_of_a_service_are_read_back),
        cmocka_unit_test(what_could_forge_a_head_or_a_limit_is_refused),
        cmocka_unit_test(cookies_and_pools_of_a_service_are_read_back),
        cmocka_unit_test(a_service_that_says_that_it_has_other_texts_or_cookies_is_refused),
        cmocka_unit_test(a_cookie_that_would_break_its_line_is_refused),
        cmocka_unit_test(only_trusted_networks_are_trusted),
        cmocka_unit_test(each_listener_has_its_own_proxies),
        cmocka_unit_test(each_service_has_its_own_allowed_networks),
        cmocka_unit_test(two_services_on_one_host_and_path_are_refused_by_name),
        cmocka_unit_test(one_service_may_say_the_same_twice),
        cmocka_unit_test(bad_hosts_and_paths_are_refused_by_name),
        cmocka_unit_test(impossible_pools_and_instances_are_refused_by_name),
        cmocka_unit_test(a_unix_sockets_path_is_absolute_and_as_long_as_it_says),
        cmocka_unit_test(an_impossible_weight_is_refused),
        cmocka_unit_test(a_cut_image_is_refused_at_every_length),
        cmocka_unit_test(an_image_with_any_byte_changed_is_refused_or_harmless),
        cmocka_unit_test(an_image_with_any_word_replaced_is_refused_or_harmless),
        cmocka_unit_test(a_hash_table_without_an_empty_slot_is_refused),
        cmocka_unit_test(a_host_with_a_key_of_a_length_that_is_not_looked_for_is_refused),
        cmocka_unit_test(prefix_lengths_out_of_order_are_refused),
        cmocka_unit_test(an_image_that_is_not_aligned_is_refused),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
