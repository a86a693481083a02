/* Reads a config from a text, for the tests of the room. */
#pragma once

#include "config/config.h"

#include <stdio.h>

static inline struct config *read_text(const char *text, struct err *err)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(file);
    struct config *config = config_parse(file, "t.conf", err);
    fclose(file);
    return config;
}

static inline struct config *must_read(const char *text)
{
    struct err err;
    struct config *config = read_text(text, &err);
    if (config == NULL)
        fail_msg("%s", err.text);
    return config;
}
