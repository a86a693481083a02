#include "plane/contexts.h"

#include "io/issue.h"
#include "link/keyring.h"
#include "unit.h"

#include <string.h>
#include <unistd.h>

static struct issued site;

struct part {
    enum keyring_kind kind;
    struct str bytes;
};

static struct contexts *make(const struct part *parts, size_t count, struct err *err)
{
    struct buf image = BUF_EMPTY;
    buf_reserve(&image, 65536);
    for (size_t i = 0; i < count; i++)
        keyring_add(&image, parts[i].kind, parts[i].bytes);
    int fd = keyring_seal(&image, err);
    assert_true(fd >= 0);
    struct contexts *contexts = contexts_new(fd, err);
    close(fd);
    return contexts;
}

#define BYTES(thing) ((struct str){(const char *)&(thing), sizeof(thing)})

static const struct keyring_listener third = {.id = 3};
static const struct tls_ticket_key key = {.name = "k"};

/* All that a listener needs: tickets, the config's digest, itself, its certificate and the key. */
enum { TICKETS, CONFIG, LISTENER, CERTIFICATE, KEY, PARTS };
static void fill(struct part parts[PARTS])
{
    parts[TICKETS] = (struct part){KEYRING_TICKETS, BYTES(key)};
    parts[CONFIG] = (struct part){KEYRING_CONFIG, STR("digest")};
    parts[LISTENER] = (struct part){KEYRING_LISTENER, BYTES(third)};
    parts[CERTIFICATE] = (struct part){KEYRING_CERTIFICATE, str_of(site.certificate)};
    parts[KEY] = (struct part){KEYRING_KEY, str_of(site.key)};
}

static void refused(const struct part *parts, size_t count)
{
    struct err err = {.text = ""};
    assert_null(make(parts, count, &err));
    assert_true(err.text[0] != '\0');
}

static void a_listener_has_its_context_and_others_have_none(void **state)
{
    (void)state;
    struct part parts[PARTS];
    struct err err;
    fill(parts);
    struct contexts *contexts = make(parts, PARTS, &err);
    assert_non_null(contexts);
    assert_non_null(contexts_listener(contexts, 3));
    assert_null(contexts_listener(contexts, 0));
    assert_null(contexts_listener(contexts, UINT32_MAX));
    assert_null(contexts_listener(NULL, 3));
    assert_ptr_equal(contexts_ref(contexts), contexts);
    contexts_free(contexts);
    assert_non_null(contexts_listener(contexts, 3));
    contexts_free(contexts);
    contexts_free(NULL);
}

static void a_keyring_that_is_cut_gives_no_context(void **state)
{
    (void)state;
    struct part parts[PARTS];
    struct err err;
    fill(parts);
    for (size_t count = 0; count <= LISTENER; count++) {
        struct contexts *contexts = make(parts, count, &err);
        assert_non_null(contexts);
        assert_null(contexts_listener(contexts, 3));
        contexts_free(contexts);
    }
    refused(parts, LISTENER + 1);
    refused(parts, CERTIFICATE + 1);
}

static void a_record_of_another_kind_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t at = LISTENER; at < PARTS; at++) {
        for (int kind = 1; kind < KEYRING_KINDS; kind++) {
            struct part parts[PARTS];
            fill(parts);
            if ((int)parts[at].kind == kind)
                continue;
            parts[at].kind = (enum keyring_kind)kind;
            refused(parts, PARTS);
        }
    }
}

static void records_in_another_order_are_refused(void **state)
{
    (void)state;
    for (size_t at = LISTENER; at + 1 < PARTS; at++) {
        struct part parts[PARTS];
        fill(parts);
        struct part moved = parts[at];
        parts[at] = parts[at + 1];
        parts[at + 1] = moved;
        refused(parts, PARTS);
    }
}

static void a_listener_of_another_size_or_with_impossible_numbers_is_refused(void **state)
{
    (void)state;
    char room[sizeof third + 8] = "";
    const struct keyring_listener impossible[] = {{.id = SNAPSHOT_LISTENERS_MAX},
                                                  {.id = UINT32_MAX},
                                                  {.id = 3, .minimum = TLS_MINIMUM_1_3 + 1},
                                                  {.id = 3, .verify = TLS_VERIFY_REQUIRED + 1},
                                                  {.id = 3, .protocols = TLS_PROTOCOLS},
                                                  {.id = 3, .verify = TLS_VERIFY_REQUIRED}}; /* by nobody */
    struct part parts[PARTS];
    fill(parts);
    for (size_t n = 0; n <= sizeof room; n++) {
        parts[LISTENER].bytes = (struct str){room, n};
        if (n != sizeof third)
            refused(parts, PARTS);
    }
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        parts[LISTENER].bytes = BYTES(impossible[i]);
        refused(parts, PARTS);
    }
}

static void a_listener_that_comes_twice_is_refused(void **state)
{
    (void)state;
    struct part parts[2 * PARTS];
    fill(parts);
    fill(parts + PARTS);
    refused(parts, 2 * PARTS);
}

static int set_up(void **state)
{
    (void)state;
    site = issue("DNS:example.com", false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    issued_free(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_has_its_context_and_others_have_none),
        cmocka_unit_test(a_keyring_that_is_cut_gives_no_context),
        cmocka_unit_test(a_record_of_another_kind_is_refused_wherever_it_stands),
        cmocka_unit_test(records_in_another_order_are_refused),
        cmocka_unit_test(a_listener_of_another_size_or_with_impossible_numbers_is_refused),
        cmocka_unit_test(a_listener_that_comes_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
