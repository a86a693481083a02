/* Error pages that cannot be used are refused with their line; the others are read once each. */
#include "config/pages.h"

#include "unit.h"

#include "read.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BEGIN "listeners = ( { address = \"127.0.0.1:0\"; } );\nservices = (\n"
#define PAGES(path) "error_pages = ( { status = [ 502 ];\nhtml = \"" path "\"; } ); "

static char folder[] = "/tmp/test_pages.XXXXXX";
static char text[2000];

static int enter_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int leave_folder(void **state)
{
    (void)state;
    return chdir("/") != 0 || rmdir(folder) != 0;
}

static void write_page(const char *name, const char *piece, size_t times)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    for (size_t i = 0; i < times; i++)
        assert_true(fputs(piece, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A service with page.html on line 5. */
static const char *with_page(void)
{
    snprintf(text, sizeof text, BEGIN "{ name = \"web\";\n" PAGES("%s/page.html") "} );", folder);
    return text;
}

/* What is said of the page; NULL: it is accepted. */
static void assert_check(const char *fault)
{
    struct err err = {""};
    char want[500];
    snprintf(want, sizeof want, "t.conf:5: the page \"%s/page.html\" %s", folder, fault != NULL ? fault : "");
    struct config *config = must_read(with_page());
    bool fine = config_check(config, NULL, &err);
    config_free(config);
    if (fine != (fault == NULL) || (!fine && strcmp(err.text, want) != 0))
        fail_msg("want: %s\ngot:  %s", want, fine ? "(accepted)" : err.text);
}

static void a_file_that_is_not_there_is_refused(void **state)
{
    (void)state;
    assert_check("cannot be read: No such file or directory");
}

static void what_is_no_file_is_refused_without_waiting_for_it(void **state)
{
    (void)state;
    assert_int_equal(mkdir("page.html", 0755), 0);
    assert_check("is no file; name one");
    assert_int_equal(rmdir("page.html"), 0);
    assert_int_equal(mkfifo("page.html", 0644), 0);
    assert_check("is no file; name one");
    assert_int_equal(unlink("page.html"), 0);
}

static void an_empty_page_is_refused(void **state)
{
    (void)state;
    write_page("page.html", "", 0);
    assert_check("is empty; write it, or remove the key");
    assert_int_equal(unlink("page.html"), 0);
}

static void a_page_has_a_largest_size(void **state)
{
    (void)state;
    write_page("page.html", "x", PAGE_MAX_BYTES);
    assert_check(NULL);
    write_page("page.html", "x", PAGE_MAX_BYTES + 1);
    assert_check("has more than 65536 bytes; shorten it");
    assert_int_equal(unlink("page.html"), 0);
}

static void a_page_has_so_many_places_to_fill(void **state)
{
    (void)state;
    write_page("page.html", "%{status}", PAGE_MARKS_MAX);
    assert_check(NULL);
    write_page("page.html", "%{", PAGE_MARKS_MAX + 1);
    assert_check("has more than 64 places with %{");
    assert_int_equal(unlink("page.html"), 0);
}

static void a_file_that_several_name_is_read_once(void **state)
{
    (void)state;
    struct err err;
    write_page("page.html", "sorry", 1);
    write_page("other.html", "other", 1);
    snprintf(text, sizeof text,
             BEGIN "{ name = \"a\"; hosts = [ \"a\" ]; " PAGES(
                 "%s/page.html") "},\n"
                                 "{ name = \"b\"; hosts = [ \"b\" ]; " PAGES(
                                     "%s/page.html") "},\n"
                                                     "{ name = \"c\"; hosts = [ \"c\" ]; " PAGES(
                                                         "%s/other.html") "} );",
             folder, folder, folder);
    struct config *config = must_read(text);
    assert_true(config_check(config, NULL, &err));
    assert_int_equal(config->file_count, 2);
    const struct config_file *file = config_file(config, config->services[1].pages[0].html);
    assert_non_null(file);
    assert_int_equal(file->size, 5);
    assert_memory_equal(file->bytes, "sorry", 5);
    config_free(config);
    assert_int_equal(unlink("page.html") | unlink("other.html"), 0);
}

static const char *with_keys(const char *keys)
{
    snprintf(text, sizeof text, BEGIN "{ name = \"web\"; error_pages = (\n{ %s } ); } );", keys);
    return text;
}

static void statuses_and_paths_have_their_rules(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"status = [ 502 ]; html = \"sorry.html\";",
         "t.conf:4: html: \"sorry.html\" is not an absolute path; begin it with /"},
        {"status = [ 200 ]; html = \"/p\";",
         "t.conf:4: status: 200 is no status that upswap answers with; write one from 400 to 599"},
        {"status = [ 502,\n600 ]; html = \"/p\";",
         "t.conf:5: status: 600 is no status that upswap answers with; write one from 400 to 599"},
        {"status = [ ]; html = \"/p\";", "t.conf:4: status: there are 0 items; write from 1 to 200"},
        {"html = \"/p\";", "t.conf:4: an error page needs \"status\""},
        {"status = [ 502 ]; htm = \"/p\";",
         "t.conf:4: \"htm\" is not a key of an error page; did you mean \"html\"?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {""};
        assert_null(read_text(with_keys(rows[i][0]), &err));
        assert_string_equal(err.text, rows[i][1]);
    }
}

static void a_page_without_a_file_is_refused(void **state)
{
    (void)state;
    struct err err = {""};
    struct config *config = must_read(with_keys("status = [ 502 ];"));
    assert_false(config_check(config, NULL, &err));
    assert_string_equal(err.text, "t.conf:4: an error page needs \"html\" or \"json\", the file to send");
    config_free(config);
}

static void a_status_has_one_page(void **state)
{
    (void)state;
    struct err err = {""};
    assert_null(read_text(
        with_keys("status = [ 502, 503 ]; html = \"/a\"; },\n{ html = \"/b\"; status = [ 404,\n503 ];"),
        &err));
    assert_string_equal(err.text,
                        "t.conf:6: the error page of status \"503\" is already taken on line 4; keep "
                        "one of the two");
    assert_null(
        read_text("defaults = { error_pages = ( { status = [ 502,\n502 ]; html = \"/a\"; } ); };\n" BEGIN
                  "{ name = \"web\"; } );",
                  &err));
    assert_string_equal(err.text,
                        "t.conf:2: the error page of status \"502\" is already taken on line 1; keep "
                        "one of the two");
}

static void services_do_not_share_their_pages(void **state)
{
    (void)state;
    config_free(must_read(BEGIN "{ name = \"a\"; hosts = [ \"a\" ]; " PAGES(
        "/p") "},\n"
              "{ name = \"b\"; hosts = [ \"b\" ]; " PAGES("/p") "} );"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_not_there_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused_without_waiting_for_it),
        cmocka_unit_test(an_empty_page_is_refused),
        cmocka_unit_test(a_page_has_a_largest_size),
        cmocka_unit_test(a_page_has_so_many_places_to_fill),
        cmocka_unit_test(a_file_that_several_name_is_read_once),
        cmocka_unit_test(statuses_and_paths_have_their_rules),
        cmocka_unit_test(a_status_has_one_page),
        cmocka_unit_test(services_do_not_share_their_pages),
        cmocka_unit_test(a_page_without_a_file_is_refused),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
