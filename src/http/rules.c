/* Reads a text of rules anew for each head: a service has few, and so nothing of them need be kept. */
#include "http/rules.h"

#include "http/field.h"
#include "http/head.h"

#define NAME_MAX_BYTES 256

/* What frames a message or ends at a hop, and what upswap writes by itself. */
static const uint64_t untouchable =
    HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) |
    HTTP_FIELD_BIT(HTTP_FIELD_DATE) | HTTP_FIELD_BIT(HTTP_FIELD_EXPECT) |
    HTTP_FIELD_BIT(HTTP_FIELD_FORWARDED) | HTTP_FIELD_BIT(HTTP_FIELD_HOST) |
    HTTP_FIELD_BIT(HTTP_FIELD_HTTP2_SETTINGS) | HTTP_FIELD_BIT(HTTP_FIELD_KEEP_ALIVE) |
    HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHENTICATE) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHENTICATION_INFO) |
    HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHORIZATION) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION) |
    HTTP_FIELD_BIT(HTTP_FIELD_TE) | HTTP_FIELD_BIT(HTTP_FIELD_TRAILER) |
    HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING) | HTTP_FIELD_BIT(HTTP_FIELD_UPGRADE) |
    HTTP_FIELD_BIT(HTTP_FIELD_VIA) | HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_FINGERPRINT) |
    HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_SUBJECT) | HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_VERIFY) |
    HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_FOR) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_HOST) |
    HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PORT) | HTTP_FIELD_BIT(HTTP_FIELD_X_FORWARDED_PROTO) |
    HTTP_FIELD_BIT(HTTP_FIELD_X_REQUEST_ID) | HTTP_FIELD_BIT(HTTP_FIELD_X_UPSWAP) |
    HTTP_FIELD_BIT(HTTP_FIELD_X_UPSWAP_SHADOW);

static bool is_same(const struct http_rules *rules, char a, char b)
{
    if (a >= 'A' && a <= 'Z')
        a = (char)(a | 0x20);
    if (b >= 'A' && b <= 'Z')
        b = (char)(b | 0x20);
    return a == b || (rules->request && (a == '_' || a == '-') && (b == '_' || b == '-'));
}

static bool begins_with(const struct http_rules *rules, struct str name, struct str with)
{
    if (name.n < with.n)
        return false;
    for (size_t i = 0; i < with.n; i++) {
        if (!is_same(rules, name.p[i], with.p[i]))
            return false;
    }
    return true;
}

/* The id of the name with every '_' as '-', as an app might read it. */
static enum http_field_id id_of(struct str name)
{
    char dashed[NAME_MAX_BYTES];
    for (size_t i = 0; i < name.n; i++)
        dashed[i] = name.p[i] == '_' ? '-' : name.p[i];
    return field_id((struct str){dashed, name.n});
}

static bool may_touch(const struct http_rules *rules, const struct http_rule *rule)
{
    if (!is_all_class(rule->name, CLASS_TOKEN) || rule->name.n > NAME_MAX_BYTES)
        return false;
    enum http_field_id id = id_of(rule->name);
    bool sets_host = rules->request && rule->what == '=' && id == HTTP_FIELD_HOST;
    return rule->prefix || sets_host || !(untouchable & HTTP_FIELD_BIT(id));
}

/* Values have no white space at their ends, or they could not be told from none. */
static bool read_rule(const struct http_rules *rules, struct str line, struct http_rule *rule)
{
    if (line.n < 2)
        return false;
    rule->what = line.p[0];
    rule->name = (struct str){line.p + 1, line.n - 1};
    rule->value = (struct str){line.p, 0};
    rule->prefix = false;
    if (rule->what == '-') {
        rule->prefix = line.n > 2 && line.p[line.n - 1] == '*';
        rule->name.n -= rule->prefix;
        return may_touch(rules, rule);
    }
    const char *colon = memchr(line.p, ':', line.n);
    if ((rule->what != '=' && rule->what != '+') || colon == NULL)
        return false;
    rule->name.n = (size_t)(colon - rule->name.p);
    rule->value = str_trim((struct str){colon + 1, (size_t)(line.p + line.n - colon - 1)});
    return may_touch(rules, rule) && is_all_class(rule->value, CLASS_VALUE);
}

void http_rules_read(struct http_rules *rules, struct str text, bool request)
{
    struct str line;
    rules->request = request;
    rules->count = 0;
    rules->lengths = 0;
    while (rules->count < HTTP_RULES_MAX && text.n > 0 && str_split(&text, '\n', &line)) {
        struct http_rule *rule = &rules->at[rules->count];
        if (!read_rule(rules, line, rule))
            continue;
        rules->count++;
        if (rule->what != '+')
            rules->lengths |= rule->prefix ? UINT64_MAX : UINT64_C(1) << rule->name.n % 64;
    }
}

bool http_rules_drop(const struct http_rules *rules, struct str name)
{
    if (!(rules->lengths >> name.n % 64 & 1) || (untouchable & HTTP_FIELD_BIT(field_id(name))))
        return false;
    for (unsigned i = 0; i < rules->count; i++) {
        const struct http_rule *rule = &rules->at[i];
        if (rule->what != '+' && (rule->prefix || rule->name.n == name.n) &&
            begins_with(rules, name, rule->name))
            return true;
    }
    return false;
}

static bool is_host(const struct http_rule *rule)
{
    return rule->what == '=' && field_id(rule->name) == HTTP_FIELD_HOST;
}

struct str http_rules_host(const struct http_rules *rules)
{
    for (unsigned i = 0; i < rules->count; i++) {
        if (is_host(&rules->at[i]))
            return rules->at[i].value;
    }
    return STR("");
}

void http_rules_put(const struct http_rules *rules, struct out *out, const struct http_variable *variables)
{
    for (unsigned i = 0; i < rules->count; i++) {
        const struct http_rule *rule = &rules->at[i];
        if (rule->what == '-' || is_host(rule) || template_size(rule->value, variables) == 0)
            continue;
        out_put(out, rule->name);
        out_put(out, STR(": "));
        template_put(out, rule->value, variables);
        out_put(out, STR("\r\n"));
    }
}

size_t http_rules_room(struct str text, const struct http_variable *variables)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    return template_size(text, variables) + lines;
}
