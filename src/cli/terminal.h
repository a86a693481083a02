/* terminal: lines for a person, with colour and a line of progress only where that person can see them. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_FAINT };

struct terminal {
    FILE *out;
    bool colour;
    bool live;            /* shows progress */
    size_t pending;       /* lines of progress that stand there */
    size_t width, height; /* columns and lines; 0: there is no such limit, since it is no terminal */
};

/* Looks at the stream and at NO_COLOR and TERM. */
struct terminal terminal_open(FILE *out);

/* Takes up a change of its size. */
void terminal_measure(struct terminal *terminal);

/* A line; the line end is added. Control characters in it are shown as "?". */
void terminal_line(struct terminal *terminal, enum tone tone, const char *format, ...) PRINTF_LIKE(3, 4);

/* A text of several lines, each behind `indent`. Nothing for an empty one. */
void terminal_block(struct terminal *terminal, const char *indent, const char *text);

/* A paragraph, or several, each line behind `indent`: broken between words where the terminal ends. */
void terminal_text(struct terminal *terminal, enum tone tone, const char *indent, const char *text);

/* The same behind a label of so many columns, also where the text is empty: it stands in the first line only.
 */
void terminal_entry(struct terminal *terminal, enum tone tone, const char *label, const char *text);

/* What turns the tone on; "" for the plain one. */
const char *terminal_colour(enum tone tone);
/* Is there a control character, of one byte or (U+0080 to U+009F) of two? */
bool terminal_is_control(struct str text, size_t at);
/* The text with "?" in the place of each. To be freed. */
struct buf terminal_clean(struct str text);

/* Takes away what terminal_draw (screen.h) has shown. */
void terminal_settle(struct terminal *terminal);
/* The same together with what is written next, so that nothing flickers. */
void terminal_erase(struct terminal *terminal);
