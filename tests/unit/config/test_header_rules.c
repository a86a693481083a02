/* Header rules that are refused, each with its line, and those that are taken. */
#include "config/config.h"

#include "unit.h"

#include "read.h"

#define LISTEN "listeners = ( { address = \"127.0.0.1:0\"; } );\n"
#define SERVICE_BEGIN LISTEN "services = ( { name = \"web\";\n"
#define SERVICE(keys) SERVICE_BEGIN keys " } );"
#define REQUEST(rules) SERVICE("headers = { request = {\n" rules " }; };")
#define RESPONSE(rules) SERVICE("headers = { response = {\n" rules " }; };")

struct row {
    const char *text, *sentence;
};

static void assert_refused(const char *text, const char *sentence)
{
    struct err err = {""};
    struct config *config = read_text(text, &err);
    config_free(config);
    if (config != NULL || strcmp(err.text, sentence) != 0)
        fail_msg("read: %s\nwant: %s\ngot:  %s", text, sentence, config != NULL ? "(accepted)" : err.text);
}

static void what_is_upswaps_own_cannot_be_set_added_or_removed(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Connection",
        "Content-Length",
        "Date",
        "Expect",
        "Forwarded",
        "HTTP2-Settings",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Authentication-Info",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Via",
        "X-Client-Fingerprint",
        "X-Client-Subject",
        "X-Client-Verify",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Request-Id",
        "X-Upswap",
        "transfer-encoding",
        "Transfer_Encoding",
        "CONTENT_length",
    };
    static const char *const kinds[] = {"request", "response"}, *const keys[] = {"set", "add"};
    char text[400], sentence[200];
    for (size_t i = 0; i < 2 * 2 * sizeof names / sizeof *names; i++) {
        const char *name = names[i / 4], *kind = kinds[i / 2 % 2], *key = keys[i % 2];
        snprintf(text, sizeof text, SERVICE("headers = { %s = {\n %s = { %s = \"x\"; }; }; };"), kind, key,
                 name);
        snprintf(sentence, sizeof sentence,
                 "t.conf:4: headers.%s.%s.%s: \"%s\" is upswap's own to write; remove the rule", kind, key,
                 name, name);
        assert_refused(text, sentence);
        snprintf(text, sizeof text, SERVICE("headers = { %s = { remove = [ \"X-A\",\n\"%s\" ]; }; };"), kind,
                 name);
        snprintf(sentence, sizeof sentence,
                 "t.conf:4: headers.%s.remove: \"%s\" is upswap's own to write; remove the rule", kind, name);
        assert_refused(text, sentence);
    }
}

static void every_refusal_has_its_line_and_sentence(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {REQUEST("add = { Host = \"b\"; };"), "t.conf:4: headers.request.add.Host: \"Host\" can only be set, "
                                              "for requests: a message has exactly one"},
        {RESPONSE("set = { Host = \"b\"; };"), "t.conf:4: headers.response.set.Host: \"Host\" can only be "
                                               "set, for requests: a message has exactly one"},
        {REQUEST("remove = [ \"X-A\", \"Host\" ];"), "t.conf:4: headers.request.remove: \"Host\" can only be "
                                                     "set, for requests: a message has exactly one"},
        {REQUEST("remove = [ \"X A\" ];"),
         "t.conf:4: headers.request.remove: \"X A\" is no name of a field; write letters, digits and -"},
        {REQUEST("remove = [ \"\" ];"),
         "t.conf:4: headers.request.remove: the text is empty; write one, or remove the key"},
        {REQUEST("remove = [ \"*\" ];"),
         "t.conf:4: headers.request.remove: \"*\" is no name of a field; write letters, digits and -"},
        {REQUEST("remove = [ \"X-*-Y\" ];"),
         "t.conf:4: headers.request.remove: \"X-*-Y\" is no name of a field; write letters, digits and -"},
        {REQUEST("remove = [ \"X-**\" ];"),
         "t.conf:4: headers.request.remove: \"X-**\" is no beginning of a field's name"},
        {REQUEST("remove = [ \"X:*\" ];"),
         "t.conf:4: headers.request.remove: \"X:*\" is no beginning of a field's name"},
        {REQUEST("set = { X-A = \"\"; };"),
         "t.conf:4: headers.request.set.X-A: the value is empty; write one, or put the name into \"remove\""},
        {REQUEST("set = { X-A = \" \"; };"),
         "t.conf:4: headers.request.set.X-A: the value is empty; write one, or put the name into \"remove\""},
        {RESPONSE("add = { X-A = \"\"; };"),
         "t.conf:4: headers.response.add.X-A: the value is empty; write one, or remove the rule"},
        {REQUEST("set = { Host = \"\"; };"),
         "t.conf:4: headers.request.set.Host: the value is empty; write one, or remove the rule"},
        {LISTEN "defaults = { headers = { response = { set = { X-A = \"\"; }; }; }; };\n"
                "services = ( { name = \"web\"; } );",
         "t.conf:2: defaults.headers.response.set.X-A: the value is empty; write one, or put the name into "
         "\"remove\""},
        {LISTEN "defaults = { headers = { request = { set = { X-A = \"1\"; }; }; }; };\n"
                "services = ( { name = \"web\"; headers = { response = { set = { X-A = \"\"; }; }; }; } );",
         "t.conf:3: headers.response.set.X-A: the value is empty; write one, or put the name into "
         "\"remove\""},
        {LISTEN "defaults = { headers = { response = { set = { X-Ab = \"1\"; }; }; }; };\n"
                "services = ( { name = \"web\"; headers = { response = { set = { X-A = \"\"; X-Ab = \"\"; }; "
                "}; }; } );",
         "t.conf:3: headers.response.set.X-A: the value is empty; write one, or put the name into "
         "\"remove\""},
        {REQUEST("set = { X-A = \"b\\r\\nX-B: c\"; };"),
         "t.conf:4: headers.request.set.X-A: the text holds a control character; take it out"},
        {RESPONSE("add = { X-A = \"b\\tc\"; };"),
         "t.conf:4: headers.response.add.X-A: the text holds a control character; take it out"},
        {REQUEST("set = { X-A = \"%{nothing}\"; };"),
         "t.conf:4: headers.request.set.X-A: \"%{nothing}\" is not known here; there are client, proto, "
         "port, request_id, service, release, deployment and host"},
        {REQUEST("set = { X-A = \"%{}\"; };"),
         "t.conf:4: headers.request.set.X-A: \"%{}\" is not known here; there are client, proto, port, "
         "request_id, service, release, deployment and host"},
        {REQUEST("set = { X-A = \"%{instance}\"; };"),
         "t.conf:4: headers.request.set.X-A: \"%{instance}\" is not known here; there are client, proto, "
         "port, request_id, service, release, deployment and host"},
        {RESPONSE("set = { X-A = \"%{host}\"; };"),
         "t.conf:4: headers.response.set.X-A: \"%{host}\" is not known here; there are client, proto, port, "
         "request_id, service, release, deployment and instance"},
        {REQUEST("set = { X-A = \"%{host} %{client\"; };"),
         "t.conf:4: headers.request.set.X-A: \"%{client\" is not closed; write the missing }"},
        {REQUEST("set = { X-A = 1; };"),
         "t.conf:4: headers.request.set.X-A: the value of a field must be a text in quotes"},
        {REQUEST("set = { X-A = \"1\";\n X-A = \"2\"; };"),
         "t.conf:5: this key is written twice in its section; keep one of them"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(rows[i].text, rows[i].sentence);
}

/* `count` rules, each with a value of `size` bytes, in the request's direction. */
static struct config *read_rules(size_t count, size_t size, struct err *err)
{
    static char text[32768];
    size_t n = (size_t)snprintf(text, sizeof text, SERVICE_BEGIN "headers = { request = {\nset = {\n");
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "X-%zu = \"%0*d\";\n", 10 + i, (int)size, 0);
    snprintf(text + n, sizeof text - n, "}; }; }; } );");
    return read_text(text, err);
}

static void more_rules_than_the_proxy_has_room_for_are_refused(void **state)
{
    (void)state;
    struct err err = {""};
    struct config *most = read_rules(CONFIG_HEADERS_MAX, 10, &err);
    assert_non_null(most);
    config_free(most);
    assert_null(read_rules(CONFIG_HEADERS_MAX + 1, 10, &err));
    assert_string_equal(err.text, "t.conf:3: there are 65 header rules for one direction; write at most 64");
    most = read_rules(10, CONFIG_HEADERS_TEXT_MAX / 10 - 20, &err);
    assert_non_null(most);
    config_free(most);
    assert_null(read_rules(10, CONFIG_HEADERS_TEXT_MAX / 10, &err));
    assert_string_equal(err.text,
                        "t.conf:3: the header rules for one direction have 8290 bytes; write at most 8192");
}

static void what_the_proxy_can_do_is_accepted(void **state)
{
    (void)state;
    struct config *config =
        must_read(REQUEST("set = { Host = \"%{host}.internal\"; X-Mark = \"100%% {x}\"; };\n"
                          "add = { X-Who = \"%{client} %{proto} %{port} %{request_id} %{service}\"; };\n"
                          "remove = [ \"X-Internal-*\", \"Cookie\", \"x_old\" ];"));
    const struct config_headers *request = &config->services[0].headers.request;
    assert_int_equal(request->set.count, 2);
    assert_string_equal(request->set.items[0], "Host=%{host}.internal");
    assert_int_equal(request->add.count, 1);
    assert_int_equal(request->remove.count, 3);
    config_free(config);
    config_free(must_read(RESPONSE("add = { X-From = \"%{instance} %{release} %{deployment}\"; };")));
}

static void the_field_of_previews_is_none_that_a_request_has_of_itself(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Cookie",        "authorization", "Content-Type",   "Host",       "ACCEPT", "Accept-Encoding",
        "If-None-Match", "User_Agent",    "Sec-Fetch-Site", "Connection", "Via",    "X-Forwarded-For",
    };
    char text[256], sentence[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text,
                 SERVICE("preview = {\n header = \"%s\"; secret = \"0123456789abcdef\"; };"), names[i]);
        snprintf(
            sentence, sizeof sentence,
            "t.conf:4: preview.header: \"%s\" means something in requests already, and the app never sees "
            "the field that is named here; write a name of your own, such as \"X-Upswap-Preview\"",
            names[i]);
        assert_refused(text, sentence);
    }
    config_free(must_read(SERVICE("preview = { header = \"Acceptance\"; secret = \"0123456789abcdef\"; };")));
}

static void assert_fields(const struct config_list *fields, const char *wanted)
{
    char text[256] = "";
    for (size_t i = 0; i < fields->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", fields->items[i]);
    assert_string_equal(text, wanted);
}

static void what_the_defaults_set_or_add_is_taken_back_by_an_empty_value(void **state)
{
    (void)state;
    struct config *config = must_read(
        LISTEN
        "defaults = { headers = { response = { set = { X-A = \"1\"; X-B = \"2\"; X-Bc = \"3\"; };\n"
        "  add = { X-A = \"4\"; X-C = \"5\"; }; };\n"
        "  request = { set = { X-A = \"6\"; Host = \"h\"; }; }; }; };\n"
        "services = ( { name = \"a\"; headers = { response = { add = { X-C = \"7\"; };\n"
        "  set = { x-a = \"\"; X-D = \"8\"; X-C = \"\"; X-B = \" \"; x-b = \"9\"; }; }; }; },\n"
        "  { name = \"b\"; hosts = [ \"b\" ]; headers = { request = { set = { Host = \"\"; }; }; }; } );");
    const struct config_header_rules *a = &config->services[0].headers, *b = &config->services[1].headers;
    assert_fields(&a->response.set, "X-Bc=3 X-D=8 x-b=9 ");
    assert_fields(&a->response.add, "X-C=7 "); /* its own stays */
    assert_fields(&a->request.set, "X-A=6 Host=h ");
    assert_fields(&b->request.set, "X-A=6 ");
    assert_fields(&b->response.set, "X-A=1 X-B=2 X-Bc=3 ");
    assert_fields(&b->response.add, "X-A=4 X-C=5 ");
    config_free(config);
}

/* What the app says of itself is taken off, and what is the operator's to say put on. */
static void a_removal_leaves_what_the_defaults_set_or_add(void **state)
{
    (void)state;
    struct config *config = must_read(
        LISTEN
        "defaults = { headers = { response = { set = { X-Frame-Options = \"DENY\"; Server = \"s\"; };\n"
        "  add = { X-A = \"1\"; }; remove = [ \"X-Q\" ]; }; }; };\n"
        "services = ( { name = \"a\"; headers = { response = { set = { X-B = \"2\"; };\n"
        "  remove = [ \"X-*\", \"Server\", \"X-A\" ]; }; }; } );");
    const struct config_headers *response = &config->services[0].headers.response;
    assert_fields(&response->set, "X-Frame-Options=DENY Server=s X-B=2 ");
    assert_fields(&response->add, "X-A=1 ");
    assert_fields(&response->remove, "X-* Server X-A ");
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_defaults_set_or_add_is_taken_back_by_an_empty_value),
        cmocka_unit_test(a_removal_leaves_what_the_defaults_set_or_add),
        cmocka_unit_test(what_is_upswaps_own_cannot_be_set_added_or_removed),
        cmocka_unit_test(every_refusal_has_its_line_and_sentence),
        cmocka_unit_test(more_rules_than_the_proxy_has_room_for_are_refused),
        cmocka_unit_test(what_the_proxy_can_do_is_accepted),
        cmocka_unit_test(the_field_of_previews_is_none_that_a_request_has_of_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
