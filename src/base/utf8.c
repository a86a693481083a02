/* What programs print is kept and shown as it came, save for bytes that no reader of JSON would take. */
#include "base/utf8.h"

#include "base/buf.h"

#include <stdio.h>

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* How many bytes the valid sequence at text.p has, or 0. Overlong forms, surrogates and what lies above
 * U+10FFFF are not valid (RFC 3629 section 4). */
static size_t sequence(struct str text)
{
    static const struct {
        unsigned char first, last, second_min, second_max, length;
    } forms[] = {
        {0x01, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    unsigned char c = (unsigned char)text.p[0];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (c < forms[i].first || c > forms[i].last)
            continue;
        size_t length = forms[i].length;
        if (length > text.n)
            return 0;
        if (length > 1 && ((unsigned char)text.p[1] < forms[i].second_min ||
                           (unsigned char)text.p[1] > forms[i].second_max))
            return 0;
        for (size_t at = 2; at < length; at++) {
            if (!is_continuation(text.p[at]))
                return 0;
        }
        return length;
    }
    return 0;
}

static struct str skip(struct str text, size_t count)
{
    return (struct str){text.p + count, text.n - count};
}

static struct str skip_continuations(struct str text)
{
    for (int i = 0; i < 3 && text.n > 0 && is_continuation(text.p[0]); i++)
        text = skip(text, 1);
    return text;
}

char *utf8_tail(struct str text, size_t most, bool cut, size_t *size)
{
    struct buf out = BUF_EMPTY;
    if (cut)
        text = skip_continuations(text);
    buf_reserve(&out, text.n);
    while (text.n > 0) {
        size_t length = sequence(text);
        if (length > 0)
            buf_add(&out, text.p, length);
        else
            buf_add(&out, "\xef\xbf\xbd", 3);
        text = skip(text, length > 0 ? length : 1);
    }
    if (out.n > most) {
        struct str kept = skip_continuations(skip(buf_str(&out), out.n - most));
        buf_drop(&out, out.n - kept.n);
    }
    buf_add(&out, "", 0);
    *size = out.n;
    return out.p;
}

struct str utf8_head(struct str text, size_t most)
{
    if (text.n <= most)
        return text;
    while (most > 0 && is_continuation(text.p[most]))
        most--;
    return (struct str){text.p, most};
}

char *utf8_quote(struct str text, char out[UTF8_QUOTE_SIZE])
{
    struct str head = utf8_head(text, UTF8_QUOTE_MAX);
    snprintf(out, UTF8_QUOTE_SIZE, "%.*s%s", STR_ARG(head), head.n < text.n ? "..." : "");
    return out;
}
