#include "http/template.h"

/* "%{name}" at the beginning of the text? */
static const struct http_variable *variable_at(struct str text, const struct http_variable *variables)
{
    if (text.n < 4 || text.p[1] != '{')
        return NULL;
    for (; variables != NULL && variables->name.n > 0; variables++) {
        size_t n = variables->name.n;
        if (text.n >= n + 3 && text.p[n + 2] == '}' && memcmp(text.p + 2, variables->name.p, n) == 0)
            return variables;
    }
    return NULL;
}

static struct str take(struct str *rest, size_t count)
{
    struct str taken = {rest->p, count};
    rest->p += count;
    rest->n -= count;
    return taken;
}

bool template_next(struct str *rest, const struct http_variable *variables, struct str *piece)
{
    if (rest->n == 0)
        return false;
    if (rest->p[0] != '%') {
        const char *mark = memchr(rest->p, '%', rest->n);
        *piece = take(rest, mark != NULL ? (size_t)(mark - rest->p) : rest->n);
        return true;
    }
    const struct http_variable *variable = variable_at(*rest, variables);
    if (variable == NULL) {
        *piece = take(rest, 1);
    } else {
        take(rest, variable->name.n + 3);
        *piece = variable->value;
    }
    return true;
}

void template_put(struct out *out, struct str text, const struct http_variable *variables)
{
    struct str piece;
    while (template_next(&text, variables, &piece))
        out_put(out, piece);
}

size_t template_size(struct str text, const struct http_variable *variables)
{
    struct str piece;
    size_t size = 0;
    while (template_next(&text, variables, &piece))
        size += piece.n;
    return size;
}
