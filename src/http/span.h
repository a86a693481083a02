/* span: how far a run of bytes goes that a head may hold in some place, sixteen bytes at a time where there
 * are as many. Each gives what head_span gives for its class, to the byte.
 *
 * The vectors are those of GCC and clang: compilers make of them what the processor has (SSE2, NEON), so
 * there is nothing to choose at run time, and one path to test. */
#pragma once

/* The first byte at or behind `at` that is no CLASS_TOKEN, or `end`. Fast over letters, digits and '-'. */
const char *span_token(const char *at, const char *end);
/* The same of CLASS_SMALL. */
const char *span_small(const char *at, const char *end);
/* The same of CLASS_VALUE. Fast over all but tabs. */
const char *span_value(const char *at, const char *end);
/* The same of CLASS_URI. */
const char *span_uri(const char *at, const char *end);
