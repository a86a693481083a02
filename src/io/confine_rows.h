/* confine_rows: which system calls the filter lets through, and what it answers to others. Inside confine.c
 * and its test only.
 *
 * The first row that fits a call decides. A call without a row is answered ENOSYS, as by a kernel without it:
 * libraries then do without. What no honest path leads to kills the process instead, so that it is seen.
 */
#pragma once

#include <stdint.h>
#include <sys/syscall.h>

enum confine_answer {
    CONFINE_ALLOW,
    CONFINE_DENY, /* EACCES: libc and OpenSSL look for files that they can do without */
    CONFINE_KILL,
};

/* (argument & mask) == value, in the lower 32 bits: all that is asked about here is an int. */
struct confine_test {
    uint8_t argument;
    uint32_t mask; /* 0: no test */
    uint32_t value;
};

#define CONFINE_TESTS 3
#define CONFINE_ANY 0xffffffffU
#define CONFINE_SELF 0xffffffffU /* as a value: this process's pid */

struct confine_row {
    uint32_t call; /* of this machine's table */
    enum confine_answer answer;
    struct confine_test tests[CONFINE_TESTS];
};

extern const struct confine_row confine_rows[];
extern const unsigned confine_row_count;
