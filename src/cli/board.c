/* Rows are instances and columns are uptests, both in the order in which they were first heard of. */
#include "cli/board.h"

#include "base/mem.h"
#include "cli/fields.h"

#include <stdlib.h>
#include <string.h>

#define CELL_WIDTH 8      /* "waiting", "passed", "failed", "12.3 s" */
#define CELL_WIDTH_MAX 20 /* for long names of uptests */
#define INSTANCE_WIDTH 26 /* longer addresses are cut in front: their ends tell them apart */
#define BAR_WIDTH 20
#define BAR_FULL "####################"
#define BAR_EMPTY "...................."

enum cell_state { CELL_WAITING, CELL_RUNNING, CELL_PASSED, CELL_FAILED };

static const struct {
    const char *state; /* as the API calls it */
    char mark;
    enum tone tone;
} cells[] = {
    [CELL_WAITING] = {"waiting", '.', TONE_FAINT},
    [CELL_RUNNING] = {"running", '>', TONE_PLAIN},
    [CELL_PASSED] = {"passed", '+', TONE_GOOD},
    [CELL_FAILED] = {"failed", 'x', TONE_BAD},
};

struct cell {
    enum cell_state state;
    uint64_t begun_ms; /* RUNNING */
};

struct names {
    char **names;
    size_t count;
};

struct board {
    struct names instances, uptests;
    struct cell *matrix; /* instances.count rows of uptests.count cells */
    json_t *watched;     /* or NULL */
    char *draining;      /* name of the pool that drains, or NULL */
    int64_t in_flight, most_in_flight;
    json_t *classes; /* of those in flight */
};

struct board *board_new(void)
{
    return mem_zero(1, sizeof(struct board));
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
}

void board_free(struct board *board)
{
    if (board == NULL)
        return;
    names_free(&board->instances);
    names_free(&board->uptests);
    json_decref(board->watched);
    json_decref(board->classes);
    free(board->draining);
    free(board->matrix);
    free(board);
}

/* ---- the matrix ---- */

/* Its place, where it is known; else the count. */
static size_t names_find(const struct names *names, const char *name)
{
    size_t i = 0;
    while (i < names->count && strcmp(names->names[i], name) != 0)
        i++;
    return i;
}

static size_t names_take(struct names *names, const char *name)
{
    size_t at = names_find(names, name);
    if (at < names->count)
        return at;
    names->names = mem_resize(names->names, names->count + 1, sizeof *names->names);
    names->names[names->count++] = mem_dup(name);
    return at;
}

static void make_room(struct board *board, size_t rows, size_t columns)
{
    struct cell *matrix = mem_zero(board->instances.count * board->uptests.count, sizeof *matrix);
    for (size_t row = 0; row < rows && columns > 0; row++)
        memcpy(&matrix[row * board->uptests.count], &board->matrix[row * columns], columns * sizeof *matrix);
    free(board->matrix);
    board->matrix = matrix;
}

static struct cell *cell_of(struct board *board, const json_t *object)
{
    size_t rows = board->instances.count, columns = board->uptests.count;
    size_t row = names_take(&board->instances, field_text(object, "instance", "?"));
    size_t column = names_take(&board->uptests, field_text(object, "uptest", "?"));
    if (board->instances.count != rows || board->uptests.count != columns)
        make_room(board, rows, columns);
    return &board->matrix[row * board->uptests.count + column];
}

static bool is_known(const struct board *board, const json_t *event)
{
    return names_find(&board->instances, field_text(event, "instance", "?")) < board->instances.count &&
           names_find(&board->uptests, field_text(event, "uptest", "?")) < board->uptests.count;
}

bool board_take_event(struct board *board, const json_t *event, uint64_t now_ms)
{
    bool started = field_is(event, "type", "uptest.started");
    if (!started && !field_is(event, "type", "uptest.finished"))
        return false;
    bool is_new = !is_known(board, event);
    struct cell *cell = cell_of(board, event);
    enum cell_state ended = field_true(event, "passed") ? CELL_PASSED : CELL_FAILED;
    *cell = (struct cell){started ? CELL_RUNNING : ended, now_ms};
    return is_new;
}

/* What an event has told already is newer or the same. */
void board_take_deployment(struct board *board, const json_t *deployment, uint64_t now_ms)
{
    size_t i;
    const json_t *item;
    json_array_foreach (json_object_get(json_object_get(deployment, "gate"), "cells"), i, item) {
        struct cell *cell = cell_of(board, item);
        for (unsigned state = CELL_RUNNING; state <= CELL_FAILED && cell->state == CELL_WAITING; state++) {
            if (field_is(item, "state", cells[state].state))
                *cell = (struct cell){(enum cell_state)state, now_ms};
        }
    }
}

bool board_has_gate(const struct board *board)
{
    return board->matrix != NULL;
}

static const char *tail(const char *text, size_t most)
{
    size_t n = strlen(text);
    return n > most ? text + n - most : text;
}

static size_t width_of(const struct names *names, size_t least, size_t most)
{
    size_t width = least;
    for (size_t i = 0; i < names->count; i++) {
        size_t n = strlen(names->names[i]);
        width = n > width ? n : width;
    }
    return width < most ? width : most;
}

static void draw_cell(const struct cell *cell, struct screen *screen, uint64_t now_ms)
{
    if (cell->state == CELL_RUNNING)
        screen_add(screen, TONE_PLAIN, "%.1f s", (double)(now_ms - cell->begun_ms) / 1000);
    else
        screen_add(screen, cells[cell->state].tone, "%s", cells[cell->state].state);
}

static void draw_wide(const struct board *board, struct screen *screen, size_t left, size_t width,
                      uint64_t now_ms)
{
    size_t columns = board->uptests.count;
    for (size_t column = 0; column < columns; column++) {
        screen_column(screen, left + column * (width + 1));
        screen_add(screen, TONE_FAINT, "%.*s", (int)width, board->uptests.names[column]);
    }
    screen_end_line(screen);
    for (size_t row = 0; row < board->instances.count; row++) {
        screen_add(screen, TONE_PLAIN, "  %s", tail(board->instances.names[row], INSTANCE_WIDTH));
        for (size_t column = 0; column < columns; column++) {
            screen_column(screen, left + column * (width + 1));
            draw_cell(&board->matrix[row * columns + column], screen, now_ms);
        }
        screen_end_line(screen);
    }
}

/* What runs on an instance, and how many have ended: for suites that are too broad for a column each. */
static void draw_progress(const struct board *board, size_t row, struct screen *screen, uint64_t now_ms)
{
    size_t columns = board->uptests.count, ended = 0;
    const struct cell *cell = &board->matrix[row * columns];
    for (size_t column = 0; column < columns; column++)
        ended += cell[column].state >= CELL_PASSED;
    screen_add(screen, TONE_PLAIN, " %zu/%zu", ended, columns);
    for (size_t column = 0; column < columns; column++) {
        if (cell[column].state == CELL_RUNNING) {
            screen_add(screen, TONE_PLAIN, " %s ", board->uptests.names[column]);
            draw_cell(&cell[column], screen, now_ms);
        }
    }
}

static void draw_narrow(const struct board *board, struct screen *screen, size_t left, uint64_t now_ms)
{
    size_t columns = board->uptests.count;
    for (size_t row = 0; row < board->instances.count; row++) {
        screen_add(screen, TONE_PLAIN, "  %s", tail(board->instances.names[row], INSTANCE_WIDTH));
        screen_column(screen, left);
        for (size_t column = 0; column < columns; column++) {
            const struct cell *cell = &board->matrix[row * columns + column];
            screen_add(screen, cells[cell->state].tone, "%c", cells[cell->state].mark);
        }
        draw_progress(board, row, screen, now_ms);
        screen_end_line(screen);
    }
}

void board_draw_gate(const struct board *board, struct screen *screen, uint64_t now_ms)
{
    size_t left = width_of(&board->instances, 1, INSTANCE_WIDTH) + 4, count = board->uptests.count;
    size_t room = screen->width > left && count > 0 ? (screen->width - left) / count : 0;
    size_t width = width_of(&board->uptests, CELL_WIDTH, CELL_WIDTH_MAX);
    if (room > CELL_WIDTH)
        draw_wide(board, screen, left, room - 1 < width ? room - 1 : width, now_ms);
    else
        draw_narrow(board, screen, left, now_ms);
}

/* ---- the watch and the drain ---- */

static void take_draining(struct board *board, const json_t *pool)
{
    int64_t in_flight = field_number(pool, "in_flight", 0);
    if (board->draining == NULL)
        board->draining = mem_dup(field_text(pool, "deployment", "?"));
    board->in_flight = in_flight;
    board->most_in_flight = in_flight > board->most_in_flight ? in_flight : board->most_in_flight;
    board->classes = json_incref(json_object_get(pool, "in_flight_by_class"));
}

static void forget(struct board *board)
{
    free(board->draining);
    json_decref(board->classes);
    json_decref(board->watched);
    board->draining = NULL;
    board->classes = board->watched = NULL;
}

void board_take_service(struct board *board, const json_t *service, const char *replaces)
{
    size_t i;
    const json_t *pool, *watched = json_object_get(json_object_get(service, "deployment"), "watched");
    forget(board);
    board->watched = json_is_object(watched) ? json_incref((json_t *)watched) : NULL;
    json_array_foreach (json_object_get(service, "pools"), i, pool) {
        if (replaces != NULL && field_is(pool, "state", "draining") && field_is(pool, "deployment", replaces))
            take_draining(board, pool);
    }
}

static void draw_bar(struct screen *screen, double share)
{
    int full = (int)(share * BAR_WIDTH + 0.5);
    full = full < 0 ? 0 : full > BAR_WIDTH ? BAR_WIDTH : full;
    screen_add(screen, TONE_PLAIN, "[%.*s%.*s]", full, BAR_FULL, BAR_WIDTH - full, BAR_EMPTY);
}

/* A row of the table of both pools. */
static void draw_side(struct screen *screen, const char *which, int64_t requests, double share, double p99)
{
    screen_add(screen, TONE_PLAIN, "  %-8s %10lld requests %8.2f%% errors", which, (long long)requests,
               share * 100);
    if (p99 > 0)
        screen_add(screen, TONE_PLAIN, "   p99 %.3g ms", p99 * 1000);
    screen_end_line(screen);
}

void board_draw_watch(const struct board *board, struct screen *screen)
{
    const json_t *watched = board->watched, *errors = json_object_get(watched, "errors");
    double seconds = field_real(watched, "seconds"), whole = seconds + field_real(watched, "left");
    int64_t before = field_number(watched, "requests_before", 0);
    if (watched == NULL)
        return;
    screen_add(screen, TONE_PLAIN, "  watch    ");
    draw_bar(screen, whole > 0 ? seconds / whole : 1);
    screen_add(screen, TONE_PLAIN, " %.0f of %.0f s", seconds, whole);
    screen_end_line(screen);
    draw_side(screen, "new pool", field_number(watched, "requests", 0), field_real(errors, "share"),
              field_real(watched, "p99"));
    if (before > 0)
        draw_side(screen, "old pool", before, field_real(watched, "errors_before") / (double)before,
                  field_real(watched, "p99_before"));
}

void board_draw_drain(const struct board *board, struct screen *screen)
{
    const char *class;
    json_t *count;
    const char *separator = ": ";
    if (board->draining == NULL)
        return;
    screen_add(screen, TONE_PLAIN, "  drain    ");
    draw_bar(screen,
             board->most_in_flight == 0 ? 1 : 1 - (double)board->in_flight / (double)board->most_in_flight);
    screen_add(screen, TONE_PLAIN, " %s: %lld in flight", board->draining, (long long)board->in_flight);
    json_object_foreach (board->classes, class, count) {
        if (json_integer_value(count) > 0)
            screen_add(screen, TONE_PLAIN, "%s%lld %s", separator, (long long)json_integer_value(count),
                       class);
        separator = json_integer_value(count) > 0 ? ", " : separator;
    }
    screen_end_line(screen);
}
