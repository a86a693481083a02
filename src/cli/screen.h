/* screen: lines of toned words, cut to the width that a person's terminal has. What is added is shown as it
 * is but for control characters, which become "?". */
#pragma once

#include "base/buf.h"
#include "cli/terminal.h"

struct screen {
    size_t width, height; /* columns and lines that it may have */
    bool colour;
    struct buf text;
    size_t lines; /* that have ended */
    size_t column;
    size_t left_out; /* lines beyond the height */
};

/* One that fills the terminal, or 80 columns where there is none. Free with screen_free. */
struct screen screen_new(const struct terminal *terminal);
void screen_free(struct screen *screen);

/* Words behind those that the line has already. */
void screen_add(struct screen *screen, enum tone tone, const char *format, ...) PRINTF_LIKE(3, 4);
/* Spaces up to this column; at least one, unless the line is empty. */
void screen_column(struct screen *screen, size_t column);
void screen_end_line(struct screen *screen);

/* Shows it in place of what the last terminal_draw has shown, until a line or terminal_settle takes it away.
 * Of a terminal that is live only. */
void terminal_draw(struct terminal *terminal, const struct screen *screen);
/* Shows it for good. */
void terminal_keep(struct terminal *terminal, const struct screen *screen);
