/* What every cmocka test includes, in the order that cmocka wants. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

#include <string.h>

/* Both are texts; the first may be a str. */
#define assert_str_equal(s, text)                      \
    do {                                               \
        struct str unit_s = (s);                       \
        assert_int_equal(unit_s.n, strlen(text));      \
        assert_memory_equal(unit_s.p, text, unit_s.n); \
    } while (0)
