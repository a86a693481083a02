#include "config/config.h"

#include "unit.h"

#include <libconfig.h>

#include "base/buf.h"

#include "read.h"

#define LISTEN "listeners = ( { address = \"127.0.0.1:0\"; } );\n"
#define SERVICE(keys) LISTEN "services = ( { name = \"web\";\n" keys " } );"

struct row {
    const char *text, *sentence;
};

static void assert_refused(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = {""};
        struct config *config = read_text(rows[i].text, &err);
        config_free(config);
        if (config != NULL || strcmp(err.text, rows[i].sentence) != 0)
            fail_msg("read: %s\nwant: %s\ngot:  %s", rows[i].text, rows[i].sentence,
                     config != NULL ? "(accepted)" : err.text);
    }
}
#define ASSERT_REFUSED(rows) assert_refused(rows, sizeof rows / sizeof *rows)

static void broken_syntax_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"workers = 1;\nworkers = 2;\n",
         "t.conf:2: this key is written twice in its section; keep one of them"},
        {"workers = 1\n\nuser = ;\n",
         "t.conf:3: syntax error; look for a missing \";\", quote or bracket here "
         "and on the line before"},
        {"user = \"a;\nstate_directory = \"/x\";\n",
         "t.conf:1: a text is not closed on its line; write the missing quote, or \\n for a line end"},
        {"workers = 1;\nuser = \"a\\",
         "t.conf:2: a text is not closed on its line; write the missing quote, or \\n for a line end"},
        {"trusted_proxies = [ \"a\",\n 1 ];", "t.conf:2: mismatched element type in array"},
        {"\n@include \"x\"\n",
         "t.conf:2: \"@include\" is not in this version of upswap; write the config as one "
         "file"},
    };
    ASSERT_REFUSED(rows);
}

static void a_byte_order_mark_is_told_as_one(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"\xef\xbb\xbf" SERVICE(""),
         "t.conf:1: the file begins with a byte order mark; write it without one"},
    };
    ASSERT_REFUSED(rows);
}

static void a_comment_that_is_not_closed_is_refused_with_the_line_where_it_opens(void **state)
{
    (void)state;
#define NOT_CLOSED "the comment that opens here is not closed; write */ where it ends, or take the /* out"
    static const struct row rows[] = {
        {LISTEN "/* nobody\nservices = ( { name = \"web\"; } );\n", "t.conf:2: " NOT_CLOSED},
        {LISTEN "/* one */ /*/\nservices = ( { name = \"web\"; } );\n", "t.conf:2: " NOT_CLOSED},
        {LISTEN "\n/*", "t.conf:3: " NOT_CLOSED},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read("/**/ /* /* \n * **/" LISTEN "# /*\n// /*\nuser = \"/*\"; /*/ ; */"));
}

static void texts_in_a_list_without_a_comma_between_them_are_refused(void **state)
{
    (void)state;
#define NO_COMMA "there is no comma between this text and the one before; write it"
    static const struct row rows[] = {
        {SERVICE("hosts = [ \"a.test\" \"b.test\" ];"), "t.conf:3: " NO_COMMA},
        {SERVICE("hosts = (\"a.test\", \"b.test\" # one\n/* two\n */ // three\n\t\"c.test\");"),
         "t.conf:6: " NO_COMMA},
        {SERVICE("hosts = [ \"a.test\"\"b.test\" ];"), "t.conf:3: " NO_COMMA},
    };
    ASSERT_REFUSED(rows);
}

static void brackets_and_quotes_that_are_never_right_are_told_as_what_they_are(void **state)
{
    (void)state;
#define IN_A_LIST "groups stand in a list; write ( ) around them in place of [ ]"
    static const struct row rows[] = {
        {"listeners = [ # all\n { address = \"127.0.0.1:0\"; } ];", "t.conf:2: " IN_A_LIST},
        {SERVICE("headers = { request = { set = {\n \"X-A\" = \"b\"; }; }; };"),
         "t.conf:4: the name before this = is in quotes; write it without"},
        {SERVICE("uptests = { environment = { \"A\" : \"b\"; }; };"),
         "t.conf:3: the name before this : is in quotes; write it without"},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(SERVICE("hosts = [ ], uptests : { runner = ( \"[,]{\" ), timeout = \"1s\", },")));
}

/* libconfig 1.5 takes none; newer ones do. */
static void a_comma_behind_the_last_item_is_told_where_libconfig_takes_none(void **state)
{
    (void)state;
#define NO_ITEM "nothing stands between a comma and this "
    static const struct row rows[] = {
        {LISTEN "services = ( { name = \"a\"; },\n/* b */ );", "t.conf:3: " NO_ITEM "); take the comma out"},
        {SERVICE("hosts = [ \"a.test\", ];"), "t.conf:3: " NO_ITEM "]; take the comma out"},
    };
    config_t asked;
    config_init(&asked);
    if (config_read_string(&asked, "a = [ 1, ];") != CONFIG_TRUE)
        ASSERT_REFUSED(rows);
    else
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            config_free(must_read(rows[i].text));
    config_destroy(&asked);
}

static void a_long_text_may_be_written_in_pieces(void **state)
{
    (void)state;
    struct config *config =
        must_read(SERVICE("hosts = [ \"a.test\", \"b.test\" ]; uptests = { directory = \"/srv/\" # one\n"
                          "\"%{release}\" \"/t\"; environment = { A : \"b\"\n\"c\"; }; };"));
    assert_string_equal(config->services[0].uptests.directory, "/srv/%{release}/t");
    assert_string_equal(config->services[0].uptests.environment.items[0], "A=bc");
    config_free(config);
}

static void what_libconfig_would_cut_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"# 99999999999 \"\\x00\"\nlimits = { body = 10737418240; };",
         "t.conf:2: the number 10737418240 is too large to be read; write an L behind it, or a size such as "
         "\"10g\""},
        {"workers = 0xfffffffff;",
         "t.conf:1: the number 0xfffffffff is too large to be read; write an L behind "
         "it, or a size such as \"10g\""},
        {"workers = 99999999999999999999L;", "t.conf:1: the number 99999999999999999999L is too large to be "
                                             "read; write an L behind it, or a size "
                                             "such as \"10g\""},
        {"/* \n\" */ user = \"a\\x00b\";", "t.conf:2: a text cannot hold a NUL byte; take the \\x00 out"},
    };
    ASSERT_REFUSED(rows);
    struct err err;
    static const char nul[] = "workers = 1;\n\0 user = 5;";
    FILE *file = fmemopen((void *)(uintptr_t)nul, sizeof nul - 1, "r");
    assert_null(config_parse(file, "t.conf", &err));
    fclose(file);
    assert_string_equal(err.text, "t.conf:2: there is a NUL byte; a config is a text file");
}

static void numbers_and_quotes_in_comments_and_texts_are_left_alone(void **state)
{
    (void)state;
    struct config *config =
        must_read("// 99999999999 \" @include\n/* \" 99999999999 */ # \" '\n" LISTEN
                  "user = \"99999999999 # \\\" // @include\"; limits = { body = 10737418240L; };");
    assert_string_equal(config->user, "99999999999 # \" // @include");
    assert_int_equal(config->limits.body, 10737418240);
    config_free(config);
}

static void unknown_keys_are_refused_with_the_nearest(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"worker = 1;", "t.conf:1: \"worker\" is not a key of the file; did you mean \"workers\"?"},
        {"isteners = ();", "t.conf:1: \"isteners\" is not a key of the file; did you mean \"listeners\"?"},
        {"frobnicate = 1;", "t.conf:1: \"frobnicate\" is not a key of the file; upswapd.conf(5) lists them"},
        {"\ntimeouts = { idle = \"60s\"; };", "t.conf:2: \"timeouts\" is not a key of the file, but of a "
                                              "service; write it there, or in \"defaults\""},
        {"level = \"info\";", "t.conf:1: \"level\" is not a key of the file, but of log; write it there"},
        {SERVICE("first_byte = \"1s\";"),
         "t.conf:3: \"first_byte\" is not a key of a service, but of timeouts; write it there"},
        {SERVICE("host = [ ];"), "t.conf:3: \"host\" is not a key of a service; did you mean \"hosts\"?"},
        {SERVICE("uptests = {\n timeot = \"1s\"; };"),
         "t.conf:4: \"timeot\" is not a key of uptests; did you mean \"timeout\"?"},
        {"defaults = { drain = { request = \"1s\"; }; };",
         "t.conf:1: \"request\" is not a key of drain, but of headers of a service; write it there, unless "
         "\"requests\" is meant"},
        {"defaults = { drain = { stream = \"1s\"; }; };",
         "t.conf:1: \"stream\" is not a key of drain; did you mean \"streams\"?"},
    };
    ASSERT_REFUSED(rows);
}

static void a_key_in_the_wrong_place_is_told_where_it_belongs_before_any_guess(void **state)
{
    (void)state;
#define ELSEWHERE(key, title, places) "\"" key "\" is not a key of " title ", but of " places "; write it "
#define SEVERAL "in the one that is meant"
    static const struct row rows[] = {
        {"format = \"json\";", "t.conf:1: " ELSEWHERE("format", "the file", "log and access_log") SEVERAL},
        {"name = \"web\";", "t.conf:1: " ELSEWHERE("name", "the file", "a service") "there"},
        {"tls = { };", "t.conf:1: " ELSEWHERE("tls", "the file", "a listener and a service") SEVERAL},
        {SERVICE("hsts = \"1d\";"),
         "t.conf:3: " ELSEWHERE("hsts", "a service", "tls of a listener") "there, unless \"hosts\" is meant"},
        {SERVICE("duration = \"1d\";"),
         "t.conf:3: " ELSEWHERE("duration", "a service", "affinity and watch") SEVERAL},
        {SERVICE("trusted_proxies = [ ];"),
         "t.conf:3: " ELSEWHERE("trusted_proxies", "a service", "the file") "there"},
        {SERVICE("limits = { };"), "t.conf:3: " ELSEWHERE("limits", "a service", "the file") "there"},
        {SERVICE("redirect = \"https\";"),
         "t.conf:3: " ELSEWHERE("redirect", "a service", "a listener") "there"},
        {SERVICE("address = \"127.0.0.1:0\";"),
         "t.conf:3: " ELSEWHERE("address", "a service", "a listener") "there"},
        {SERVICE("uptests = { http2 = { }; };"),
         "t.conf:3: " ELSEWHERE("http2", "uptests", "the file") "there"},
        {"listeners = ( { health = { }; } );",
         "t.conf:1: " ELSEWHERE("health", "a listener", "a service") "there, or in \"defaults\""},
        {"listeners = ( { cookie = \"c\"; } );",
         "t.conf:1: " ELSEWHERE("cookie", "a listener", "affinity of a service") "there"},
        {SERVICE("timeouts = { read = \"1s\"; };"),
         "t.conf:3: \"read\" is not a key of timeouts; upswapd.conf(5) lists them"},
    };
    ASSERT_REFUSED(rows);
}

static void a_tls_listener_without_what_it_needs_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"listeners = ( { address = \"[::]:443\";\n tls = { }; } );", "t.conf:2: tls needs \"certificate\""},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"site.pem\"; }; } );",
         "t.conf:1: tls.certificate: \"site.pem\" is not an absolute path; begin it with /"},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"/a\";\n minimum = \"1.1\"; }; } );",
         "t.conf:2: tls.minimum: must be one of \"1.2\", \"1.3\", not \"1.1\""},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"/a\";\n certificates = (\n{ key = "
         "\"/b\"; }); }; } );",
         "t.conf:3: a certificate needs \"certificate\""},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"/a\";\n client_verify = "
         "\"required\"; }; } "
         ");",
         "t.conf:2: tls.client_verify needs tls.client_ca, the authorities that sign for clients"},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"/a\";\n client_ca = \"/b\"; }; } "
         ");",
         "t.conf:2: tls.client_ca does nothing without tls.client_verify; write \"required\", \"optional\" "
         "or "
         "\"off\" there, or remove tls.client_ca"},
        {"listeners = ( { address = \"[::]:443\"; tls = { certificate = \"/a\"; };\n redirect = \"https\"; } "
         ");",
         "t.conf:2: a listener with tls cannot redirect to https; remove one of the two"},
    };
    ASSERT_REFUSED(rows);
}

static void keys_of_later_versions_are_refused_as_such(void **state)
{
    (void)state;
    static const struct row rows[] = {};
    ASSERT_REFUSED(rows);
}

static void wrong_types_and_ranges_are_refused_with_what_is_wanted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"workers = \"2\";", "t.conf:1: workers: must be a whole number from 0 to 256, not a text"},
        {"workers = 257;", "t.conf:1: workers: must be a whole number from 0 to 256, not 257"},
        {"workers = -1;", "t.conf:1: workers: must be a whole number from 0 to 256, not -1"},
        {"workers = 1.5;", "t.conf:1: workers: must be a whole number from 0 to 256, not a fraction"},
        {"log = \"info\";", "t.conf:1: log: must be a group, not a text"},
        {"log = { level = \"loud\"; };",
         "t.conf:1: log.level: must be one of \"error\", \"warn\", \"info\", \"debug\", not \"loud\""},
        {"admin = { mode = 660; };",
         "t.conf:1: admin.mode: must be an octal file mode in quotes such as \"0660\", not a number"},
        {"admin = { mode = \"0680\"; };",
         "t.conf:1: admin.mode: must be an octal file mode in quotes such as \"0660\", not \"0680\""},
        {"limits = { head = \"2m\"; };", "t.conf:1: limits.head: must be a size from 512 to 1m, not \"2m\""},
        {"limits = { body = \"10kb\"; };",
         "t.conf:1: limits.body: must be a size from 0 to 1048576g, not \"10kb\"; write a whole number, of "
         "bytes or with k, m or g behind it"},
        {"limits = { head = 10; };", "t.conf:1: limits.head: must be a size from 512 to 1m, not 10"},
        {"listeners = { };", "t.conf:1: listeners: must be a list of groups, not a group"},
        {"listeners = ( \"0.0.0.0:80\" );", "t.conf:1: listeners: each item must be a group { ... }"},
        {"listeners = ( );", "t.conf:1: listeners: there are 0 items; write from 1 to 64"},
        {SERVICE("hosts = \"example.com\";"), "t.conf:3: hosts: must be a list of texts, not a text"},
        {SERVICE("hosts = [ 5 ];"), "t.conf:3: hosts: each item must be a text in quotes"},
        {SERVICE("strip_path = 1;"), "t.conf:3: strip_path: must be true or false, not a number"},
        {SERVICE("uptests = { parallel = 0; };"),
         "t.conf:3: uptests.parallel: must be a whole number from 1 to 1024, not 0"},
        {SERVICE("uptests = { timeout = \"0s\"; };"),
         "t.conf:3: uptests.timeout: must be a duration in quotes from 1ms to 30d, not \"0s\""},
        {SERVICE("uptests = { timeout = \"5min\"; };"), "t.conf:3: uptests.timeout: must be a duration in "
                                                        "quotes from 1ms to 30d, not \"5min\"; write a whole "
                                                        "number with ms, s, m, h or d behind it"},
        {SERVICE("uptests = { timeout = 10; };"),
         "t.conf:3: uptests.timeout: must be a duration in quotes from 1ms to 30d, not a number"},
        {SERVICE("drain = { requests = \"31d\"; };"),
         "t.conf:3: drain.requests: must be a duration in quotes from 0s to 30d, not \"31d\""},
        {SERVICE("drain = { requests = \"30\\ns\"; };"),
         "t.conf:3: drain.requests: must be a duration in quotes from 0s to 30d, not a text with a control "
         "character"},
        {SERVICE("uptests = { user = \"\"; };"),
         "t.conf:3: uptests.user: the text is empty; write one, or remove the key"},
        {LISTEN "defaults = { canonical_host = \"\"; };",
         "t.conf:2: defaults.canonical_host: the text is empty; write one, or remove the key"},
        {LISTEN "defaults = { preview = { secret = \"0123456789abcdef\"; }; };\n"
                "services = ( { name = \"web\"; preview = { secret = \"\"; }; } );",
         "t.conf:3: preview.secret: the text is empty; write one, or remove the key"},
        {LISTEN "defaults = { balance = \"random\"; };\nservices = ( { name = \"web\"; balance = \"\"; } );",
         "t.conf:3: balance: the text is empty; write one, or remove the key"},
        {SERVICE("uptests = { user = \"a\\nb\"; };"),
         "t.conf:3: uptests.user: the text holds a control character; take it out"},
        {SERVICE("uptests = { environment = { A = 1; }; };"),
         "t.conf:3: uptests.environment.A: the value of a variable must be a text in quotes"},
        {SERVICE("teardown = { attempts = 1001; };"),
         "t.conf:3: teardown.attempts: must be a whole number from 1 to 1000, not 1001"},
    };
    ASSERT_REFUSED(rows);
}

static void missing_keys_are_refused_with_their_section(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"workers = 1;", "t.conf:1: the file needs \"listeners\""},
        {"listeners = (\n { } );", "t.conf:2: a listener needs \"address\""},
        {LISTEN "services = (\n{ paths = [ \"/\" ]; } );", "t.conf:3: a service needs \"name\""},
        {LISTEN "access_log = { format = \"json\"; };", "t.conf:2: access_log needs \"path\""},
        {LISTEN "admin = {\n listen = \"127.0.0.1:9080\"; };",
         "t.conf:3: admin.listen needs admin.token_file, since anybody can connect to an address"},
    };
    ASSERT_REFUSED(rows);
}

static void what_a_service_needs_may_come_from_the_defaults_and_is_missed_where_it_does_not(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LISTEN "defaults = {\n preview = { }; };\n services = ( { name = \"web\"; } );",
         "t.conf:3: service \"web\": preview needs \"secret\"; write one, here or in the service"},
        {LISTEN "defaults = {\n preview = { header = \"X-My\"; }; };\n services = ( { name = \"web\"; } );",
         "t.conf:3: service \"web\": preview needs \"secret\"; write one, here or in the service"},
        {LISTEN
         "defaults = { preview = { header = \"X-My\"; }; };\n services = ( { name = \"web\";\n preview = { "
         "}; } );",
         "t.conf:4: preview needs \"secret\""},
        {LISTEN "defaults = { error_pages = (\n{ html = \"/down.html\"; } ); };",
         "t.conf:3: an error page needs \"status\""},
        {LISTEN "services = ( { name = \"web\"; error_pages = (\n{ html = \"/down.html\"; } ); } );",
         "t.conf:3: an error page needs \"status\""},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(LISTEN "defaults = { preview = { secret = \"0123456789abcdef\"; }; };\n"
                                 "services = ( { name = \"web\"; preview = { header = \"X-My\"; }; } );"));
    config_free(must_read(LISTEN "defaults = { preview = { header = \"X-My\"; }; };\n services = ( { name = "
                                 "\"web\"; preview = { secret = \"0123456789abcdef\"; }; } );"));
}

static void texts_that_break_their_rule_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"listeners = ( { address = \"localhost:80\"; } );",
         "t.conf:1: address: \"localhost:80\" is a name; write the IP address to listen on"},
        {"listeners = ( { address = \"[::ffff:127.0.0.1]:80\"; } );",
         "t.conf:1: address: \"[::ffff:127.0.0.1]:80\" is an IPv4 address in the form of IPv6; write "
         "\"127.0.0.1:80\""},
        {"state_directory = \"var\";",
         "t.conf:1: state_directory: \"var\" is not an absolute path; begin it with /"},
        {"trusted_proxies = [ \"10.0.0.0/8\",\n \"10.0.0.1/8\" ];",
         "t.conf:2: trusted_proxies: \"10.0.0.1/8\" is not a network: bits behind the prefix are set; write "
         "its "
         "first address"},
        {LISTEN "services = ( { name = \"Web\"; } );",
         "t.conf:2: name: \"Web\" is no service name; write 1 to 63 of a-z, 0-9 and -"},
        {SERVICE("hosts = [ \"example.com:80\" ];"),
         "t.conf:3: hosts: \"example.com:80\" has a port; a host is matched without it"},
        {SERVICE("hosts = [ \"::1\" ];"),
         "t.conf:3: hosts: \"::1\" is an IPv6 address without brackets; write \"[::1]\""},
        {SERVICE("hosts = [ \"*\" ];"),
         "t.conf:3: hosts: \"*\" is no host; leave \"hosts\" out to take any host"},
        {SERVICE("hosts = [ \"a.*.b\" ];"),
         "t.conf:3: hosts: \"a.*.b\" is no host; write a name such as \"example.com\" or \"*.example.com\""},
        {SERVICE("hosts = [ \"*.10.0.0.1\" ];"), "t.conf:3: hosts: \"*.10.0.0.1\" is no host; write a name "
                                                 "such as \"example.com\" or \"*.example.com\""},
        {SERVICE("paths = [ \"api\" ];"), "t.conf:3: paths: the path \"api\" must begin with /"},
        {SERVICE("paths = [ \"/a?b\" ];"),
         "t.conf:3: paths: the path \"/a?b\" has a query; only the path before it is matched"},
        {SERVICE("paths = [ \"/a/../b\" ];"),
         "t.conf:3: paths: the path \"/a/../b\" has a segment . or ..; write the path that it means"},
        {SERVICE("paths = [ \"/a b\" ];"),
         "t.conf:3: paths: the path \"/a b\" must be written as in a request, other bytes as %XX"},
        {SERVICE("instances = [ \"127.0.0.1:0\" ];"), "t.conf:3: instances: \"127.0.0.1:0\" is not an "
                                                      "address: write HOST:PORT with a port from 1 to 65535"},
        {SERVICE("balance = \"hash:client:\";"),
         "t.conf:3: balance: \"hash:client:\" is no way to choose an instance; write round_robin, "
         "least_requests, two_choices, random, hash:client, hash:header:NAME or hash:cookie:NAME"},
        {SERVICE("balance = \"hash:header:\";"),
         "t.conf:3: balance: \"\" is no name of a header or cookie; write letters, digits and -"},
        {SERVICE("balance = \"hash:cookie:a b\";"),
         "t.conf:3: balance: \"a b\" is no name of a header or cookie; write letters, digits and -"},
        {SERVICE("instances = [ \"127.0.0.1:1,weight=0\" ];"),
         "t.conf:3: instances: \"127.0.0.1:1,weight=0\": the weight 0 is not from 1 to 256; to give an "
         "instance no requests, drain it"},
        {SERVICE("instances = [ \"127.0.0.1:1,pid=7\" ];"),
         "t.conf:3: instances: \"127.0.0.1:1,pid=7\" names a process, which does not outlive this file; "
         "take pid= out"},
        {SERVICE("instances = [ \"127.0.0.1:1,weight=2\",\n \"127.0.0.1:1\" ];"),
         "t.conf:4: the instance \"127.0.0.1:1\" is already taken on line 3; name each instance of a service "
         "once"},
        {SERVICE("uptests = { directory = \"/srv/%{rel}/t\"; };"),
         "t.conf:3: uptests.directory: \"%{rel}\" in \"/srv/%{rel}/t\" is not known; only %{release} is"},
        {SERVICE("uptests = { runner = [ \"docker\",\n \"%{\" ]; };"),
         "t.conf:4: uptests.runner: \"%{\" in \"%{\" is not closed; write the missing }"},
        {SERVICE("uptests = { directory = \"/srv/%{release/t\"; };"),
         "t.conf:3: uptests.directory: \"%{release/t\" in \"/srv/%{release/t\" is not closed; write the "
         "missing }"},
        {SERVICE("uptests = { directory = \"/srv/%{}/t\"; };"),
         "t.conf:3: uptests.directory: \"%{}\" in \"/srv/%{}/t\" is not known; only %{release} is"},
        {SERVICE("uptests = { environment = { A-B = \"x\"; }; };"),
         "t.conf:3: uptests.environment.A-B: \"A-B\" is no name for a variable; write letters, digits and _"},
        {SERVICE("teardown = { command = [ \"stop\", \"%{release}\" ]; };"),
         "t.conf:3: teardown.command: nothing is replaced in \"%{release}\"; the command finds the release "
         "in "
         "TEARDOWN_RELEASE"},
    };
    ASSERT_REFUSED(rows);
    struct err err;
    char text[512];
    snprintf(text, sizeof text, "admin = { socket = \"/%0110d\"; };", 0);
    assert_null(read_text(text, &err));
    assert_non_null(strstr(err.text, "has 111 bytes, and the path of a Unix socket at most 107; shorten it"));
}

static void a_fraction_outside_its_bounds_is_refused_as_it_was_written(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {SERVICE("watch = { latency = 1000.0004; };"),
         "t.conf:3: watch.latency: must be a number from 1 to 1000, not 1000.0004"},
        {SERVICE("watch = { latency = 0.9999999; };"),
         "t.conf:3: watch.latency: must be a number from 1 to 1000, not 0.9999999"},
        {SERVICE("watch = { errors = 1.0000001; };"),
         "t.conf:3: watch.errors: must be a number from 0 to 1, not 1.0000001"},
        {SERVICE("watch = { errors = -0.1; };"),
         "t.conf:3: watch.errors: must be a number from 0 to 1, not -0.1"},
        {SERVICE("watch = { errors = 1e999; };"),
         "t.conf:3: watch.errors: must be a number from 0 to 1, not inf"},
        {SERVICE("watch = { latency = 1001; };"),
         "t.conf:3: watch.latency: must be a number from 1 to 1000, not 1001"},
        {SERVICE("shadow = { share = 0.00009999; };"),
         "t.conf:3: shadow.share: must be a number from 0.0001 to 1, not 9.999e-05"},
        {SERVICE("retries = { budget = 0.0000001; };"),
         "t.conf:3: retries.budget: 1e-07 is finer than a millionth; write 0, or 0.000001 and more"},
    };
    ASSERT_REFUSED(rows);
}

static void a_fraction_with_many_decimals_is_taken_to_the_nearest_millionth(void **state)
{
    (void)state;
    struct config *config =
        must_read(SERVICE("watch = { errors = 0.0333333; latency = 999.9999999; }; retries = { budget = "
                          "0.0151515; }; shadow = { share = 0.0123456; differ = 0.57; latency = 1000; };"));
    const struct config_service *service = &config->services[0];
    assert_int_equal(service->watch.errors, 33333);
    assert_int_equal(service->watch.latency, 1000000000);
    assert_int_equal(service->retries.budget, 15152);
    assert_int_equal(service->shadow.share, 12346);
    assert_int_equal(service->shadow.differ, 570000);
    assert_int_equal(service->shadow.latency, 1000000000);
    config_free(config);
    config = must_read(SERVICE("shadow = { share = 1e-4; differ = 0; };"));
    assert_int_equal(config->services[0].shadow.share, 100);
    assert_int_equal(config->services[0].shadow.differ, 0);
    config_free(config);
}

static void keys_that_stand_in_the_wrong_place_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {SERVICE("timeouts = { head = \"1s\"; };"),
         "t.conf:3: \"timeouts.head\" acts before the service is known; write it in \"defaults\""},
        {SERVICE("timeouts = { idle = \"1s\"; };"),
         "t.conf:3: \"timeouts.idle\" acts before the service is known; write it in \"defaults\""},
        {LISTEN "defaults = { name = \"x\"; };",
         "t.conf:2: \"name\" belongs to one service; remove it from \"defaults\""},
    };
    ASSERT_REFUSED(rows);
}

static void what_two_would_share_is_refused(void **state)
{
    (void)state;
#define OTHER_ROUTE "give one of the services another host or path"
    static const struct row rows[] = {
        {"listeners = ( { address = \"[::1]:80\"; },\n { address = \"0.0.0.0:80\"; },\n"
         "{ address = \"[0:0::1]:80\"; } );",
         "t.conf:3: the address \"[::1]:80\" is already taken on line 1; listen on another address or port"},
        {"listeners = ( { address = \"127.0.0.1:80\"; } );\n"
         "admin = { listen = \"127.0.0.1:80\"; token_file = \"/t\"; };",
         "t.conf:2: the address \"127.0.0.1:80\" is already taken on line 1; listen on another address or "
         "port"},
        {"listeners = ( { address = \"127.0.0.1:80\"; },\n { address = \"0.0.0.0:80\"; } );",
         "t.conf:2: the address \"0.0.0.0:80\" covers \"127.0.0.1:80\" on line 1; listen on one of the two"},
        {"listeners = ( { address = \"0.0.0.0:80\"; },\n { address = \"[0::0]:81\"; } );\n"
         "admin = { listen = \"[::1]:81\"; token_file = \"/t\"; };",
         "t.conf:2: the address \"[::]:81\" covers \"[::1]:81\" on line 3; listen on one of the two"},
        {LISTEN
         "services = ( { name = \"a\"; },\n{ name = \"b\"; hosts = [ \"b\" ]; },\n{\nname = \"a\"; } );",
         "t.conf:5: the service name \"a\" is already taken on line 2; give each service its own"},
        {LISTEN "services = ( { name = \"a\"; hosts = [ \"x\", \"y\" ]; paths = [ \"/p/\" ]; },\n"
                "{ name = \"b\"; hosts = [ \"z\",\n \"Y\" ]; paths = [ \"/q\", \"/p\" ]; } );",
         "t.conf:4: the route \"y/p\" of service \"b\" is already taken by service \"a\" on line "
         "2; " OTHER_ROUTE},
        {LISTEN "services = ( { name = \"a\"; hosts = [ \"x.y\" ]; },\n"
                "{ name = \"b\"; hosts = [ \"x.y.\" ]; } );",
         "t.conf:3: the route \"x.y/\" of service \"b\" is already taken by service \"a\" on line "
         "2; " OTHER_ROUTE},
        {LISTEN "services = ( { name = \"a\"; hosts = [ \"*.y.\" ]; },\n"
                "{ name = \"b\"; hosts = [ \"*.y\" ]; } );",
         "t.conf:3: the route \"*.y/\" of service \"b\" is already taken by service \"a\" on line "
         "2; " OTHER_ROUTE},
        {LISTEN "services = ( { name = \"a\"; },\n{ name = \"b\"; } );",
         "t.conf:3: the route \"any host, /\" of service \"b\" is already taken by service \"a\" on line "
         "2; " OTHER_ROUTE},
        {SERVICE("instances = [ \"127.0.0.1:1\", \"127.0.0.1:2\",\n \"127.0.0.1:1\" ];"),
         "t.conf:4: the instance \"127.0.0.1:1\" is already taken on line 3; name each instance of a service "
         "once"},
    };
    ASSERT_REFUSED(rows);
}

static void routes_that_clash_by_the_defaults_name_both_services(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LISTEN "defaults = { hosts = [ \"x\" ]; };\nservices = (\n{ name = \"a\"; },\n{ name = \"b\"; } );",
         "t.conf:2: the route \"x/\" of service \"b\" is already taken by service \"a\" on line "
         "2; " OTHER_ROUTE},
        {SERVICE("hosts = [ \"x\", \"y\",\n \"X\" ];"),
         "t.conf:4: the route \"x/\" of service \"web\" stands twice, first on line 3; keep one of the two"},
    };
    ASSERT_REFUSED(rows);
}

#define TWO(a, b) LISTEN "services = ( { name = \"a\"; " a " },\n{ name = \"b\"; " b " } );"

static void affinity_cookies_that_would_replace_each_other_are_refused(void **state)
{
    (void)state;
#define OTHER_COOKIE "give one of the services another affinity.cookie"
    static const struct row rows[] = {
        {TWO("hosts = [ \"x\" ]; paths = [ \"/p\", \"/q\" ]; affinity = { };",
             "hosts = [ \"y\", \"x\" ]; paths = [ \"/r\", \"/s\" ];\n affinity = { };"),
         "t.conf:4: the affinity cookie \"upswap at x/\" of service \"b\" is already taken by service \"a\" "
         "on "
         "line 2; " OTHER_COOKIE},
        {TWO("affinity = { cookie = \"c\"; };",
             "paths = [ \"/r\", \"/s\" ]; affinity = {\n cookie = \"c\"; };"),
         "t.conf:4: the affinity cookie \"c at any host, /\" of service \"b\" is already taken by service "
         "\"a\" "
         "on line 2; " OTHER_COOKIE},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(TWO("affinity = { };", "paths = [ \"/r\" ]; affinity = { };")));
    config_free(must_read(TWO("affinity = { };", "paths = [ \"/r\", \"/s\" ];")));
    config_free(must_read(TWO("hosts = [ \"x\" ]; affinity = { };", "hosts = [ \"y\" ]; affinity = { };")));
    config_free(
        must_read(TWO("affinity = { };", "paths = [ \"/r\", \"/s\" ]; affinity = { cookie = \"other\"; };")));
}

static void two_listeners_may_ask_for_any_port(void **state)
{
    (void)state;
    config_free(must_read("listeners = ( { address = \"127.0.0.1:0\"; }, { address = \"127.0.0.1:0\"; } );"));
}

static void a_schedule_without_uptests_and_an_ejection_without_a_schedule_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {SERVICE("uptests = {\n schedule = \"60s\"; };"),
         "t.conf:4: service \"web\": uptests.schedule has nothing to run; write uptests.directory, or leave "
         "it "
         "out"},
        {SERVICE("uptests = { directory = \"/u\";\n eject = true; };"),
         "t.conf:4: service \"web\": uptests.eject does nothing without uptests.schedule; write both, or "
         "neither"},
    };
    ASSERT_REFUSED(rows);
}

static void a_burst_that_would_be_remembered_for_hours_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LISTEN "limits = { requests_per_address = 2;\n requests_burst = 7200; };",
         "t.conf:3: requests_burst: 7200 requests are more than an hour of 2 a second; write at most 7199"},
        {SERVICE("requests_per_address = 1;\n requests_burst = 10000;"),
         "t.conf:4: requests_burst: 10000 requests are more than an hour of 1 a second; write at most 3599"},
        {LISTEN "limits = { requests_burst = 5; };",
         "t.conf:2: requests_burst: 5 does nothing without requests_per_address; write both, or neither"},
        {SERVICE("requests_burst = 7;"),
         "t.conf:3: requests_burst: 7 does nothing without requests_per_address; write both, or neither"},
        {LISTEN "limits = { requests_per_address = 1000001; };",
         "t.conf:2: limits.requests_per_address: must be a whole number from 0 to 1000000, not 1000001"},
    };
    ASSERT_REFUSED(rows);
}

static void durations_that_clients_are_told_are_whole_seconds(void **state)
{
    (void)state;
#define NOTHING_FINER \
    " is no whole number of seconds, and clients are told nothing finer; write it with s, m, h or d"
    static const struct row rows[] = {
        {"listeners = ( { address = \"127.0.0.1:0\"; tls = { certificate = \"/c\";\n hsts = \"500ms\"; }; } "
         ");",
         "t.conf:2: tls.hsts: \"500ms\"" NOTHING_FINER},
        {SERVICE("affinity = { duration = \"500ms\"; };"),
         "t.conf:3: affinity.duration: \"500ms\"" NOTHING_FINER},
        {SERVICE("pin_duration = \"1001ms\";"), "t.conf:3: pin_duration: \"1001ms\"" NOTHING_FINER},
        {SERVICE("maintenance = { retry_after = \"1500ms\"; };"),
         "t.conf:3: maintenance.retry_after: \"1500ms\"" NOTHING_FINER},
        {SERVICE("pin_duration = \"999ms\";"),
         "t.conf:3: pin_duration: must be a duration in quotes from 1s to 7d, not \"999ms\""},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(SERVICE("affinity = { duration = \"0\"; }; pin_duration = \"2000MS\";")));
}

static void an_ejection_whose_first_pause_may_not_be_so_long_is_refused(void **state)
{
    (void)state;
#define LESS                                                                                            \
    "service \"web\": ejection.longest is less than ejection.pause, and no pause is longer; raise it, " \
    "or shorten the pause"
    static const struct row rows[] = {
        {SERVICE("ejection = { pause = \"10m\";\n longest = \"9m\"; };"), "t.conf:4: " LESS},
        {SERVICE("ejection = {\n pause = \"301s\"; };"), "t.conf:4: " LESS},
        {LISTEN "defaults = { ejection = { longest = \"5s\"; }; };\nservices = ( { name = \"web\"; } );",
         "t.conf:2: " LESS},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(SERVICE("ejection = { pause = \"300s\"; };")));
}

static void a_burst_of_a_service_needs_a_rate_though_the_defaults_have_the_same(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {LISTEN
         "defaults = { requests_burst = 7; };\nservices = ( { name = \"web\";\n requests_burst = 7; } );",
         "t.conf:4: requests_burst: 7 does nothing without requests_per_address; write both, or neither"},
    };
    ASSERT_REFUSED(rows);
    config_free(must_read(LISTEN "defaults = { requests_burst = 7; };\nservices = ( { name = \"web\"; } );"));
}

/* Services with so many instances each, one a line from the third on. */
static void assert_room(unsigned services, unsigned instances, const char *sentence)
{
    struct buf text = BUF_EMPTY;
    struct err err = {"(accepted)"};
    buf_printf(&text, LISTEN "services = (");
    for (unsigned i = 0; i < services; i++) {
        buf_printf(&text, "%s\n{ name = \"s%u\"; hosts = [ \"h%u\" ]; instances = [", i > 0 ? "," : "", i, i);
        for (unsigned k = 0; k < instances; k++)
            buf_printf(&text, "%s\"a%u:80\"", k > 0 ? ", " : "", k);
        buf_printf(&text, "]; }");
    }
    buf_printf(&text, ");");
    struct config *config = read_text(text.p, &err);
    config_free(config);
    buf_free(&text);
    if (config != NULL)
        strcpy(err.text, "(accepted)");
    assert_string_equal(err.text, sentence);
}

static void more_first_pools_than_a_daemon_has_room_for_are_refused(void **state)
{
    (void)state;
    assert_room(32768, 1, "(accepted)");
    assert_room(
        32769, 1,
        "t.conf:32771: service \"s32768\": with it there are 32769 services with instances, and a daemon "
        "has room for 32768; divide the services among several daemons");
    assert_room(32769, 0, "(accepted)");
    assert_room(
        10, 7000,
        "t.conf:12: service \"s9\": with it there are 70000 instances, and a daemon has room for 65536; "
        "divide the services among several daemons");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_syntax_is_refused_with_its_line),
        cmocka_unit_test(a_byte_order_mark_is_told_as_one),
        cmocka_unit_test(a_comment_that_is_not_closed_is_refused_with_the_line_where_it_opens),
        cmocka_unit_test(texts_in_a_list_without_a_comma_between_them_are_refused),
        cmocka_unit_test(brackets_and_quotes_that_are_never_right_are_told_as_what_they_are),
        cmocka_unit_test(a_comma_behind_the_last_item_is_told_where_libconfig_takes_none),
        cmocka_unit_test(a_long_text_may_be_written_in_pieces),
        cmocka_unit_test(what_libconfig_would_cut_is_refused),
        cmocka_unit_test(numbers_and_quotes_in_comments_and_texts_are_left_alone),
        cmocka_unit_test(unknown_keys_are_refused_with_the_nearest),
        cmocka_unit_test(a_key_in_the_wrong_place_is_told_where_it_belongs_before_any_guess),
        cmocka_unit_test(a_tls_listener_without_what_it_needs_is_refused),
        cmocka_unit_test(keys_of_later_versions_are_refused_as_such),
        cmocka_unit_test(wrong_types_and_ranges_are_refused_with_what_is_wanted),
        cmocka_unit_test(missing_keys_are_refused_with_their_section),
        cmocka_unit_test(what_a_service_needs_may_come_from_the_defaults_and_is_missed_where_it_does_not),
        cmocka_unit_test(texts_that_break_their_rule_are_refused),
        cmocka_unit_test(a_fraction_outside_its_bounds_is_refused_as_it_was_written),
        cmocka_unit_test(a_fraction_with_many_decimals_is_taken_to_the_nearest_millionth),
        cmocka_unit_test(keys_that_stand_in_the_wrong_place_are_refused),
        cmocka_unit_test(what_two_would_share_is_refused),
        cmocka_unit_test(routes_that_clash_by_the_defaults_name_both_services),
        cmocka_unit_test(affinity_cookies_that_would_replace_each_other_are_refused),
        cmocka_unit_test(two_listeners_may_ask_for_any_port),
        cmocka_unit_test(a_schedule_without_uptests_and_an_ejection_without_a_schedule_are_refused),
        cmocka_unit_test(more_first_pools_than_a_daemon_has_room_for_are_refused),
        cmocka_unit_test(a_burst_that_would_be_remembered_for_hours_is_refused),
        cmocka_unit_test(durations_that_clients_are_told_are_whole_seconds),
        cmocka_unit_test(an_ejection_whose_first_pause_may_not_be_so_long_is_refused),
        cmocka_unit_test(a_burst_of_a_service_needs_a_rate_though_the_defaults_have_the_same),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
