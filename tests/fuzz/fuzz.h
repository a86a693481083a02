/* fuzz: what the fuzz targets share. A target is one function: it gets bytes, and the process ends with a
 * sentence where something that it promises does not hold. libFuzzer finds the bytes (scripts/fuzz); the
 * unit tests give it those that are kept in seeds/ (seeds.c). */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target. Always 0. The same bytes give the same course. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Ends the process unless the condition holds. */
#define fuzz_check(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
void fuzz_fail(const char *file, int line, const char *condition) __attribute__((noreturn));

/* The bytes in a block of just their size, so that the sanitizer sees who reads beyond; to be freed. */
char *fuzz_copy(const void *bytes, size_t count);

/* Is the text part of these bytes? */
bool fuzz_lies_in(struct str text, const char *bytes, size_t count);

/* Numbers that look random and come from the input, for where to cut it. */
struct fuzz_dice {
    uint64_t state;
};
struct fuzz_dice fuzz_dice(const void *bytes, size_t count);
/* 0 to limit - 1; limit is not 0. */
size_t fuzz_below(struct fuzz_dice *dice, size_t limit);

/* An input that is read from the front; of what is used up come zeros. */
struct fuzz_reader {
    const uint8_t *at;
    size_t left;
};
uint8_t fuzz_byte(struct fuzz_reader *reader);
/* Up to `most` bytes. */
struct str fuzz_take(struct fuzz_reader *reader, size_t most);
