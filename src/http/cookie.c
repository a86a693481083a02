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
    return true;
}

bool http_cookie_find(const struct http_fields *fields, struct str name, struct str *value)
{
    if (!(fields->present & HTTP_FIELD_BIT(HTTP_FIELD_COOKIE)))
        return false;
    for (uint32_t i = 0; i < fields->count; i++) {
        struct str rest = fields->at[i].value;
        struct http_cookie cookie;
        if (fields->at[i].id != HTTP_FIELD_COOKIE)
            continue;
        while (http_cookie_next(&rest, &cookie)) {
            if (str_equal(cookie.name, name)) {
                *value = cookie.value;
                return true;
            }
        }
    }
    return false;
}

bool http_cookie_is_name(struct str name)
{
    return is_all_class(name, CLASS_TOKEN);
}
