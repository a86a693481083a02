/* A character beyond ASCII is taken for two columns, since some are: a line may end early, and never wraps,
 * by which the next drawing would miss its place. */
#include "cli/screen.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdlib.h>

#define WIDTH_USUAL 80

struct screen screen_new(const struct terminal *terminal)
{
    return (struct screen){
        .width = terminal->width > 0 ? terminal->width - 1 : WIDTH_USUAL, /* the last column wraps on some */
        .height = terminal->height > 1 ? terminal->height - 1 : SIZE_MAX,
        .colour = terminal->colour,
    };
}

void screen_free(struct screen *screen)
{
    buf_free(&screen->text);
}

/* Is there still room for the line that is being written? */
static bool is_shown(const struct screen *screen)
{
    return screen->lines < screen->height;
}

/* Bytes of the character that begins there. */
static size_t character_size(struct str text, size_t at)
{
    size_t n = 1;
    while (at + n < text.n && ((unsigned char)text.p[at + n] & 0xc0) == 0x80)
        n++;
    return n;
}

static void add_text(struct screen *screen, struct str text)
{
    for (size_t at = 0, n; at < text.n && screen->column < screen->width; at += n) {
        n = character_size(text, at);
        bool ascii = (unsigned char)text.p[at] < 0x80, control = terminal_is_control(text, at);
        size_t columns = ascii || control ? 1 : 2;
        if (screen->column + columns > screen->width) {
            screen->column = screen->width;
            return;
        }
        buf_add_str(&screen->text, control ? STR("?") : (struct str){text.p + at, n});
        screen->column += columns;
    }
}

void screen_add(struct screen *screen, enum tone tone, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = mem_vprintf(format, args);
    va_end(args);
    bool coloured = screen->colour && tone != TONE_PLAIN && is_shown(screen);
    if (coloured)
        buf_add_str(&screen->text, str_of(terminal_colour(tone)));
    if (is_shown(screen))
        add_text(screen, str_of(text));
    if (coloured)
        buf_add_str(&screen->text, STR("\033[0m"));
    free(text);
}

void screen_column(struct screen *screen, size_t column)
{
    if (screen->column > 0)
        screen_add(screen, TONE_PLAIN, " ");
    while (screen->column < column && screen->column < screen->width && is_shown(screen))
        screen_add(screen, TONE_PLAIN, " ");
}

void screen_end_line(struct screen *screen)
{
    if (!is_shown(screen)) {
        screen->left_out++;
        return;
    }
    buf_add_str(&screen->text, STR("\n"));
    screen->lines++;
    screen->column = 0;
}

/* ---- on a terminal ---- */

void terminal_draw(struct terminal *terminal, const struct screen *screen)
{
    size_t n = screen->text.n;
    terminal_erase(terminal);
    if (n > 0) /* the cursor stays in the last line, so that nothing scrolls */
        fwrite(screen->text.p, 1, n - (screen->text.p[n - 1] == '\n'), terminal->out);
    terminal->pending = screen->lines;
    fflush(terminal->out);
}

void terminal_keep(struct terminal *terminal, const struct screen *screen)
{
    terminal_erase(terminal);
    fwrite(screen->text.p, 1, screen->text.n, terminal->out);
    fflush(terminal->out);
}
