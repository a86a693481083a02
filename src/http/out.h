/* out: a message that is being written into fixed room. What does not fit is left out, and `full` says so:
 * then nothing of it may be used. */
#pragma once

#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>

struct out {
    char *at;
    char *end;
    bool full;
};

static inline void out_put(struct out *out, struct str text)
{
    if ((size_t)(out->end - out->at) < text.n) {
        out->full = true;
        return;
    }
    if (text.n > 0)
        memcpy(out->at, text.p, text.n);
    out->at += text.n;
}

static inline void out_line(struct out *out, struct str name, struct str value)
{
    if ((size_t)(out->end - out->at) < name.n + value.n + 4) {
        out->full = true;
        return;
    }
    char *at = out->at;
    memcpy(at, name.p, name.n);
    at += name.n;
    memcpy(at, ": ", 2);
    at += 2;
    if (value.n > 0)
        memcpy(at, value.p, value.n);
    at += value.n;
    memcpy(at, "\r\n", 2);
    out->at = at + 2;
}

#define OUT_HSTS STR("Strict-Transport-Security") /* RFC 6797 */

static inline void out_hsts(struct out *out, uint32_t seconds)
{
    char value[32];
    int n = snprintf(value, sizeof value, "max-age=%" PRIu32, seconds);
    out_line(out, OUT_HSTS, (struct str){value, (size_t)n});
}
