/* oracle: collects what llhttp tells. */
#include "oracle.h"

#include <llhttp.h>

#include <stdlib.h>
#include <string.h>

static void note(llhttp_t *parser, const char *at, size_t n)
{
    struct oracle *oracle = parser->data;
    if (oracle->lines_size + n > sizeof oracle->lines)
        abort();
    memcpy(oracle->lines + oracle->lines_size, at, n);
    oracle->lines_size += n;
}

static int on_text(llhttp_t *parser, const char *at, size_t n)
{
    note(parser, at, n);
    return 0;
}

static int on_name_complete(llhttp_t *parser)
{
    note(parser, ":", 1);
    return 0;
}

/* llhttp leaves white space behind a value to its caller. */
static int on_value_complete(llhttp_t *parser)
{
    struct oracle *oracle = parser->data;
    while (oracle->lines[oracle->lines_size - 1] == ' ' || oracle->lines[oracle->lines_size - 1] == '\t')
        oracle->lines_size--;
    note(parser, "\n", 1);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    struct oracle *oracle = parser->data;
    if (oracle->target_size + n > sizeof oracle->target)
        abort();
    memcpy(oracle->target + oracle->target_size, at, n);
    oracle->target_size += n;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct oracle *oracle = parser->data;
    oracle->headers_complete = true;
    oracle->chunked = parser->flags & F_CHUNKED;
    oracle->has_length = parser->flags & F_CONTENT_LENGTH;
    oracle->length = parser->content_length;
    oracle->keep_alive = llhttp_should_keep_alive(parser);
    oracle->upgrade = parser->upgrade;
    oracle->status = parser->status_code;
    oracle->method = llhttp_method_name((llhttp_method_t)parser->method);
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct oracle *oracle = parser->data;
    if (oracle->body_size + n > sizeof oracle->body)
        abort();
    memcpy(oracle->body + oracle->body_size, at, n);
    oracle->body_size += n;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct oracle *oracle = parser->data;
    oracle->message_complete = true;
    return 0;
}

const char *oracle_read(struct oracle *oracle, bool response, const char *bytes, size_t count)
{
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = settings.on_header_value = on_text;
    settings.on_header_field_complete = on_name_complete;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    parser.data = oracle;
    *oracle = (struct oracle){.body_size = 0};
    llhttp_errno_t result = llhttp_execute(&parser, bytes, count);
    return result == HPE_OK || result == HPE_PAUSED_UPGRADE ? NULL : llhttp_errno_name(result);
}
