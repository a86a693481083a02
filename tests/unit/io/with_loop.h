/* A loop of its own for each test. */
#pragma once

#include "io/loop.h"

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

/* Libevent waits, as in control, and its descriptors are there from the start. */
static inline int set_up_base(void **state)
{
    set_up(state);
    loop_base(loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}
