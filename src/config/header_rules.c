#include "config/header_rules.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128

/* What frames a message, ends at each hop, or is upswap's own word: the proxy (http/rules.c) does not follow
 * a rule on these either. */
static const char *const refused[] = {
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-client-fingerprint",
    "x-client-subject",
    "x-client-verify",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
    "x-upswap",
    "x-upswap-shadow",
};

/* What clients send of themselves, and apps need; '*' stands for any end. */
static const char *const clients_own[] = {
    "accept", "accept-*",   "access-control-*", "authorization", "cache-control", "content-*", "cookie",
    "host",   "if-*",       "last-event-id",    "origin",        "pragma",        "range",     "referer",
    "sec-*",  "user-agent",
};

/* In lower case with '-' for '_', as an app may read it. */
static struct str plain(struct str name, char room[NAME_MAX_BYTES])
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        room[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c == '_' ? '-' : c);
    }
    return (struct str){room, name.n};
}

static bool is_name(struct str name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("!#$%&'+-.^_`|~", c) == NULL))
            return false;
    }
    return true;
}

static bool is_among(struct str same, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str name = str_of(names[i]), beginning = {name.p, name.n - 1};
        if (str_ends_with(name, STR("*")) ? str_starts_with(same, beginning) : str_equal(same, name))
            return true;
    }
    return false;
}

static bool is_upswaps_own(struct str same)
{
    return is_among(same, refused, sizeof refused / sizeof *refused);
}

static bool refuse_name(struct str name, struct err *err)
{
    return err_set(err, "\"%.*s\" is no name of a field; write letters, digits and -", STR_ARG(name));
}

static bool check_name(struct str name, bool host, struct err *err)
{
    char room[NAME_MAX_BYTES];
    if (!is_name(name))
        return refuse_name(name, err);
    struct str same = plain(name, room);
    if (!host && str_equal(same, STR("host")))
        return err_set(err, "\"Host\" can only be set, for requests: a message has exactly one");
    return !is_upswaps_own(same) ||
           err_set(err, "\"%.*s\" is upswap's own to write; remove the rule", STR_ARG(name));
}

static bool is_variable(struct str name, bool request)
{
    static const char *const both[] = {"client",  "proto",   "port",      "request_id",
                                       "service", "release", "deployment"};
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        if (str_equal(name, str_of(both[i])))
            return true;
    }
    return str_equal(name, request ? STR("host") : STR("instance"));
}

/* "Host" cannot be removed, and who adds nothing may mean anything. */
static bool refuse_empty(struct str name, bool set, struct err *err)
{
    bool may_be_meant = set && !str_equal_nocase(name, STR("host"));
    return err_set(err, "the value is empty; write one, or %s",
                   may_be_meant ? "put the name into \"remove\"" : "remove the rule");
}

static bool check_value(struct str value, bool request, struct err *err)
{
    for (const char *at = value.p, *end = at + value.n;
         (at = memmem(at, (size_t)(end - at), "%{", 2)) != NULL;) {
        const char *close = memchr(at, '}', (size_t)(end - at));
        if (close == NULL)
            return err_set(err, "\"%.*s\" is not closed; write the missing }", (int)(end - at), at);
        struct str name = {at + 2, (size_t)(close - at - 2)};
        if (!is_variable(name, request))
            return err_set(err,
                           "\"%%{%.*s}\" is not known here; there are client, proto, port, request_id, "
                           "service, release, deployment and %s",
                           STR_ARG(name), request ? "host" : "instance");
        at = close;
    }
    return true;
}

static bool check_field(struct str text, bool request, bool set, struct err *err)
{
    struct str name;
    str_split(&text, '=', &name);
    if (!check_name(name, request && set, err))
        return false;
    return str_trim(text).n == 0 ? refuse_empty(name, set, err) : check_value(text, request, err);
}

bool rule_request_field(struct str text, struct err *err)
{
    return check_field(text, true, true, err);
}

bool rule_request_addition(struct str text, struct err *err)
{
    return check_field(text, true, false, err);
}

bool rule_response_field(struct str text, struct err *err)
{
    return check_field(text, false, true, err);
}

bool rule_response_addition(struct str text, struct err *err)
{
    return check_field(text, false, false, err);
}

/* Of the names that a '*' stands for, those that are upswap's own are left alone. */
bool rule_removal(struct str text, struct err *err)
{
    if (text.n > 1 && text.p[text.n - 1] == '*') {
        struct str beginning = {text.p, text.n - 1};
        return is_name(beginning) ||
               err_set(err, "\"%.*s\" is no beginning of a field's name", STR_ARG(text));
    }
    return check_name(text, false, err);
}

bool rule_preview_header(struct str text, struct err *err)
{
    char room[NAME_MAX_BYTES];
    if (!is_name(text))
        return refuse_name(text, err);
    struct str same = plain(text, room);
    if (!is_upswaps_own(same) && !is_among(same, clients_own, sizeof clients_own / sizeof *clients_own))
        return true;
    return err_set(err,
                   "\"%.*s\" means something in requests already, and the app never sees the field that is "
                   "named here; write a name of your own, such as \"X-Upswap-Preview\"",
                   STR_ARG(text));
}

static bool drop(struct config_list *fields, struct str name)
{
    size_t kept = 0, count = fields->count;
    for (size_t i = 0; i < count; i++) {
        struct str rest = str_of(fields->items[i]), found;
        str_split(&rest, '=', &found);
        if (str_equal_nocase(found, name))
            free(fields->items[i]);
        else
            fields->items[kept++] = fields->items[i];
    }
    fields->count = kept;
    return kept < count;
}

/* Where the target has no such field, the empty value is left to be refused when it is read. */
void header_rules_take_back(const config_setting_t *group, void *target)
{
    struct config_headers *headers = target;
    config_setting_t *set = config_setting_get_member(group, "set");
    if (set == NULL || !config_setting_is_group(set))
        return;
    for (int i = config_setting_length(set) - 1; i >= 0; i--) {
        const config_setting_t *field = config_setting_get_elem(set, (unsigned)i);
        const char *value = config_setting_get_string(field);
        if (value == NULL || str_trim(str_of(value)).n > 0)
            continue;
        struct str name = str_of(config_setting_name(field));
        bool was_set = drop(&headers->set, name), was_added = drop(&headers->add, name);
        if (was_set || was_added)
            config_setting_remove_elem(set, (unsigned)i);
    }
}

static size_t size_of(const struct config_list *list)
{
    size_t size = 0;
    for (size_t i = 0; i < list->count; i++)
        size += strlen(list->items[i]) + sizeof "=: \n";
    return size;
}

bool header_rules_fit(const struct config_headers *headers, struct err *err)
{
    size_t count = headers->set.count + headers->add.count + headers->remove.count;
    size_t size = size_of(&headers->set) + size_of(&headers->add) + size_of(&headers->remove);
    if (count > CONFIG_HEADERS_MAX)
        return err_set(err, "there are %zu header rules for one direction; write at most %d", count,
                       CONFIG_HEADERS_MAX);
    return size <= CONFIG_HEADERS_TEXT_MAX ||
           err_set(err, "the header rules for one direction have %zu bytes; write at most %d", size,
                   CONFIG_HEADERS_TEXT_MAX);
}
