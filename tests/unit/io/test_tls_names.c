#include "io/tls_names.h"

#include "issue.h"
#include "unit.h"

#include <string.h>

#define MOST 4

static struct certificate *certificates[MOST];
static size_t count;
static struct tls_names names;

/* Adds a certificate for this subjectAltName; NULL: it has but its common name, "test". */
static void have(const char *alternatives, bool rsa)
{
    struct err err;
    struct issued issued = issue(alternatives, rsa);
    assert_true(count < MOST);
    certificates[count] = certificate_read(str_of(issued.certificate), str_of(issued.key), &err);
    assert_non_null(certificates[count]);
    count++;
    issued_free(&issued);
    tls_names_free(&names);
    tls_names_make(&names, certificates, count);
}

/* Who asks for this is shown, of each kind of key, the first certificate of these numbers; "": none. */
static void shows(const char *asked, const char *numbers)
{
    const struct tls_name *found = tls_names_find(&names, asked);
    char text[MOST + 1] = "";
    for (size_t i = 0; found != NULL && i < found->count; i++)
        text[i] = (char)('0' + found->certificates[i]);
    if (strcmp(text, numbers) != 0)
        fail_msg("\"%s\" is shown \"%s\", not \"%s\"", asked, text, numbers);
}

static void an_exact_name_is_found_in_any_case_and_with_the_last_dot(void **state)
{
    (void)state;
    have("DNS:Example.com, DNS:www.example.com", false);
    shows("example.com", "0");
    shows("EXAMPLE.COM", "0");
    shows("example.com.", "0");
    shows("www.example.com", "0");
    shows("example.com..", "");
    shows("xexample.com", "");
    shows("example.co", "");
    shows("", "");
    shows(".", "");
}

static void a_wildcard_stands_for_one_label_and_yields_to_an_exact_name(void **state)
{
    (void)state;
    have("DNS:*.example.com", false);
    have("DNS:exact.example.com", false);
    shows("a.example.com", "0");
    shows("A.Example.Com.", "0");
    shows("exact.example.com", "1");
    shows("example.com", "");
    shows("a.b.example.com", "");
    shows("a.exact.example.com", "");
    shows(".example.com", "");
    shows("*.example.com", "0"); /* what no resolver would ask for stands for itself */
}

static void a_star_elsewhere_is_a_letter_like_others(void **state)
{
    (void)state;
    have("DNS:w*.example.com, DNS:a.*.example.com, DNS:*", false);
    shows("www.example.com", "");
    shows("a.b.example.com", "");
    shows("com", "");
}

static void an_address_is_no_name(void **state)
{
    (void)state;
    have("IP:127.0.0.1, DNS:example.com", false);
    shows("127.0.0.1", ""); /* nor may a client ask for one (RFC 6066 section 3) */
    shows("example.com", "0");
}

static void the_common_name_counts_only_where_no_other_stands(void **state)
{
    (void)state;
    have("DNS:example.com", false);
    shows("test", "");
    have(NULL, false);
    shows("test", "1");
    shows("example.com", "0");
}

static void of_several_for_one_name_the_first_of_each_kind_of_key_is_taken(void **state)
{
    (void)state;
    have("DNS:example.com", false);
    have("DNS:example.com, DNS:other.example.com", false);
    have("DNS:*.example.com, DNS:example.com", true);
    shows("example.com", "02");
    shows("other.example.com", "1");
    shows("third.example.com", "2");
}

static void a_name_that_is_too_long_is_found_nowhere(void **state)
{
    (void)state;
    char asked[300];
    have("DNS:example.com", false);
    memset(asked, 'a', sizeof asked);
    asked[sizeof asked - 1] = '\0';
    shows(asked, "");
    memcpy(asked + sizeof asked - sizeof ".example.com", ".example.com", sizeof ".example.com");
    shows(asked, "");
}

static int tear_down(void **state)
{
    (void)state;
    tls_names_free(&names);
    names = (struct tls_names){NULL, 0};
    for (size_t i = 0; i < count; i++)
        certificate_free(certificates[i]);
    count = 0;
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_exact_name_is_found_in_any_case_and_with_the_last_dot),
        TEST(a_wildcard_stands_for_one_label_and_yields_to_an_exact_name),
        TEST(a_star_elsewhere_is_a_letter_like_others),
        TEST(an_address_is_no_name),
        TEST(the_common_name_counts_only_where_no_other_stands),
        TEST(of_several_for_one_name_the_first_of_each_kind_of_key_is_taken),
        TEST(a_name_that_is_too_long_is_found_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
