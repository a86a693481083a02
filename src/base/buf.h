/* buf: bytes that grow at the end. Always NUL-terminated behind its length once something was added. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct buf {
    char *p;    /* owned; NULL before anything was added */
    size_t n;   /* bytes in use */
    size_t cap; /* bytes allocated */
};

#define BUF_EMPTY ((struct buf){NULL, 0, 0})

void buf_free(struct buf *buf);

/* Room for `more` bytes behind the end; returns where they go. The caller adds what it wrote to buf->n. */
char *buf_reserve(struct buf *buf, size_t more);

void buf_add(struct buf *buf, const void *bytes, size_t count);
void buf_add_str(struct buf *buf, struct str text);
/* In decimal digits. */
void buf_add_number(struct buf *buf, uint64_t number);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops `count` bytes at the front and moves the rest down. */
void buf_drop(struct buf *buf, size_t count);

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->p, buf->n};
}
