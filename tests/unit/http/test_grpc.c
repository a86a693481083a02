#include "http/grpc.h"

#include "unit.h"

static void only_the_types_of_grpc_itself_are_its(void **state)
{
    (void)state;
    static const char *const its[] = {"application/grpc", "Application/gRPC+proto", "application/grpc+json",
                                      "application/grpc;charset=x", "application/grpc ; q"};
    static const char *const others[] = {"",
                                         "application/grp",
                                         "application/grpc-web",
                                         "application/grpc-web+proto",
                                         "application/grpcx",
                                         "text/html"};
    for (size_t i = 0; i < sizeof its / sizeof *its; i++)
        assert_true(grpc_is_type(str_of(its[i])));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(grpc_is_type(str_of(others[i])));
}

/* Two messages, of which one is empty, and the beginning of a third. */
static const char body[] = "\0\0\0\0\3abc\1\0\0\0\0\0\0\1\0";
#define SIZE (sizeof body - 1)

static void they_rest_behind_each_message_however_the_bytes_come(void **state)
{
    (void)state;
    struct grpc_messages messages = {0};
    assert_true(grpc_messages_rest(&messages));
    for (size_t i = 0; i < SIZE; i++) {
        grpc_messages_follow(&messages, body + i, 1);
        assert_int_equal(grpc_messages_rest(&messages), i + 1 == 8 || i + 1 == 13);
    }
    messages = (struct grpc_messages){0};
    grpc_messages_follow(&messages, body, 13);
    assert_true(grpc_messages_rest(&messages));
    grpc_messages_follow(&messages, body + 13, SIZE - 13);
    assert_false(grpc_messages_rest(&messages));
}

static void what_comes_is_taken_up_to_the_next_rest(void **state)
{
    (void)state;
    struct grpc_messages messages = {0};
    grpc_messages_follow(&messages, body, 6);
    assert_int_equal(grpc_messages_until_rest(&messages, body + 6, SIZE - 6), 2);
    assert_true(grpc_messages_rest(&messages));
    assert_int_equal(grpc_messages_until_rest(&messages, body + 8, SIZE - 8), 5);
    assert_int_equal(grpc_messages_until_rest(&messages, body + 13, SIZE - 13), SIZE - 13);
    assert_false(grpc_messages_rest(&messages));
}

static void a_length_has_four_bytes(void **state)
{
    (void)state;
    struct grpc_messages messages = {0};
    grpc_messages_follow(&messages, "\0\1\2\3\4", 5);
    assert_int_equal(messages.left, 0x01020304);
}

static void each_status_stands_for_one_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(grpc_status_of(404, "no-route"), 12);
    assert_int_equal(grpc_status_of(413, "body-too-large"), 8);
    assert_int_equal(grpc_status_of(431, "head-too-large"), 8);
    assert_int_equal(grpc_status_of(408, "body-timeout"), 4);
    assert_int_equal(grpc_status_of(504, "first-byte-timeout"), 4);
    assert_int_equal(grpc_status_of(504, "connect-timeout"), 14);
    assert_int_equal(grpc_status_of(429, "rate-limited"), 14);
    assert_int_equal(grpc_status_of(502, "closed-early"), 14);
    assert_int_equal(grpc_status_of(503, "drain-deadline"), 14);
    assert_int_equal(grpc_status_of(400, "bad-target"), 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_types_of_grpc_itself_are_its),
        cmocka_unit_test(they_rest_behind_each_message_however_the_bytes_come),
        cmocka_unit_test(what_comes_is_taken_up_to_the_next_rest),
        cmocka_unit_test(a_length_has_four_bytes),
        cmocka_unit_test(each_status_stands_for_one_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
