/* What a browser sends by itself, and what it is made to send. */
#include "control/admin_browser.h"

#include "unit.h"

#include "base/mem.h"
#include "control/dashboard.h"

#include <stdio.h>
#include <stdlib.h>

static struct http_request head;

static void parse(const char *text)
{
    static char kept[4096];
    static const struct http_limits limits = {.head = 4096, .fields = 20};
    struct http_fault fault;
    size_t seen = 0;
    snprintf(kept, sizeof kept, "%s\r\n", text);
    assert_int_equal(http_request_parse(&head, kept, strlen(kept), &seen, &limits, &fault), HTTP_DONE);
}

/* A request line and fields, each with its line end. */
static bool allows(bool tcp, const char *text)
{
    struct err err;
    parse(text);
    if (admin_browser_allows(&head, tcp, &err))
        return true;
    assert_true(strlen(err.text) > 20);
    return false;
}

#define POST "POST /v1/services/web/abort HTTP/1.1\r\n"
#define HERE "Host: 127.0.0.1:9080\r\n"
#define PAGE "GET / HTTP/1.1\r\n"

static void a_program_that_is_no_browser_is_let_through_whatever_its_host(void **state)
{
    (void)state;
    assert_true(allows(true, POST "Host: upswap\r\n"));
    assert_true(allows(false, POST "Host: upswap\r\n"));
    assert_true(allows(true, "GET /metrics HTTP/1.1\r\nHost: metrics.example.com\r\n"));
}

static void the_page_may_ask_its_own_address(void **state)
{
    (void)state;
    assert_true(allows(true, POST HERE "Origin: http://127.0.0.1:9080\r\nSec-Fetch-Site: same-origin\r\n"));
    assert_true(allows(true, POST HERE "Origin: http://127.0.0.1:9080\r\n"));
    assert_true(allows(true, POST "Host: LocalHost:9080\r\nOrigin: http://localhost:9080\r\n"));
    assert_true(allows(true, POST "Host: [::1]:9080\r\nOrigin: http://[::1]:9080\r\n"));
    assert_true(allows(true, "GET /v1/status HTTP/1.1\r\n" HERE "Sec-Fetch-Site: none\r\n"));
}

/* nginx sends the address that it passes to as Host; what the browser says of the site is still true. */
static void also_behind_a_proxy_that_has_another_name(void **state)
{
    (void)state;
    assert_true(allows(true, POST HERE "Origin: https://ops.example.com\r\nSec-Fetch-Site: same-origin\r\n"));
}

static void what_another_site_has_sent_is_refused(void **state)
{
    (void)state;
    static const char *const tries[] = {
        POST HERE "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
        POST HERE "Origin: http://127.0.0.1:8080\r\nSec-Fetch-Site: same-site\r\n",
        POST HERE "Sec-Fetch-Site: cross-site\r\n",
        POST HERE "Origin: http://evil.example\r\n",
        POST HERE "Origin: http://127.0.0.1:8080\r\n",
        POST HERE "Origin: http://127.0.0.1\r\n",
        POST HERE "Origin: null\r\n",
        POST HERE "Origin: \r\n",
        POST HERE "Origin: file://127.0.0.1:9080\r\n",
        "GET /v1/status HTTP/1.1\r\n" HERE "Sec-Fetch-Site: cross-site\r\n",
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        assert_false(allows(true, tries[i]));
        assert_false(allows(false, tries[i]));
    }
}

static void a_name_that_somebody_has_made_for_this_address_is_refused(void **state)
{
    (void)state;
    assert_false(allows(true, POST "Host: evil.example:9080\r\nOrigin: http://evil.example:9080\r\n"));
    assert_false(allows(true, PAGE "Host: evil.example:9080\r\n"));
    assert_false(allows(true, PAGE "Host: 127.0.0.1.evil.example\r\n"));
    assert_false(allows(true, PAGE "Host: localhost.evil.example\r\n"));
    assert_false(allows(true, "GET / HTTP/1.0\r\n"));
    assert_true(allows(true, PAGE HERE));
    assert_true(allows(true, PAGE "Host: [::1]:9080\r\n"));
    assert_true(allows(false, PAGE "Host: ops.example.com\r\n"));
}

static void a_link_from_elsewhere_leads_to_the_page(void **state)
{
    (void)state;
    assert_true(allows(true, PAGE HERE "Sec-Fetch-Site: cross-site\r\n"));
}

static bool wants_page(const char *text)
{
    parse(text);
    return admin_browser_wants_page(&head);
}

static void only_the_files_of_the_page_need_no_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < dashboard_file_count; i++) {
        char *text = mem_printf("GET %s HTTP/1.1\r\n" HERE, dashboard_files[i].path);
        assert_true(wants_page(text));
        assert_true(dashboard_files[i].content.n > 0);
        free(text);
    }
    assert_true(wants_page("HEAD / HTTP/1.1\r\n" HERE));
    assert_false(wants_page("POST / HTTP/1.1\r\n" HERE));
    assert_false(wants_page("GET / HTTP/1.1\r\n" HERE "Content-Length: 5\r\n"));
    assert_false(wants_page("GET /dashboard HTTP/1.1\r\n" HERE));
    assert_false(wants_page("GET /dashboard/../v1/status HTTP/1.1\r\n" HERE));
    assert_false(wants_page("GET /v1/status HTTP/1.1\r\n" HERE));
    assert_false(wants_page("GET /metrics HTTP/1.1\r\n" HERE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_is_no_browser_is_let_through_whatever_its_host),
        cmocka_unit_test(the_page_may_ask_its_own_address),
        cmocka_unit_test(also_behind_a_proxy_that_has_another_name),
        cmocka_unit_test(what_another_site_has_sent_is_refused),
        cmocka_unit_test(a_name_that_somebody_has_made_for_this_address_is_refused),
        cmocka_unit_test(a_link_from_elsewhere_leads_to_the_page),
        cmocka_unit_test(only_the_files_of_the_page_need_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
