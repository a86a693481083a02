/* Options may stand behind spaces as behind commas. Whatever else is printed is refused, not skipped: a line
 * that was meant as an instance must not be missing. */
#include "control/roster.h"

#include "base/address.h"
#include "base/mem.h"

#include <stdlib.h>

#define LINE_MAX 1024 /* bytes */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The line with one comma for each run of blanks. */
static char *joined(struct str line)
{
    char *text = mem_alloc(line.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < line.n; i++) {
        if (!is_blank(line.p[i]))
            text[n++] = line.p[i];
        else if (text[n - 1] != ',')
            text[n++] = ',';
    }
    text[n] = '\0';
    return text;
}

static bool take_instance(const char *text, roster_each *each, void *arg, struct err *err)
{
    struct endpoint endpoint;
    struct address address;
    return endpoint_parse(str_of(text), &endpoint, err) &&
           address_parse_instance(endpoint.address, &address, err) && each(arg, &endpoint, err);
}

static bool take_line(struct roster *roster, struct str line, roster_each *each, void *arg, struct err *err)
{
    line = str_trim(line);
    roster->lines++;
    if (line.n == 0)
        return true;
    bool is_text = line.n <= LINE_MAX && memchr(line.p, '\0', line.n) == NULL;
    char *text = joined(is_text ? line : STR(""));
    bool ok = is_text ? take_instance(text, each, arg, err) : err_set(err, "it is too long, or no text");
    free(text);
    return ok || err_prefix(err, "line %zu of its stdout, \"%.*s\"", roster->lines,
                            (int)(line.n < 100 ? line.n : 100), line.p);
}

bool roster_take(struct roster *roster, struct str bytes, roster_each *each, void *arg, struct err *err)
{
    buf_add_str(&roster->line, bytes);
    for (;;) {
        const char *end = roster->line.n == 0 ? NULL : memchr(roster->line.p, '\n', roster->line.n);
        if (end == NULL)
            return roster->line.n <= LINE_MAX || roster_end(roster, each, arg, err);
        size_t size = (size_t)(end - roster->line.p);
        if (!take_line(roster, (struct str){roster->line.p, size}, each, arg, err))
            return false;
        buf_drop(&roster->line, size + 1);
    }
}

bool roster_end(struct roster *roster, roster_each *each, void *arg, struct err *err)
{
    return roster->line.n == 0 || take_line(roster, buf_str(&roster->line), each, arg, err);
}

void roster_free(struct roster *roster)
{
    buf_free(&roster->line);
}
