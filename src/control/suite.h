/* suite: the uptests of a directory, listed once, so that what is run is what was listed. */
#pragma once

#include "base/err.h"
#include "config/config.h"

struct suite {
    char *directory; /* %{release} put in */
    char **names;    /* file names in byte order */
    size_t count;
};

enum suite_result {
    SUITE_FOUND,
    SUITE_ABSENT, /* no directory is configured, it is not there, or it has no uptests: err tells */
    SUITE_FAULT,  /* it cannot be told: err tells */
};

/* Lists the suite of a release ("" where none is given): every file of uptests.directory whose name does not
 * begin with a dot, subfolders aside. Found: to be freed with suite_free. */
enum suite_result suite_list(const struct config_uptests *uptests, const char *release, struct suite *suite,
                             struct err *err) MUST_CHECK;
void suite_free(struct suite *suite);
