/* mem: allocation that never fails to its caller: without memory the process says so and ends, and the keeper
 * starts it again. The data path, which must live with a full machine, allocates with malloc and checks. */
#pragma once

#include "base/err.h"

#include <stdarg.h>
#include <stddef.h>

/* `size` bytes, not cleared. Free with free(), as all below. */
void *mem_alloc(size_t size);

/* `count` zeroed elements of `size` bytes. */
void *mem_zero(size_t count, size_t size);

/* `size` zeroed bytes that begin at a multiple of `alignment`, a power of two; size is a multiple of it. */
void *mem_aligned(size_t alignment, size_t size);

/* Grows or shrinks to `count` elements of `size` bytes; new bytes are not cleared. */
void *mem_resize(void *old, size_t count, size_t size);

/* Zeroes `size` bytes, by the C library. For hundreds of them: compilers put "rep stos" in the place of a
 * memset whose size they know, and that begins slowly. */
void mem_clear(void *bytes, size_t size);

/* A copy of a NUL-terminated text; NULL stays NULL. */
char *mem_dup(const char *text);

/* A text as by printf. */
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2);

/* A text as by vprintf. */
char *mem_vprintf(const char *format, va_list args) PRINTF_LIKE(1, 0);

#ifdef FAULT_POINTS
/* Dies as without memory, if the plan says so: each function that allocates is a point, mem.FUNCTION. */
void mem_pass(const char *function);
#define mem_alloc(...) (mem_pass(__func__), (mem_alloc)(__VA_ARGS__))
#define mem_zero(...) (mem_pass(__func__), (mem_zero)(__VA_ARGS__))
#define mem_aligned(...) (mem_pass(__func__), (mem_aligned)(__VA_ARGS__))
#define mem_resize(...) (mem_pass(__func__), (mem_resize)(__VA_ARGS__))
#define mem_dup(...) (mem_pass(__func__), (mem_dup)(__VA_ARGS__))
#define mem_printf(...) (mem_pass(__func__), (mem_printf)(__VA_ARGS__))
#define mem_vprintf(...) (mem_pass(__func__), (mem_vprintf)(__VA_ARGS__))
#endif

/* The struct that has `member` at `pointer`. */
#define mem_container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
