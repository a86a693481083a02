#include "config/config.h"

#include "unit.h"

#include "read.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN "listeners = ( { address = \"127.0.0.1:0\"; } );\n"
#define SERVICE(keys) LISTEN "services = ( { name = \"web\";\n" keys " } );"

static void assert_fault(const char *text, const char *sentence)
{
    struct err err = {""};
    struct config *config = must_read(text);
    bool fine = config_check(config, NULL, &err) && config_check_instances(config, &err);
    config_free(config);
    if (fine != (sentence == NULL) || (sentence != NULL && strcmp(err.text, sentence) != 0))
        fail_msg("read: %s\nwant: %s\ngot:  %s", text, sentence, err.text);
}

static void what_the_machine_has_is_accepted(void **state)
{
    (void)state;
    assert_fault(SERVICE("uptests = { user = \"root\"; runner = [ \"sh\", \"-c\" ]; };\n"
                         "teardown = { command = [ \"/bin/sh\", \"x\" ]; };") " user = \"root\";",
                 NULL);
    assert_fault(SERVICE("uptests = { runner = [ \"/srv/%{release}/run\" ]; };"), NULL);
}

static void users_and_groups_that_are_not_there_are_named(void **state)
{
    (void)state;
    assert_fault(LISTEN "user = \"no-such\";",
                 "t.conf:2: there is no user \"no-such\" on this machine; add it, or name another");
    assert_fault(LISTEN "admin = {\n group = \"no-such\"; };",
                 "t.conf:3: there is no group \"no-such\" on this machine; add it, or name another");
    assert_fault(SERVICE("uptests = {\n user = \"no-such\"; };"),
                 "t.conf:4: there is no user \"no-such\" on this machine; add it, or name another");
    assert_fault(SERVICE("launch = {\n user = \"no-such\"; };"),
                 "t.conf:4: there is no user \"no-such\" on this machine; add it, or name another");
}

static void the_default_that_is_at_fault_is_named_by_its_own_line(void **state)
{
    (void)state;
    assert_fault(
        "\ndefaults = { uptests = { user = \"no-such\"; }; };\n" SERVICE("uptests = { parallel = 1; };"),
        "t.conf:2: there is no user \"no-such\" on this machine; add it, or name another");
}

static void programs_that_are_not_there_are_named(void **state)
{
    (void)state;
    assert_fault(SERVICE("uptests = {\n runner = [ \"/no/such\" ]; };"),
                 "t.conf:4: the program \"/no/such\" is not there or not executable");
    assert_fault(
        SERVICE("uptests = { runner = [ \"no-such-program\" ]; };"),
        "t.conf:3: the program \"no-such-program\" is not there or not executable; write its whole path, "
        "or put it in PATH");
    assert_fault(SERVICE("teardown = { command = [ \"/etc/passwd\" ]; };"),
                 "t.conf:3: the program \"/etc/passwd\" is not there or not executable");
    assert_fault(SERVICE("launch = {\n command = [ \"/no/such\" ]; };"),
                 "t.conf:4: the program \"/no/such\" is not there or not executable");
    assert_fault(SERVICE("launch = { command = [ \"/srv/%{release}/start\" ]; };"), NULL);
    assert_fault(SERVICE("teardown = { command = [ \"/bin\" ]; };"),
                 "t.conf:3: the program \"/bin\" is not there or not executable");
}

static void check_admin(const char *listen, const char *token_file, const char *sentence)
{
    char text[512];
    snprintf(text, sizeof text, LISTEN "admin = { listen = \"%s\";\n token_file = \"%s\"; };", listen,
             token_file);
    assert_fault(text, sentence);
}

static void the_admin_api_listens_on_loopback_only(void **state)
{
    (void)state;
    check_admin("127.1.2.3:0", "/etc/passwd", NULL);
    check_admin("[::1]:0", "/etc/passwd", NULL);
    check_admin("0.0.0.0:9080", "/etc/passwd",
                "t.conf:2: \"0.0.0.0:9080\" is not a loopback address; write 127.0.0.1 or [::1]");
    check_admin("[::]:9080", "/etc/passwd",
                "t.conf:2: \"[::]:9080\" is not a loopback address; write 127.0.0.1 or [::1]");
}

static void put(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void what_the_start_refuses_as_a_token_is_refused(void **state)
{
    (void)state;
    static char long_line[300], large[4097];
    memset(long_line, 'x', sizeof long_line);
    memset(large, 'x', sizeof large);
    long_line[290] = ' ';
    large[10] = '\n';
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {{"", 0},       {" \n", 2},        {"a b\n", 4},
                {"a\0b\n", 4}, {"\xc3\xa9\n", 3}, {long_line, sizeof long_line}};
    char path[] = "/tmp/upswap-token-XXXXXX", sentence[256];
    close(mkstemp(path));
    snprintf(sentence, sizeof sentence,
             "t.conf:3: admin.token_file: the first line of %s is no token; write one there, a long random "
             "word in ASCII",
             path);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put(path, rows[i].bytes, rows[i].n);
        check_admin("127.0.0.1:0", path, sentence);
    }
    put(path, large, sizeof large);
    snprintf(sentence, sizeof sentence, "t.conf:3: admin.token_file: %s is larger than 4096 bytes", path);
    check_admin("127.0.0.1:0", path, sentence);
    put(path, " x\r\nmore words\n", 15);
    check_admin("127.0.0.1:0", path, NULL);
    unlink(path);
    snprintf(sentence, sizeof sentence,
             "t.conf:3: admin.token_file: cannot open %s: No such file or directory", path);
    check_admin("127.0.0.1:0", path, sentence);
}

static char place[64];

/* What a config with that state_directory is refused with for this log, behind the path; "": it is not. */
static void assert_place(const char *log, const char *sentence)
{
    char text[512], whole[256] = "";
    struct err err = {""};
    snprintf(text, sizeof text, LISTEN "state_directory = \"%s/state\";\naccess_log = { path = \"%s/%s\"; };",
             place, place, log);
    if (sentence[0] != '\0')
        snprintf(whole, sizeof whole, "t.conf:3: access_log.path: \"%s/%s\" %s", place, log, sentence);
    struct config *config = must_read(text);
    bool fine = config_check(config, NULL, &err);
    config_free(config);
    assert_string_equal(fine ? "" : err.text, whole);
}

static void an_access_log_that_would_be_written_into_the_journal_is_refused(void **state)
{
    (void)state;
    static const char own[] = "is a file of upswap's own in state_directory, and lines would be written into "
                              "it; name another";
    static const char *const made[] = {"state/journal", "state", "link", "way"};
    char paths[sizeof made / sizeof *made][96];
    strcpy(place, "/tmp/upswap-place-XXXXXX");
    assert_non_null(mkdtemp(place));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s", place, made[i]);
    assert_int_equal(mkdir(paths[1], 0700), 0);
    put(paths[0], "x", 1);
    assert_int_equal(symlink(paths[0], paths[2]) | symlink(paths[1], paths[3]), 0);
    assert_place("state/journal", own);
    assert_place("state/events.jsonl", own);
    assert_place("state/deployments/web-1", own);
    assert_place("link", own);
    assert_place("way/secrets", own);
    assert_place("state/access.log", "");
    assert_place("state-2/journal", "");
    for (size_t i = sizeof made / sizeof *made; i > 0; i--)
        remove(paths[i - 1]);
    remove(paths[1]);
    rmdir(place);
}

/* Instead of io/certificate_files.h, which this room does not know. */
static bool believes_one(const char *certificate, const char *key, const char *ocsp, bool by_name,
                         const char *authorities, struct err *err)
{
    (void)key;
    (void)by_name;
    (void)ocsp;
    assert_null(certificate);
    return strcmp(authorities, "/etc/ssl/mine.pem") == 0 || err_set(err, "%s: no authorities", authorities);
}

static void authorities_of_instances_are_looked_at_as_those_of_clients(void **state)
{
    (void)state;
    struct err err = {""};
    struct config *config = must_read(SERVICE("tls = { ca_file = \"/etc/ssl/mine.pem\"; };"));
    assert_true(config_check(config, believes_one, &err));
    config_free(config);
    config = must_read(SERVICE("tls = {\n ca_file = \"/etc/passwd\"; };"));
    assert_false(config_check(config, believes_one, &err));
    assert_string_equal(err.text, "t.conf:4: /etc/passwd: no authorities");
    config_free(config);
}

static void a_token_file_that_is_a_fifo_is_refused_and_not_waited_for(void **state)
{
    (void)state;
    char folder[] = "/tmp/upswap-token-XXXXXX", path[64], sentence[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    assert_return_code(mkfifo(path, 0600), errno);
    snprintf(sentence, sizeof sentence,
             "t.conf:3: admin.token_file: cannot read %s: it is not a regular file", path);
    alarm(10); /* what waits, is ended */
    check_admin("127.0.0.1:0", path, sentence);
    alarm(0);
    unlink(path);
    rmdir(folder);
}

static void an_instance_that_is_the_daemon_itself_is_refused(void **state)
{
    (void)state;
#define LISTENING(address) \
    "admin = { socket = \"/run/a.sock\"; };\nlisteners = ( { address = \"" address "\"; } );\n"
#define INSTANCE(text) "services = ( { name = \"web\"; instances = [\n\"127.0.0.1:1\", \"" text "\" ]; } );"
#define ITSELF(text, address)                                                                      \
    "t.conf:4: service \"web\": instance \"" text "\" is upswap itself, which listens on " address \
    "; name the address where the app listens"
    assert_fault(LISTENING("127.0.0.1:80") INSTANCE("127.0.0.1:80"), ITSELF("127.0.0.1:80", "127.0.0.1:80"));
    assert_fault(LISTENING("0.0.0.0:80") INSTANCE("127.0.0.7:80"), ITSELF("127.0.0.7:80", "0.0.0.0:80"));
    assert_fault(LISTENING("[::]:80") INSTANCE("[::1]:80"), ITSELF("[::1]:80", "[::]:80"));
    assert_fault(LISTENING("127.0.0.1:80") INSTANCE("unix:/run/a.sock"),
                 ITSELF("unix:/run/a.sock", "/run/a.sock"));
    assert_fault(LISTENING("127.0.0.1:80") INSTANCE("127.0.0.2:80"), NULL);
    assert_fault(LISTENING("127.0.0.1:0") INSTANCE("127.0.0.1:80"), NULL);
    assert_fault(LISTENING("0.0.0.0:80") INSTANCE("192.0.2.7:80"), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_machine_has_is_accepted),
        cmocka_unit_test(users_and_groups_that_are_not_there_are_named),
        cmocka_unit_test(the_default_that_is_at_fault_is_named_by_its_own_line),
        cmocka_unit_test(programs_that_are_not_there_are_named),
        cmocka_unit_test(the_admin_api_listens_on_loopback_only),
        cmocka_unit_test(what_the_start_refuses_as_a_token_is_refused),
        cmocka_unit_test(a_token_file_that_is_a_fifo_is_refused_and_not_waited_for),
        cmocka_unit_test(an_access_log_that_would_be_written_into_the_journal_is_refused),
        cmocka_unit_test(authorities_of_instances_are_looked_at_as_those_of_clients),
        cmocka_unit_test(an_instance_that_is_the_daemon_itself_is_refused),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
