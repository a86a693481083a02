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
    out_put(out, name);
    out_put(out, STR(": "));
    out_put(out, value);
    out_put(out, STR("\r\n"));
}

#define OUT_HSTS STR("Strict-Transport-Security") /* RFC 6797 */

static inline void out_hsts(struct out *out, uint32_t seconds)
{
    char value[32];
    int n = snprintf(value, sizeof value, "max-age=%" PRIu32, seconds);
    out_line(out, OUT_HSTS, (struct str){value, (size_t)n});
}
