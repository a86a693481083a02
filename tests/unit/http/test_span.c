/* The spans against a walk byte by byte. */
#include "base/mem.h"
#include "http/head.h"
#include "http/span.h"

#include "unit.h"

#include <stdlib.h>

#define TEXT_MAX 80

static const struct kind {
    const char *(*span)(const char *at, const char *end);
    unsigned class;
} kinds[] = {
    {span_token, CLASS_TOKEN}, {span_small, CLASS_SMALL}, {span_value, CLASS_VALUE}, {span_uri, CLASS_URI}};

/* A byte of the class, mostly. */
static char some_byte(unsigned class)
{
    for (;;) {
        char byte = (char)rand();
        if (is_class(byte, class) || rand() % 40 == 0)
            return byte;
    }
}

static void each_span_ends_where_its_class_does(void **state)
{
    (void)state;
    srand(1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (unsigned round = 0; round < 20000; round++) {
            size_t n = (size_t)rand() % TEXT_MAX;
            char *text = mem_alloc(n + 1); /* so that a read behind its end is seen */
            for (size_t at = 0; at < n; at++)
                text[at] = some_byte(kinds[i].class);
            assert_ptr_equal(kinds[i].span(text, text + n), head_span(text, text + n, kinds[i].class));
            free(text);
        }
    }
}

static void each_byte_is_judged_by_its_class_in_each_lane(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            for (size_t lane = 0; lane < 16; lane++) {
                char text[32];
                memset(text, 'x', sizeof text);
                text[lane] = (char)byte;
                size_t expected = is_class((char)byte, kinds[i].class) ? sizeof text : lane;
                assert_int_equal(kinds[i].span(text, text + sizeof text) - text, expected);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_span_ends_where_its_class_does),
        cmocka_unit_test(each_byte_is_judged_by_its_class_in_each_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
