#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define GUESS 127 /* bytes that most of what is printed fits */

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

void buf_add_number(struct buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    buf_add(buf, digits + at, sizeof digits - at);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char *end = buf_reserve(buf, GUESS);
    int n = vsnprintf(end, GUESS + 1, format, args);
    va_end(args);
    if (n > GUESS)
        vsnprintf(buf_reserve(buf, (size_t)n), (size_t)n + 1, format, again);
    if (n > 0)
        buf->n += (size_t)n;
    buf->p[buf->n] = '\0';
    va_end(again);
}

void buf_drop(struct buf *buf, size_t count)
{
    memmove(buf->p, buf->p + count, buf->n - count);
    buf->n -= count;
    buf->p[buf->n] = '\0';
}
