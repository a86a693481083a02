#include "base/mem.h"

#include "base/fault.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void starve(size_t size)
{
    fprintf(stderr, "upswap: no memory for %zu bytes; give the machine more or lower the limits\n", size);
    abort();
}

static void *checked(void *memory, size_t size)
{
    if (memory == NULL && size > 0)
        starve(size);
    return memory;
}

#ifdef FAULT_POINTS
void mem_pass(const char *function)
{
    if (fault_starves(function))
        starve(0);
}
#endif

void *(mem_alloc)(size_t size)
{
    return checked(malloc(size > 0 ? size : 1), size);
}

void *(mem_zero)(size_t count, size_t size)
{
    return checked(calloc(count > 0 ? count : 1, size), 1);
}

void *(mem_aligned)(size_t alignment, size_t size)
{
    return memset(checked(aligned_alloc(alignment, size > 0 ? size : alignment), 1), 0, size);
}

void *(mem_resize)(void *old, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        total = SIZE_MAX;
    return checked(realloc(old, total > 0 ? total : 1), 1);
}

void mem_clear(void *bytes, size_t size)
{
    memset(bytes, 0, size);
}

char *(mem_dup)(const char *text)
{
    return text == NULL ? NULL : checked(strdup(text), 1);
}

char *(mem_vprintf)(const char *format, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    return checked(n < 0 ? NULL : text, 1);
}

char *(mem_printf)(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = (mem_vprintf)(format, args);
    va_end(args);
    return text;
}
