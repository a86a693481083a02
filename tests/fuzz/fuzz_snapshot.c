/* A hostile image is refused or harmless: whatever snapshot_open accepts can be matched, and everything that
 * can be read of it lies inside it and within the bounds that readers count on. The input changes a good
 * image, step by step, and also one that amends another; with a first byte of 0xff it is an image itself. */
#include "fuzz.h"

#include "route/image.h"

#include <stdlib.h>

/* ---- a good image ---- */

/* NULL: whole; else, amending service 1 of one. */
static void *freeze(const struct snapshot *ground, size_t *size)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = 0x411f};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/run/a"};
    const struct snapshot_instance_spec instances[] = {
        {"10.0.0.1:8001", (struct sockaddr *)&ip4, sizeof ip4, 7, 70, false, false, 3, 5},
        {"unix:/run/a", (struct sockaddr *)&path, offsetof(struct sockaddr_un, sun_path) + 7, 8, 80, true,
         false, 1, 0}};
    const struct snapshot_pool_spec pools[] = {{.deployment = "web-16",
                                                .release = "",
                                                .number = 16,
                                                .slot = 3,
                                                .instances = instances,
                                                .instance_count = 2},
                                               {.deployment = "web-17",
                                                .release = "v2",
                                                .number = 17,
                                                .slot = 4,
                                                .candidate = true,
                                                .canary_share = 10000,
                                                .instances = instances,
                                                .instance_count = 1}};
    static const char *const hosts[] = {"a.example", "*.a.example"}, *const paths[] = {"/", "/api", "/api/x"};
    const struct address_prefix network = {.bytes = {10}, .bits = 104};
    const struct snapshot_page_spec pages[] = {{502, false, STR("sorry")}, {503, true, STR("{}")}};
    const struct snapshot_service_spec services[] = {
        {.name = "web",
         .hosts = hosts,
         .host_count = 2,
         .paths = paths,
         .path_count = 3,
         .pages = pages,
         .page_count = 2,
         .texts = {[SNAPSHOT_REQUEST_HEADERS] = "-X-A\n"},
         .hash_name = "X-User",
         .affinity_cookie = "upswap",
         .pin_cookie = "pin",
         .allowed = &network,
         .allowed_count = 1,
         .pool_count = 2,
         .live = 0},
        {.name = "rest", .paths = paths, .path_count = 1, .live = SNAPSHOT_NONE}};
    const struct snapshot_listener_spec listeners[] = {
        {.id = 5, .address = "0.0.0.0:80", .proxies = &network, .proxy_count = 1}};
    const struct snapshot_spec spec = {.version = 12,
                                       .ground_version = ground == NULL ? 0 : snapshot_version(ground),
                                       .ground_services = 2,
                                       .amended = (const uint32_t[]){1},
                                       .trusted = &network,
                                       .trusted_count = 1,
                                       .listeners = listeners,
                                       .listener_count = 1,
                                       .services = services,
                                       .service_count = ground == NULL ? 2 : 1,
                                       .pools = pools,
                                       .pool_count = 2};
    struct err err;
    void *image = snapshot_freeze(&spec, size, &err);
    fuzz_check(image != NULL);
    return image;
}

/* ---- how it is changed ---- */

struct image {
    char *bytes;
    size_t size;
};

static uint32_t number(struct fuzz_reader *reader)
{
    uint32_t value = fuzz_byte(reader);
    return value | (uint32_t)fuzz_byte(reader) << 8;
}

/* Numbers that matter: small ones, ends, and whatever. */
static uint32_t pick(struct fuzz_reader *reader)
{
    uint32_t value = number(reader);
    switch (fuzz_byte(reader) % 4) {
    case 0:
        return UINT32_MAX - value;
    case 1:
        return value << 16 | value;
    default:
        return value;
    }
}

static void put_word(struct image *image, struct fuzz_reader *reader)
{
    size_t at = number(reader) * 4 % image->size;
    uint32_t value = pick(reader);
    if (image->size - at >= sizeof value)
        memcpy(image->bytes + at, &value, sizeof value);
}

static void put_byte(struct image *image, struct fuzz_reader *reader)
{
    size_t at = number(reader) % image->size;
    image->bytes[at] = (char)fuzz_byte(reader);
}

/* Another count of records in a part, with all behind it moved to where it then must be. */
static void resize_part(struct image *image, struct fuzz_reader *reader)
{
    struct snapshot *head = (struct snapshot *)image->bytes;
    struct image_span was[IMAGE_PARTS], is[IMAGE_PARTS];
    memcpy(was, head->parts, sizeof was);
    uint64_t end = image_place(was);
    if (end != image->size)
        return;
    memcpy(is, was, sizeof is);
    is[fuzz_byte(reader) % IMAGE_PARTS].count = number(reader) % 64;
    size_t size = image_place(is);
    char *moved = calloc(1, size);
    memcpy(moved, image->bytes, sizeof *head);
    for (unsigned i = 0; i < IMAGE_PARTS; i++) {
        size_t old = (i + 1 < IMAGE_PARTS ? was[i + 1].at : image->size) - was[i].at;
        size_t new = (i + 1 < IMAGE_PARTS ? is[i + 1].at : size) - is[i].at;
        memcpy(moved + is[i].at, image->bytes + was[i].at, old < new ? old : new);
    }
    free(image->bytes);
    *image = (struct image){moved, size};
    head = (struct snapshot *)moved;
    head->size = size;
    memcpy(head->parts, is, sizeof is);
}

static struct image change(struct image image, struct fuzz_reader *reader)
{
    while (reader->left > 0) {
        switch (fuzz_byte(reader) % 3) {
        case 0:
            put_word(&image, reader);
            break;
        case 1:
            put_byte(&image, reader);
            break;
        default:
            resize_part(&image, reader);
        }
    }
    return image;
}

/* ---- what is read of it ---- */

static volatile uint64_t sink; /* so that nothing that is read is left out */
static struct str whole;       /* the image */
static struct str amended;     /* the one that it amends; empty: none */

static void touch(struct str text)
{
    fuzz_check(fuzz_lies_in(text, whole.p, whole.n) ||
               (amended.n > 0 && fuzz_lies_in(text, amended.p, amended.n)));
    for (size_t i = 0; i < text.n; i++)
        sink += (uint8_t)text.p[i];
}

static void read_pool(const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
    const struct snapshot_seat *seats = snapshot_pool_seats(snapshot, pool);
    bool even = true;
    touch(snapshot_pool_deployment(snapshot, pool));
    touch(snapshot_pool_release(snapshot, pool));
    fuzz_check(snapshot_pool_slot(pool) < SNAPSHOT_POOL_SLOTS);
    sink += snapshot_pool_number(pool) + snapshot_pool_since_ms(pool) + snapshot_pool_drain(pool)->spread_ms;
    for (size_t i = 0; i < snapshot_pool_size(pool); i++) {
        struct snapshot_instance instance = snapshot_pool_instance(snapshot, pool, i);
        touch(instance.name);
        touch((struct str){(const char *)instance.address, instance.address_length});
        fuzz_check(instance.address_length >= sizeof(sa_family_t));
        fuzz_check(instance.slot < SNAPSHOT_INSTANCE_SLOTS);
        fuzz_check(instance.weight >= 1 && instance.weight <= SNAPSHOT_WEIGHT_MAX);
        fuzz_check(seats[i].weight == instance.weight);
        even &= instance.weight == seats[0].weight;
        sink += seats[i].seed + instance.id + instance.drained + instance.down;
    }
    fuzz_check(snapshot_pool_is_even(pool) == even);
}

static void read_rules(const struct snapshot_rules *rules)
{
    fuzz_check(rules->balance <= SNAPSHOT_HASH_COOKIE && rules->mode < SNAPSHOT_MODES);
    fuzz_check(rules->proxy_protocol <= 2 && rules->h2 <= 1 && rules->tls <= 1 && rules->strip_path <= 1);
    fuzz_check(rules->pause.slot < SNAPSHOT_PAUSE_SLOTS && rules->shadow_share <= SNAPSHOT_WHOLE);
    fuzz_check(rules->rate.per_second <= SNAPSHOT_RATE_MAX);
}

static void read_texts(const struct snapshot *snapshot, const struct snapshot_service *service)
{
    for (unsigned i = 0; i < SNAPSHOT_TEXTS; i++) {
        struct str text = snapshot_service_text(snapshot, service, (enum snapshot_text)i);
        for (size_t k = 0; k < text.n; k++)
            fuzz_check((uint8_t)text.p[k] >= ' ' || text.p[k] == '\n' || text.p[k] == '\t');
    }
    for (unsigned i = 0; i <= SNAPSHOT_COOKIES; i++) {
        struct str text = i < SNAPSHOT_COOKIES
                              ? snapshot_service_cookie(snapshot, service, (enum snapshot_cookie)i)
                              : snapshot_service_cookie_path(snapshot, service);
        for (size_t k = 0; k < text.n; k++)
            fuzz_check(text.p[k] > ' ' && text.p[k] < 0x7f && text.p[k] != ';');
    }
    touch(snapshot_service_name(snapshot, service));
    touch(snapshot_service_hash_name(snapshot, service));
    for (unsigned status = 500; status < 505; status++) {
        touch(snapshot_service_page(snapshot, service, status, false));
        touch(snapshot_service_page(snapshot, service, status, true));
    }
}

static void read_service(const struct snapshot *snapshot, const struct snapshot_service *service,
                         const uint8_t address[16])
{
    const struct snapshot_pool *live = snapshot_service_live(snapshot, service);
    const struct snapshot_pool *candidate = snapshot_service_candidate(snapshot, service);
    uint32_t share = snapshot_service_canary_share(service);
    read_texts(snapshot, service);
    read_rules(snapshot_service_rules(service));
    fuzz_check(share == 0 || (share <= SNAPSHOT_WHOLE && live != NULL && candidate != NULL));
    if (live != NULL)
        read_pool(snapshot, live);
    if (candidate != NULL)
        read_pool(snapshot, candidate);
    const struct snapshot_pool *found = snapshot_service_pool(snapshot, service, 16);
    fuzz_check(found == NULL || snapshot_pool_number(found) == 16);
    sink += snapshot_service_allows(snapshot, service, address);
}

static void check_match(const struct snapshot *snapshot, struct str host, struct str path)
{
    uint32_t prefix = 0;
    const struct snapshot_service *service = snapshot_match(snapshot, host, path, &prefix);
    if (service == NULL)
        return;
    fuzz_check(snapshot_service_index(snapshot, service) < snapshot_service_count(snapshot));
    fuzz_check(prefix <= path.n && (prefix == path.n || path.p[prefix] == '/'));
}

static void match_all(const struct snapshot *snapshot)
{
    const struct snapshot *ground = image_ground(snapshot);
    const struct image_host *hosts = image_part(ground, IMAGE_HOSTS);
    const struct image_prefix *prefixes = image_part(ground, IMAGE_PREFIXES);
    static const char *const paths[] = {"/", "/api", "/api/x/y", "/apix"};
    for (uint32_t i = 0; i <= ground->parts[IMAGE_HOSTS].count; i++) {
        struct str host =
            i == ground->parts[IMAGE_HOSTS].count ? STR("b.A.example.") : image_str(ground, hosts[i].key);
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
            check_match(snapshot, host, str_of(paths[k]));
        for (uint32_t k = 0; k < ground->parts[IMAGE_PREFIXES].count; k++)
            check_match(snapshot, host, image_str(ground, prefixes[k].path));
    }
}

static void read_all(const struct snapshot *snapshot)
{
    static const uint8_t address[16] = {10, 1};
    sink += snapshot_version(snapshot) + snapshot_settings(snapshot)->head_max +
            snapshot_trusts(snapshot, address);
    fuzz_check(snapshot_settings(snapshot)->access_log <= SNAPSHOT_LOG_COMBINED);
    fuzz_check(snapshot_listener_count(snapshot) <= SNAPSHOT_LISTENERS_MAX);
    for (size_t i = 0; i < snapshot_listener_count(snapshot); i++) {
        uint32_t id = snapshot_listener_id(snapshot, i);
        fuzz_check(id < SNAPSHOT_LISTENERS_MAX && snapshot_door(snapshot, id) != NULL);
        sink += snapshot_door(snapshot, id)->tls + snapshot_expects_proxy(snapshot, id, address);
    }
    for (size_t i = 0; i < snapshot_pool_count(snapshot); i++)
        read_pool(snapshot, snapshot_pool_at(snapshot, i));
    for (size_t i = 0; i < snapshot_service_count(snapshot); i++)
        read_service(snapshot, snapshot_service_at(snapshot, i), address);
    match_all(snapshot);
}

static void read_or_refused(const struct snapshot *snapshot, const struct err *err)
{
    if (snapshot == NULL) {
        fuzz_check(err->text[0] != '\0');
        return;
    }
    read_all(snapshot);
    for (uint32_t slot = 0; slot < 5; slot++)
        sink += snapshot_pool_of_slot(snapshot, slot) != NULL;
}

static struct image changed(const struct snapshot *ground, struct fuzz_reader reader)
{
    struct image image;
    image.bytes = freeze(ground, &image.size);
    return change(image, &reader);
}

static void try_whole(struct image image)
{
    struct err err = {.text = ""};
    whole = (struct str){image.bytes, image.size};
    amended = (struct str){NULL, 0};
    read_or_refused(snapshot_open(image.bytes, image.size, &err), &err);
    free(image.bytes);
}

static void try_amendment(struct fuzz_reader reader)
{
    struct err err = {.text = ""};
    size_t size;
    void *bytes = freeze(NULL, &size);
    const struct snapshot *ground = snapshot_open(bytes, size, &err);
    fuzz_check(ground != NULL);
    struct image image = changed(ground, reader);
    whole = (struct str){image.bytes, image.size};
    amended = (struct str){bytes, size};
    read_or_refused(snapshot_amend(image.bytes, image.size, ground, &err), &err);
    free(image.bytes);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct fuzz_reader reader = {bytes, count};
    if (count > 0 && bytes[0] == 0xff) {
        try_whole((struct image){fuzz_copy(bytes + 1, count - 1), count - 1});
        return 0;
    }
    try_whole(changed(NULL, reader));
    try_amendment(reader);
    return 0;
}
