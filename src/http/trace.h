/* trace: which trace a request is part of (W3C Trace Context): the field traceparent. */
#pragma once

#include "http/http.h"

#define HTTP_TRACE_ID_SIZE 32 /* bytes of a trace's id: hex in lower case */
#define HTTP_SPAN_ID_SIZE 16
#define HTTP_TRACEPARENT_SIZE \
    (sizeof "00-" - 1 + HTTP_TRACE_ID_SIZE + 1 + HTTP_SPAN_ID_SIZE + sizeof "-01" - 1)

/* The id of the trace that the fields name, HTTP_TRACE_ID_SIZE bytes inside them. Empty: they name none, or
 * not exactly one that is valid (section 3.2.2; of a version to come: as far as it is like the first). */
struct str http_trace_id(const struct http_fields *fields);

/* Writes the traceparent of a trace that begins here: sampled, so that apps which follow their parent sample
 * as they would for a client that asked for it. The ids have the sizes above. Returns it. */
struct str http_trace_begin(const char *trace, const char *span, char out[HTTP_TRACEPARENT_SIZE]);
