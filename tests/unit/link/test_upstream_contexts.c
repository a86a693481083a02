#include "link/upstream_contexts.h"

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

static struct upstream_contexts *make(const struct part *parts, size_t count, struct err *err)
{
    struct buf image = BUF_EMPTY;
    buf_reserve(&image, 65536);
    for (size_t i = 0; i < count; i++)
        keyring_add(&image, parts[i].kind, parts[i].bytes);
    int fd = keyring_seal(&image, err);
    assert_true(fd >= 0);
    struct upstream_contexts *contexts = upstream_contexts_new(fd, err);
    close(fd);
    return contexts;
}

#define BYTES(thing) ((struct str){(const char *)&(thing), sizeof(thing)})

static const struct keyring_listener listener = {.id = 3};
static const struct keyring_upstream web = {.service = "web", .server_name = "app.internal", .h2 = 1};
static const struct keyring_upstream api = {.service = "api", .verify = 1};

/* A listener with its certificate and key, then two services: one shows a certificate, one believes one. */
enum { LISTENER, SITE, SITE_KEY, WEB, CERTIFICATE, KEY, API, AUTHORITIES, PARTS };
static void fill(struct part parts[PARTS])
{
    parts[LISTENER] = (struct part){KEYRING_LISTENER, BYTES(listener)};
    parts[SITE] = parts[CERTIFICATE] = (struct part){KEYRING_CERTIFICATE, str_of(site.certificate)};
    parts[SITE_KEY] = parts[KEY] = (struct part){KEYRING_KEY, str_of(site.key)};
    parts[WEB] = (struct part){KEYRING_UPSTREAM, BYTES(web)};
    parts[API] = (struct part){KEYRING_UPSTREAM, BYTES(api)};
    parts[AUTHORITIES] = (struct part){KEYRING_AUTHORITIES, str_of(site.certificate)};
}

static void refused(const struct part *parts, size_t count)
{
    struct err err = {.text = ""};
    assert_null(make(parts, count, &err));
    assert_true(err.text[0] != '\0');
}

static void each_service_has_its_own_and_listeners_are_passed_over(void **state)
{
    (void)state;
    struct part parts[PARTS];
    struct err err;
    fill(parts);
    struct upstream_contexts *contexts = make(parts, PARTS, &err);
    assert_non_null(contexts);
    const struct upstream_context *found = upstream_contexts_find(contexts, STR("web"));
    assert_true(found != NULL && found->h2 && !found->verify);
    assert_string_equal(found->server_name, "app.internal");
    found = upstream_contexts_find(contexts, STR("api"));
    assert_true(found != NULL && !found->h2 && found->verify);
    assert_null(upstream_contexts_find(contexts, STR("we")));
    assert_null(upstream_contexts_find(NULL, STR("web")));
    upstream_contexts_free(contexts);
    upstream_contexts_free(NULL);
}

static void a_record_that_is_not_a_services_is_refused_behind_one(void **state)
{
    (void)state;
    static const enum keyring_kind strange[] = {KEYRING_CLIENT_CA, KEYRING_OCSP, KEYRING_KEY};
    struct part parts[PARTS];
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        fill(parts);
        parts[CERTIFICATE].kind = strange[i];
        refused(parts, PARTS);
    }
    fill(parts);
    parts[KEY].kind = KEYRING_CERTIFICATE; /* a second one */
    refused(parts, PARTS);
    fill(parts);
    parts[SITE].kind = KEYRING_AUTHORITIES; /* of a listener */
    refused(parts, PARTS);
}

static void what_is_not_whole_is_refused(void **state)
{
    (void)state;
    struct keyring_upstream wrong = api;
    struct part parts[PARTS];
    fill(parts);
    refused(parts, KEY);         /* a certificate without its key */
    refused(parts, AUTHORITIES); /* nobody to believe */
    parts[API].bytes.n--;
    refused(parts, PARTS);
    parts[API].bytes = BYTES(wrong);
    wrong.minimum = TLS_MINIMUM_1_3 + 1;
    refused(parts, PARTS);
    wrong = api;
    memset(wrong.service, 'a', sizeof wrong.service);
    refused(parts, PARTS);
}

static void an_instance_is_asked_for_by_its_host(void **state)
{
    (void)state;
    static const struct {
        const char *instance, *name;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1"}, {"[::1]:443", "::1"},  {"app.test:1", "app.test"},
        {"unix:/run/app.sock", ""},    {"unix:/run/a:1", ""},
    };
    struct upstream_context context = {.server_name = "", .verify = true};
    struct str name;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(upstream_context_name(&context, str_of(rows[i].instance), &name),
                         rows[i].name[0] != '\0');
        assert_true(str_equal(name, str_of(rows[i].name)));
    }
    context.verify = false;
    assert_true(upstream_context_name(&context, STR("unix:/a"), &name));
    context = (struct upstream_context){.server_name = "other.test", .verify = true};
    assert_true(upstream_context_name(&context, STR("unix:/a"), &name) && str_equal(name, STR("other.test")));
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
        cmocka_unit_test(each_service_has_its_own_and_listeners_are_passed_over),
        cmocka_unit_test(a_record_that_is_not_a_services_is_refused_behind_one),
        cmocka_unit_test(what_is_not_whole_is_refused),
        cmocka_unit_test(an_instance_is_asked_for_by_its_host),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
