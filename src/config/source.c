#include "config/source.h"

#include <errno.h>
#include <stdlib.h>

#define SOURCE_MAX (64U << 20)

struct cursor {
    const char *at, *end;
    unsigned line;
    unsigned refused; /* by libconfig: this line; 0: it has not been asked yet */
    char last;        /* what stood last begins so, blanks and comments aside */
    char before;      /* the same of what stood before the last text, or before its first piece */
};

bool source_read(FILE *file, const char *path, struct buf *text, struct err *err)
{
    size_t n;
    do {
        n = fread(buf_reserve(text, 65536), 1, 65536, file);
        text->n += n;
    } while (n > 0 && text->n <= SOURCE_MAX);
    if (ferror(file))
        return err_set(err, "%s: cannot be read: %s", path, strerror(errno));
    if (text->n > SOURCE_MAX)
        return err_set(err, "%s: more than %u MiB are no config", path, SOURCE_MAX >> 20);
    if (text->n > 0 && text->p[text->n - 1] != '\n')
        buf_add(text, "\n", 1); /* libconfig takes no comment for one without the end of its line */
    buf_add(text, "", 0);
    return true;
}

static bool ahead(const struct cursor *cursor, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(cursor->end - cursor->at) >= n && memcmp(cursor->at, word, n) == 0;
}

static void step(struct cursor *cursor)
{
    if (*cursor->at++ == '\n')
        cursor->line++;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_line(struct cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at != '\n')
        step(cursor);
}

/* libconfig takes the end of the file for the comment's, and so would drop all that stands behind it. */
static bool skip_comment(struct cursor *cursor, struct err *err)
{
    unsigned opened = cursor->line;
    cursor->at += strlen("/*");
    while (cursor->at < cursor->end && !ahead(cursor, "*/"))
        step(cursor);
    if (cursor->at == cursor->end) {
        cursor->line = opened;
        return err_set(
            err, "the comment that opens here is not closed; write */ where it ends, or take the /* out");
    }
    cursor->at += strlen("*/");
    return true;
}

/* libconfig joins texts that stand one behind the other. That is for a long one, written in pieces; in a list
 * it is two items of which the comma was forgotten. */
static bool check_comma(struct cursor *cursor, struct err *err)
{
    if (cursor->last != '"')
        cursor->before = cursor->last;
    else if (strchr("[(,", cursor->before) != NULL)
        return err_set(err, "there is no comma between this text and the one before; write it");
    return true;
}

/* A missing quote is told here, on its own line: libconfig would go on to the next quote in the file. */
static bool check_text(struct cursor *cursor, struct err *err)
{
    for (step(cursor); cursor->at < cursor->end && *cursor->at != '"' && *cursor->at != '\n'; step(cursor)) {
        if (ahead(cursor, "\\x00"))
            return err_set(err, "a text cannot hold a NUL byte; take the \\x00 out");
        if (*cursor->at == '\\' && cursor->at + 1 < cursor->end && cursor->at[1] != '\n')
            step(cursor);
    }
    if (cursor->at == cursor->end || *cursor->at != '"')
        return err_set(err,
                       "a text is not closed on its line; write the missing quote, or \\n for a line end");
    step(cursor);
    return true;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '*' || c == '-' || c == '.';
}

/* libconfig reads a number as 32 bits with a sign unless an L follows. The text ends with a NUL, so strtoull
 * stays inside. */
static bool number_fits(struct str word)
{
    bool is_long = word.p[word.n - 1] == 'L';
    bool is_hex = str_starts_with(word, STR("0x")) || str_starts_with(word, STR("0X"));
    errno = 0;
    unsigned long long value = strtoull(word.p, NULL, is_hex ? 16 : 10);
    return errno == 0 && value <= (is_long ? INT64_MAX : INT32_MAX);
}

static bool check_word(struct cursor *cursor, struct err *err)
{
    struct str word = {cursor->at, 0};
    while (cursor->at < cursor->end && is_word(*cursor->at))
        step(cursor);
    word.n = (size_t)(cursor->at - word.p);
    if (word.p[0] >= '0' && word.p[0] <= '9' && !number_fits(word))
        return err_set(
            err, "the number %.*s is too large to be read; write an L behind it, or a size such as \"10g\"",
            STR_ARG(word));
    return true;
}

/* What is never right behind what stood last, or, as a comma behind the last item, not with each libconfig;
 * it would say no more than that something is wrong. */
static bool check_order(const struct cursor *cursor, char first, struct err *err)
{
    if (cursor->last == '[' && first == '{')
        return err_set(err, "groups stand in a list; write ( ) around them in place of [ ]");
    if (cursor->line == cursor->refused && cursor->last == ',' && (first == ')' || first == ']'))
        return err_set(err, "nothing stands between a comma and this %c; take the comma out", first);
    if (cursor->last == '"' && (first == '=' || first == ':'))
        return err_set(err, "the name before this %c is in quotes; write it without", first);
    return true;
}

static bool check_token(struct cursor *cursor, struct err *err)
{
    char first = *cursor->at;
    if (!check_order(cursor, first, err))
        return false;
    if (first == '"' && !check_comma(cursor, err))
        return false;
    cursor->last = first;
    if (first == '"')
        return check_text(cursor, err);
    if (first != '-' && is_word(first))
        return check_word(cursor, err);
    step(cursor);
    return true;
}

static bool check_next(struct cursor *cursor, struct err *err)
{
    if (*cursor->at == '\0')
        return err_set(err, "there is a NUL byte; a config is a text file");
    if (ahead(cursor, "@include"))
        return err_set(err, "\"@include\" is not in this version of upswap; write the config as one file");
    if (ahead(cursor, "/*"))
        return skip_comment(cursor, err);
    if (*cursor->at == '#' || ahead(cursor, "//"))
        skip_line(cursor);
    else if (is_blank(*cursor->at))
        step(cursor);
    else
        return check_token(cursor, err);
    return true;
}

static bool look_through(struct str text, const char *path, unsigned refused, struct err *err)
{
    struct cursor cursor = {.at = text.p, .end = text.p + text.n, .line = 1, .refused = refused, .last = ';'};
    while (cursor.at < cursor.end) {
        if (!check_next(&cursor, err))
            return err_prefix(err, "%s:%u", path, cursor.line);
    }
    return true;
}

bool source_check(struct str text, const char *path, struct err *err)
{
    if (str_starts_with(text, STR("\xef\xbb\xbf")))
        return err_set(err, "%s:1: the file begins with a byte order mark; write it without one", path);
    return look_through(text, path, 0, err);
}

bool source_explain(struct str text, const char *path, unsigned line, struct err *err)
{
    return !look_through(text, path, line, err);
}
