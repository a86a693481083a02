/* Invariant: a vector's test only ever stops too early; what it has stopped at is judged by the class. */
#include "http/span.h"

#include "http/head.h"

static inline sixteen not_in_small_names(sixteen bytes)
{
    sixteen letters = (bytes - 'a') < 26, digits = (bytes - '0') < 10;
    return ~(letters | digits | (sixteen)(bytes == '-'));
}

static inline sixteen not_in_targets(sixteen bytes)
{
    return (sixteen)((bytes - '!') > '~' - '!');
}

/* One function a class, once `stops` is in its place. `usual` is not of the class, and most often what comes
 * behind it: for that the table of classes, which may be far, need not be looked at. */
static inline const char *span(const char *at, const char *end, sixteen (*stops)(sixteen bytes),
                               unsigned class, char usual)
{
    while (end - at >= SIXTEEN) {
        unsigned n = sixteen_first(stops(sixteen_at(at)));
        at += n;
        if (n == SIXTEEN)
            continue;
        if (*at == usual || !is_class(*at, class))
            return at;
        at++;
    }
    return head_span(at, end, class);
}

const char *span_token(const char *at, const char *end)
{
    return span(at, end, span_not_names, CLASS_TOKEN, ':');
}

const char *span_small(const char *at, const char *end)
{
    return span(at, end, not_in_small_names, CLASS_SMALL, ':');
}

const char *span_value(const char *at, const char *end)
{
    return span(at, end, span_not_values, CLASS_VALUE, '\r');
}

const char *span_uri(const char *at, const char *end)
{
    return span(at, end, not_in_targets, CLASS_URI, ' ');
}
