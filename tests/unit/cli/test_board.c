/* What a person sees of a deployment while it runs: the matrix, the watch and the drain, at any width. */
#include "cli/board.h"

#include "unit.h"

#include <stdlib.h>

static const struct terminal wide = {.width = 81}, narrow = {.width = 41};

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static bool take(struct board *board, const char *event, uint64_t now_ms)
{
    json_t *json = parse(event);
    bool is_new = board_take_event(board, json, now_ms);
    json_decref(json);
    return is_new;
}

static void take_service(struct board *board, const char *service, const char *replaces)
{
    json_t *json = parse(service);
    board_take_service(board, json, replaces);
    json_decref(json);
}

static void assert_screen(struct screen *screen, const char *expected)
{
    assert_string_equal(screen->text.n > 0 ? screen->text.p : "", expected);
    screen_free(screen);
}

/* Of two instances and two uptests, of which some have begun by events. */
static struct board *half_way(void)
{
    struct board *board = board_new();
    json_t *deployment = parse("{\"gate\":{\"cells\":["
                               "{\"instance\":\"h:1\",\"uptest\":\"01_alive\",\"state\":\"running\"},"
                               "{\"instance\":\"h:1\",\"uptest\":\"02_login\",\"state\":\"waiting\"},"
                               "{\"instance\":\"h:2\",\"uptest\":\"01_alive\",\"state\":\"waiting\"},"
                               "{\"instance\":\"h:2\",\"uptest\":\"02_login\",\"state\":\"waiting\"}]}}");
    board_take_deployment(board, deployment, 1000);
    assert_false(take(board,
                      "{\"type\":\"uptest.finished\",\"instance\":\"h:1\",\"uptest\":\"01_alive\","
                      "\"passed\":true}",
                      1500));
    assert_false(
        take(board, "{\"type\":\"uptest.started\",\"instance\":\"h:1\",\"uptest\":\"02_login\"}", 1500));
    assert_false(take(board,
                      "{\"type\":\"uptest.finished\",\"instance\":\"h:2\",\"uptest\":\"01_alive\","
                      "\"passed\":false}",
                      1600));
    board_take_deployment(board, deployment, 1700); /* older than the events: takes nothing back */
    json_decref(deployment);
    return board;
}

static void the_matrix_has_a_row_an_instance_and_a_column_an_uptest(void **state)
{
    (void)state;
    struct board *board = half_way();
    struct screen screen = screen_new(&wide);
    board_draw_gate(board, &screen, 2750);
    assert_screen(&screen, "       01_alive 02_login\n"
                           "  h:1  passed   1.2 s\n"
                           "  h:2  failed   waiting\n");
    board_free(board);
}

static void a_suite_that_is_too_broad_has_a_mark_an_uptest(void **state)
{
    (void)state;
    struct board *board = half_way();
    assert_true(
        take(board, "{\"type\":\"uptest.started\",\"instance\":\"h:2\",\"uptest\":\"03_orders\"}", 2000));
    struct screen screen = screen_new(&(struct terminal){.width = 30});
    board_draw_gate(board, &screen, 2750);
    assert_screen(&screen, "  h:1  +>. 1/3 02_login 1.2 s\n"
                           "  h:2  x.> 1/3 03_orders 0.8 \n");
    board_free(board);
}

static void a_matrix_that_is_higher_than_the_terminal_is_cut_below(void **state)
{
    (void)state;
    struct board *board = half_way();
    struct screen screen = screen_new(&(struct terminal){.width = 81, .height = 3});
    board_draw_gate(board, &screen, 2750);
    assert_int_equal(screen.left_out, 1);
    assert_screen(&screen, "       01_alive 02_login\n  h:1  passed   1.2 s\n");
    board_free(board);
}

static void tones_are_colours_only_where_they_are_wanted(void **state)
{
    (void)state;
    struct board *board = half_way();
    struct screen screen = screen_new(&(struct terminal){.width = 81, .colour = true});
    board_draw_gate(board, &screen, 2750);
    assert_non_null(strstr(screen.text.p, "\033[32mpassed\033[0m   1.2 s\n"));
    assert_non_null(strstr(screen.text.p, "\033[31mfailed\033[0m   \033[2mwaiting\033[0m\n"));
    screen_free(&screen);
    board_free(board);
}

static void nothing_that_a_name_contains_moves_the_cursor_or_wraps(void **state)
{
    (void)state;
    struct screen screen = screen_new(&(struct terminal){.width = 21});
    screen_add(&screen, TONE_PLAIN, "%s", "a\033[2J\n\xc2\x9b \xc3\xa9");
    screen_add(&screen, TONE_PLAIN, "%s", "0123456789\xc3\xa9\xc3\xa9");
    screen_end_line(&screen);
    assert_screen(&screen, "a?[2J?? \xc3\xa9"
                           "0123456789\n");
}

static void the_drain_is_a_bar_of_what_was_in_flight_at_most_with_its_classes(void **state)
{
    (void)state;
    struct board *board = board_new();
#define DRAINS(count, classes)                                                                             \
    "{\"pools\":[{\"deployment\":\"web-2\",\"state\":\"live\",\"in_flight\":9},{\"deployment\":\"web-1\"," \
    "\"state\":\"draining\",\"in_flight\":" count ",\"in_flight_by_class\":{" classes "}}]}"
    take_service(board, DRAINS("8", "\"request\":6,\"stream\":0,\"websocket\":2"), "web-1");
    take_service(board, DRAINS("4", "\"request\":2,\"stream\":0,\"websocket\":2"), "web-1");
    struct screen screen = screen_new(&wide);
    board_draw_drain(board, &screen);
    assert_screen(&screen, "  drain    [##########..........] web-1: 4 in flight: 2 request, 2 "
                           "websocket\n");
    take_service(board, DRAINS("0", ""), "web-0"); /* not the one that it replaces */
    screen = screen_new(&wide);
    board_draw_drain(board, &screen);
    assert_screen(&screen, "");
    board_free(board);
}

static void the_watch_shows_errors_and_p99_of_both_pools(void **state)
{
    (void)state;
    struct board *board = board_new();
    take_service(board,
                 "{\"deployment\":{\"watched\":{\"seconds\":15.0,\"left\":45.0,\"requests\":812,"
                 "\"errors\":{\"share\":0.051},\"p99\":0.0123,\"requests_before\":2000,\"errors_before\":2,"
                 "\"p99_before\":0.01}}}",
                 NULL);
    struct screen screen = screen_new(&wide);
    board_draw_watch(board, &screen);
    assert_screen(&screen, "  watch    [#####...............] 15 of 60 s\n"
                           "  new pool        812 requests     5.10% errors   p99 12.3 ms\n"
                           "  old pool       2000 requests     0.10% errors   p99 10 ms\n");
    take_service(board, "{\"deployment\":null}", NULL);
    screen = screen_new(&wide);
    board_draw_watch(board, &screen);
    assert_screen(&screen, "");
    board_free(board);
}

static void what_is_drawn_takes_the_place_of_all_lines_before(void **state)
{
    (void)state;
    char *text;
    size_t size;
    struct terminal terminal = {.out = open_memstream(&text, &size), .live = true, .width = 41};
    struct screen screen = screen_new(&narrow);
    screen_add(&screen, TONE_PLAIN, "a");
    screen_end_line(&screen);
    screen_add(&screen, TONE_PLAIN, "b");
    screen_end_line(&screen);
    terminal_draw(&terminal, &screen);
    terminal_draw(&terminal, &screen);
    terminal_line(&terminal, TONE_PLAIN, "c");
    screen_free(&screen);
    screen_add(&screen, TONE_PLAIN, "d");
    screen.lines = screen.column = 0;
    screen_end_line(&screen);
    terminal_draw(&terminal, &screen);
    terminal_settle(&terminal);
    terminal_settle(&terminal); /* nothing stands there any more */
    fclose(terminal.out);
    assert_string_equal(text, "a\nb\r\033[1A\033[Ja\nb\r\033[1A\033[Jc\nd\r\033[K");
    free(text);
    screen_free(&screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matrix_has_a_row_an_instance_and_a_column_an_uptest),
        cmocka_unit_test(a_suite_that_is_too_broad_has_a_mark_an_uptest),
        cmocka_unit_test(a_matrix_that_is_higher_than_the_terminal_is_cut_below),
        cmocka_unit_test(tones_are_colours_only_where_they_are_wanted),
        cmocka_unit_test(nothing_that_a_name_contains_moves_the_cursor_or_wraps),
        cmocka_unit_test(the_drain_is_a_bar_of_what_was_in_flight_at_most_with_its_classes),
        cmocka_unit_test(the_watch_shows_errors_and_p99_of_both_pools),
        cmocka_unit_test(what_is_drawn_takes_the_place_of_all_lines_before),
    };
    return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
