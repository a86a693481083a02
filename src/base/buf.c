#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_free(struct buf *buf)
{
    free(buf->p);
    *buf = BUF_EMPTY;
}

char *buf_reserve(struct buf *buf, size_t more)
{
    size_t need = buf->n + more + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap < 64 ? 64 : buf->cap;
        while (cap < need)
            cap *= 2;
        buf->p = mem_resize(buf->p, cap, 1);
        buf->cap = cap;
    }
    return buf->p + buf->n;
}

void buf_add(struct buf *buf, const void *bytes, size_t count)
{
    char *end = buf_reserve(buf, count);
    if (count > 0)
        memcpy(end, bytes, count);
    buf->n += count;
    buf->p[buf->n] = '\0';
}

void buf_add_str(struct buf *buf, struct str text)
{
    buf_add(buf, text.p, text.n);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        char *end = buf_reserve(buf, (size_t)n);
        vsnprintf(end, (size_t)n + 1, format, again);
        buf->n += (size_t)n;
    }
    va_end(again);
}

void buf_drop(struct buf *buf, size_t count)
{
    memmove(buf->p, buf->p + count, buf->n - count);
    buf->n -= count;
    buf->p[buf->n] = '\0';
}
