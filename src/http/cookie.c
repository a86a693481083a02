/* Cookies are only looked at, so nothing in them is refused. */
#include "http/cookie.h"

#include "http/head.h"

static struct str trim(struct str text)
{
    while (text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t'))
        text = (struct str){text.p + 1, text.n - 1};
    while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
        text.n--;
    return text;
}

bool http_cookie_next(struct str *rest, struct http_cookie *cookie)
{
    struct str pair;
    if (!str_split(rest, ';', &pair))
        return false;
    struct str value = pair, name;
    (void)str_split(&value, '=', &name);
    bool has_name = value.p != NULL;
    cookie->name = has_name ? trim(name) : STR("");
    cookie->value = trim(has_name ? value : pair);
    cookie->pair = trim(pair);
    return true;
}

struct http_cookies http_cookies_named(const struct http_fields *fields, struct str name)
{
    return (struct http_cookies){fields, name, http_fields_find(fields, HTTP_FIELD_COOKIE), {NULL, 0}};
}

bool http_cookies_next(struct http_cookies *walk, struct str *value)
{
    struct http_cookie cookie;
    for (;;) {
        while (http_cookie_next(&walk->rest, &cookie)) {
            if (str_equal(cookie.name, walk->name)) {
                *value = cookie.value;
                return true;
            }
        }
        if (walk->line == NULL)
            return false;
        walk->rest = walk->line->value;
        walk->line = http_fields_next(walk->fields, walk->line);
    }
}

bool http_cookie_find(const struct http_fields *fields, struct str name, struct str *value)
{
    struct http_cookies walk = http_cookies_named(fields, name);
    return http_cookies_next(&walk, value);
}

bool http_cookie_is_name(struct str name)
{
    return is_all_class(name, CLASS_TOKEN);
}
