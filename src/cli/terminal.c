/* Texts from uptests and from the daemon's peers end up here; a control character in them could rewrite what
 * the person sees, so none is passed on. */
#include "cli/terminal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_USUAL 80
#define COLUMNS_LEAST 20 /* narrower than that is as good as unknown */
#define LINES_USUAL 24
#define LINES_LEAST 4

static const char *const colours[] = {
    [TONE_PLAIN] = "",
    [TONE_GOOD] = "\033[32m",
    [TONE_BAD] = "\033[31m",
    [TONE_FAINT] = "\033[2m",
};

void terminal_measure(struct terminal *terminal)
{
    struct winsize size = {.ws_col = 0};
    if (!terminal->live)
        return;
    bool told = ioctl(fileno(terminal->out), TIOCGWINSZ, &size) == 0;
    terminal->width = told && size.ws_col >= COLUMNS_LEAST ? size.ws_col : COLUMNS_USUAL;
    terminal->height = told && size.ws_row >= LINES_LEAST ? size.ws_row : LINES_USUAL;
}

struct terminal terminal_open(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR"), *type = getenv("TERM");
    bool is_terminal = isatty(fileno(out)) == 1;
    bool is_able = is_terminal && type != NULL && strcmp(type, "dumb") != 0;
    struct terminal terminal = {
        .out = out,
        .colour = is_able && (no_colour == NULL || no_colour[0] == '\0'),
        .live = is_able,
    };
    terminal_measure(&terminal);
    return terminal;
}

void terminal_erase(struct terminal *terminal)
{
    if (terminal->pending > 1)
        fprintf(terminal->out, "\r\033[%zuA\033[J", terminal->pending - 1);
    else if (terminal->pending == 1)
        fputs("\r\033[K", terminal->out);
    terminal->pending = 0;
}

void terminal_settle(struct terminal *terminal)
{
    if (terminal->pending == 0)
        return;
    terminal_erase(terminal);
    fflush(terminal->out); /* what is written to stderr next is not to be wiped out */
}

const char *terminal_colour(enum tone tone)
{
    return colours[tone];
}

bool terminal_is_control(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.p[at];
    unsigned char next = (unsigned char)(at + 1 < text.n ? text.p[at + 1] : 0);
    return (c < 0x20 && c != '\t') || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

struct buf terminal_clean(struct str text)
{
    struct buf out = BUF_EMPTY;
    for (size_t i = 0; i < text.n; i++) {
        bool control = terminal_is_control(text, i);
        buf_add(&out, control ? "?" : text.p + i, 1);
        if (control && (unsigned char)text.p[i] == 0xc2)
            i++;
    }
    return out;
}

static void put(const struct terminal *terminal, struct str text)
{
    struct buf clean = terminal_clean(text);
    if (clean.n > 0)
        fwrite(clean.p, 1, clean.n, terminal->out);
    buf_free(&clean);
}

static void put_line(struct terminal *terminal, enum tone tone, struct str text)
{
    while (text.n > 0 && text.p[text.n - 1] == ' ')
        text.n--;
    bool coloured = terminal->colour && tone != TONE_PLAIN;
    if (coloured)
        fputs(colours[tone], terminal->out);
    put(terminal, text);
    fputs(coloured ? "\033[0m\n" : "\n", terminal->out);
}

void terminal_line(struct terminal *terminal, enum tone tone, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = mem_vprintf(format, args);
    va_end(args);
    terminal_settle(terminal);
    put_line(terminal, tone, str_of(text));
    fflush(terminal->out);
    free(text);
}

void terminal_block(struct terminal *terminal, const char *indent, const char *text)
{
    struct str rest = str_trim(str_of(text)), line;
    if (rest.n == 0)
        return;
    while (str_split(&rest, '\n', &line)) {
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        terminal_line(terminal, TONE_PLAIN, "%s%.*s", indent, STR_ARG(line));
    }
}

/* How many bytes of it stand in so many columns: up to the end of its line, or the last space that does, or
 * the first one after. A byte is taken for a column: what has others than ASCII is broken sooner. */
static size_t fitting(struct str text, size_t columns)
{
    size_t at = 0;
    const char *end = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
    size_t line = end != NULL ? (size_t)(end - text.p) : text.n;
    if (line <= columns)
        return line;
    for (size_t i = 1; i < line && (i <= columns || at == 0); i++) {
        if (text.p[i] == ' ')
            at = i;
    }
    return at > 0 ? at : line;
}

/* Its first line stands behind `first`, the others behind as many spaces. */
static void put_paragraph(struct terminal *terminal, enum tone tone, const char *first, struct str text)
{
    size_t margin = strlen(first), columns = terminal->width > margin ? terminal->width - margin : SIZE_MAX;
    struct str rest = str_trim(text);
    do {
        size_t n = fitting(rest, columns);
        terminal_line(terminal, tone, "%*s%.*s", (int)margin, first, (int)n, rest.p);
        rest = str_trim((struct str){rest.p + n, rest.n - n});
        first = "";
    } while (rest.n > 0);
}

void terminal_text(struct terminal *terminal, enum tone tone, const char *indent, const char *text)
{
    if (str_trim(str_of(text)).n > 0)
        put_paragraph(terminal, tone, indent, str_of(text));
}

void terminal_entry(struct terminal *terminal, enum tone tone, const char *label, const char *text)
{
    put_paragraph(terminal, tone, label, str_of(text));
}
