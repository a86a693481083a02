/* http: the words that both directions share, as tables. */
#include "http/http.h"

static const struct str methods[] = {
    [HTTP_OTHER] = {"", 0},          [HTTP_GET] = {"GET", 3},     [HTTP_HEAD] = {"HEAD", 4},
    [HTTP_POST] = {"POST", 4},       [HTTP_PUT] = {"PUT", 3},     [HTTP_DELETE] = {"DELETE", 6},
    [HTTP_OPTIONS] = {"OPTIONS", 7}, [HTTP_TRACE] = {"TRACE", 5}, [HTTP_CONNECT] = {"CONNECT", 7},
    [HTTP_PATCH] = {"PATCH", 5},
};

enum http_method http_method_of(struct str text)
{
    for (enum http_method method = HTTP_GET; method <= HTTP_PATCH; method++) {
        if (str_equal(methods[method], text))
            return method;
    }
    return HTTP_OTHER;
}

const struct http_field *http_fields_next(const struct http_fields *fields, const struct http_field *field)
{
    enum http_field_id id = field->id;
    const struct http_field *end = fields->at + fields->count;
    if (!(fields->repeated & HTTP_FIELD_BIT(id)))
        return NULL;
    for (field++; field < end; field++) {
        if (field->id == id)
            return field;
    }
    return NULL;
}

const struct http_field *http_fields_named(const struct http_fields *fields, struct str name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (str_equal_nocase(fields->at[i].name, name))
            return &fields->at[i];
    }
    return NULL;
}

const char *http_status_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {100, "Continue"},
        {200, "OK"},
        {202, "Accepted"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "";
}
