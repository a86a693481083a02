/* head: reads the lines of a head, once and from left to right. A fault in the first bytes is found whatever
 * follows them, so a head that arrives in pieces is judged as the whole would be. */
#include "http/head.h"

#include "http/field.h"
#include "http/span.h"

#include <string.h>

/* Options of one message, empty ones included: real ones have one to four. */
#define CONNECTION_OPTIONS_MAX 64

#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define HEX(c) (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define VISIBLE(c) ((c) > ' ' && (c) < 0x7f)
#define DELIMITER(c)                                                                                    \
    ((c) == '"' || (c) == '(' || (c) == ')' || (c) == ',' || (c) == '/' || (c) == ':' || (c) == ';' ||  \
     (c) == '<' || (c) == '=' || (c) == '>' || (c) == '?' || (c) == '@' || (c) == '[' || (c) == '\\' || \
     (c) == ']' || (c) == '{' || (c) == '}')
#define UNRESERVED(c) (ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define SUB_DELIM(c)                                                                                    \
    ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || (c) == '*' || \
     (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define REG_NAME(c) (UNRESERVED(c) || SUB_DELIM(c))
/* Beyond RFC 3986, what browsers leave as it is (WHATWG URL, "percent-encode sets"): a filter[name]=x or a
 * a|b must not fail here, and none of these bytes has a meaning in the framing. */
#define PATH(c)                                                                                         \
    (REG_NAME(c) || (c) == '%' || (c) == ':' || (c) == '@' || (c) == '/' || (c) == '[' || (c) == ']' || \
     (c) == '|')
#define QUERY(c) (VISIBLE(c) && (c) != '"' && (c) != '#' && (c) != '<' && (c) != '>')

#define CLASS(c)                                                                                  \
    ((VISIBLE(c) && !DELIMITER(c) ? CLASS_TOKEN : 0) |                                            \
     ((VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 0x80) ? CLASS_VALUE : 0) |               \
     (PATH(c) ? CLASS_PATH : 0) | (QUERY(c) ? CLASS_QUERY : 0) | (REG_NAME(c) ? CLASS_HOST : 0) | \
     (DIGIT(c) ? CLASS_DIGIT : 0) | (HEX(c) ? CLASS_HEX : 0) | (VISIBLE(c) ? CLASS_URI : 0) |     \
     (VISIBLE(c) && !DELIMITER(c) && !((c) >= 'A' && (c) <= 'Z') ? CLASS_SMALL : 0))
#define CLASS_4(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS_16(c) CLASS_4(c), CLASS_4((c) + 4), CLASS_4((c) + 8), CLASS_4((c) + 12)
#define CLASS_64(c) CLASS_16(c), CLASS_16((c) + 16), CLASS_16((c) + 32), CLASS_16((c) + 48)

const uint16_t head_classes[256] = {CLASS_64(0), CLASS_64(64), CLASS_64(128), CLASS_64(192)};

bool is_all_class(struct str text, unsigned classes)
{
    return text.n > 0 && head_span(text.p, text.p + text.n, classes) == text.p + text.n;
}

enum http_result head_refuse(struct http_fault *fault, uint16_t status, const char *reason)
{
    *fault = (struct http_fault){status, reason};
    return HTTP_BAD;
}

enum http_result head_refuse_byte(struct head *head, const char *byte, const char *reason)
{
    return head_refuse(head->fault, 400, *byte == '\n' ? "bare-lf" : reason);
}

enum http_result head_no_line_end(struct head *head, const char *at, const char *reason)
{
    if (at == head->end || (*at == '\r' && at + 1 == head->end))
        return HTTP_MORE;
    return head_refuse_byte(head, at, *at == '\r' ? "bare-cr" : reason);
}

enum http_result head_version(struct head *head, uint8_t *minor)
{
    static const char pattern[] = "HTTP/0.0";
    enum { MAJOR = 5, MINOR = 7, SIZE = 8 };
    const char *p = head->at;
    if (head->end - p >= SIZE && memcmp(p, "HTTP/1.1", SIZE) == 0) {
        *minor = 1;
        head->at = p + SIZE;
        return HTTP_DONE;
    }
    for (int i = 0; i < SIZE; i++) {
        if (p + i == head->end)
            return HTTP_MORE;
        if (i == MAJOR || i == MINOR ? !is_class(p[i], CLASS_DIGIT) : p[i] != pattern[i])
            return head_refuse_byte(head, p + i, "bad-version");
    }
    if (p[MAJOR] != '1')
        return head_refuse(head->fault, 505, "version-not-supported");
    *minor = p[MINOR] != '0';
    head->at = p + SIZE;
    return HTTP_DONE;
}

static enum http_result refuse_name(struct head *head, const char *at)
{
    if (is_blank(*at))
        return head_refuse(head->fault, 400, at == head->at ? "obs-fold" : "space-before-colon");
    return head_refuse_byte(head, at, "bad-field-name");
}

/* Reads one field line. */
static enum http_result field_line(struct head *head, struct http_field *field)
{
    const char *p = span_token(head->at, head->end);
    if (p == head->end)
        return HTTP_MORE;
    if (*p != ':' || p == head->at)
        return refuse_name(head, p);
    field->name = (struct str){head->at, (size_t)(p - head->at)};
    p++;
    while (p < head->end && is_blank(*p))
        p++;
    const char *value = p;
    p = span_value(p, head->end);
    if (head->end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return head_no_line_end(head, p, "bad-field-value");
    head->at = p + 2;
    while (p > value && is_blank(p[-1]))
        p--;
    field->value = (struct str){value, (size_t)(p - value)};
    field->listed = field->usual = false;
    return HTTP_DONE;
}

static inline bool stands_there(const char *at, const char two[3])
{
    return memcmp(at, two, 2) == 0;
}

/* Reads a field line that is `usual`, if some more bytes are there behind its name and its value. Returns its
 * end; NULL: another reader has to look at it. */
static inline const char *usual_line(const char *at, const char *end, struct http_field *field)
{
    const char *colon = span_name(at, end);
    if (colon == NULL || colon == at || !stands_there(colon, ": "))
        return NULL;
    const char *value = colon + 2, *stop = span_plain_value(value, end);
    bool is_bare = stop != NULL && *value != ' ' && stop[-1] != ' '; /* nor empty */
    if (!is_bare || !stands_there(stop, "\r\n"))
        return NULL;
    *field = (struct http_field){
        .name = {at, (size_t)(colon - at)}, .value = {value, (size_t)(stop - value)}, .usual = true};
    return stop + 2;
}

/* Reads one field line of any kind; *at is where, and then behind it. */
static inline enum http_result any_line(struct head *head, const char **at, struct http_field *field)
{
    const char *next = usual_line(*at, head->end, field);
    if (next != NULL) {
        *at = next;
        return HTTP_DONE;
    }
    head->at = *at;
    enum http_result result = head->at == head->end ? HTTP_MORE : field_line(head, field);
    *at = head->at;
    return result;
}

enum http_result head_fields(struct head *head, struct http_fields *fields, uint32_t max)
{
    const char *at = head->at, *end = head->end;
    struct http_field *field = fields->at, *most = field + (max < HTTP_FIELDS_MAX ? max : HTTP_FIELDS_MAX);
    enum http_result result = HTTP_DONE;
    for (; at == end || *at != '\r'; field++) {
        if (field == most && at < end)
            result = head_refuse(head->fault, 431, "too-many-fields");
        else
            result = any_line(head, &at, field);
        if (result != HTTP_DONE)
            break;
    }
    head->at = at;
    fields->count = (uint32_t)(field - fields->at);
    field_index(fields);
    return result == HTTP_DONE ? head_line_end(head, "bad-field-name") : result;
}

size_t head_end(const char *bytes, size_t count, size_t seen)
{
    const char *end = bytes + count, *at = bytes + seen;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        bool bare = at == bytes || at[-1] != '\r';
        bool empty = !bare && (at - bytes == 1 || at[-2] == '\n');
        at++;
        if (bare || empty)
            return (size_t)(at - bytes);
    }
    return 0;
}

bool head_may_tell(const char *bytes, size_t count, size_t seen)
{
    const char *first = memchr(bytes + seen, '\n', count - seen);
    if (first == NULL)
        return false;
    return memchr(bytes, '\n', (size_t)(first - bytes)) == NULL || head_end(bytes, count, seen) > 0;
}

bool head_element(struct str *rest, struct str *element)
{
    if (!str_split(rest, ',', element))
        return false;
    *element = str_trim(*element);
    return true;
}

bool head_lists(struct str value, struct str token)
{
    struct str element;
    while (head_element(&value, &element)) {
        if (str_equal_nocase(element, token))
            return true;
    }
    return false;
}

static enum http_result content_length(const struct http_fields *fields, struct head_framing *framing,
                                       struct http_fault *fault)
{
    struct str value = http_fields_find(fields, HTTP_FIELD_CONTENT_LENGTH)->value;
    bool repeated = fields->repeated & HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH);
    if (repeated || !str_to_u64(value, &framing->length) || framing->length > INT64_MAX) {
        repeated |= value.n > 0 && memchr(value.p, ',', value.n) != NULL;
        return head_refuse(fault, 400, repeated ? "repeated-content-length" : "bad-content-length");
    }
    framing->has_length = true;
    return HTTP_DONE;
}

/* All lines together make one list, which must be exactly "chunked". A coding in front of it would be well
 * formed, and is not ours to undo: 501 (RFC 9112 section 6.1). */
static enum http_result transfer_encoding(const struct http_fields *fields, struct http_fault *fault)
{
    unsigned chunked = 0, others = 0;
    bool last = false;
    const struct http_field *field = http_fields_find(fields, HTTP_FIELD_TRANSFER_ENCODING);
    for (; field != NULL; field = http_fields_next(fields, field)) {
        struct str rest = field->value, coding;
        while (head_element(&rest, &coding)) {
            if (!is_all_class(coding, CLASS_TOKEN))
                return head_refuse(fault, 400, "bad-transfer-encoding");
            last = str_equal_nocase(coding, STR("chunked"));
            chunked += last;
            others += !last;
        }
    }
    if (chunked != 1 || !last)
        return head_refuse(fault, 400, "bad-transfer-encoding");
    return others == 0 ? HTTP_DONE : head_refuse(fault, 501, "unknown-transfer-coding");
}

enum http_result head_read_framing(const struct http_fields *fields, uint8_t minor,
                                   struct head_framing *framing, struct http_fault *fault)
{
    const uint64_t length = HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH);
    const uint64_t coding = HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING);
    if ((fields->present & (length | coding)) == (length | coding))
        return head_refuse(fault, 400, "length-with-transfer-encoding");
    if (fields->present & length)
        return content_length(fields, framing, fault);
    if (minor == 0)
        return head_refuse(fault, 400, "transfer-encoding-in-http10");
    framing->chunked = true;
    return transfer_encoding(fields, fault);
}

static void mark_listed(struct http_fields *fields, struct str name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (str_equal_nocase(fields->at[i].name, name))
            fields->at[i].listed = true;
    }
}

static void note_option(struct http_fields *fields, struct head_connection *connection, struct str option)
{
    if (str_equal_nocase(option, STR("close")))
        connection->close = true;
    else if (str_equal_nocase(option, STR("keep-alive")))
        connection->keep_alive = true;
    else if (str_equal_nocase(option, STR("upgrade")))
        connection->upgrade = true;
    else if (!field_is_for_all(option))
        mark_listed(fields, option);
}

enum http_result head_read_connection(struct http_fields *fields, struct head_connection *connection,
                                      struct http_fault *fault)
{
    unsigned options = 0;
    const struct http_field *field = http_fields_find(fields, HTTP_FIELD_CONNECTION);
    for (; field != NULL; field = http_fields_next(fields, field)) {
        struct str rest = field->value, option;
        while (head_element(&rest, &option)) {
            if (++options > CONNECTION_OPTIONS_MAX || (option.n > 0 && !is_all_class(option, CLASS_TOKEN)))
                return head_refuse(fault, 400, "bad-connection");
            if (option.n > 0)
                note_option(fields, connection, option);
        }
    }
    return HTTP_DONE;
}

bool head_keeps_alive(const struct head_connection *connection, uint8_t minor)
{
    return !connection->close && (minor == 1 || connection->keep_alive);
}
