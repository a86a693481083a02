/* terminal: lines for a person, with colour and a line of progress only where that person can see them. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_FAINT };

struct terminal {
    FILE *out;
    bool colour;
    bool live;    /* shows progress */
    bool pending; /* a line of progress stands there */
    size_t width; /* columns; 0: there is no such limit, since it is no terminal */
};

/* Looks at the stream and at NO_COLOR and TERM. */
struct terminal terminal_open(FILE *out);

/* A line; the line end is added. Control characters in it are shown as "?". */
void terminal_line(struct terminal *terminal, enum tone tone, const char *format, ...) PRINTF_LIKE(3, 4);

/* A text of several lines, each behind `indent`. Nothing for an empty one. */
void terminal_block(struct terminal *terminal, const char *indent, const char *text);

/* A paragraph, each line behind `indent`: broken between words where the terminal ends. */
void terminal_text(struct terminal *terminal, enum tone tone, const char *indent, const char *text);

/* Replaces the line of progress. Cut at 79 columns. */
void terminal_progress(struct terminal *terminal, const char *format, ...) PRINTF_LIKE(2, 3);
/* Takes it away. */
void terminal_settle(struct terminal *terminal);
