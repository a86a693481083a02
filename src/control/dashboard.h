/* dashboard: the page at GET / and what belongs to it, as files that are part of the program. They are the
 * same for everybody and hold no data: the page asks the API for that, as any client does, and shows the
 * token. */
#pragma once

#include "base/str.h"

#include <stddef.h>

struct dashboard_file {
    const char *path; /* of the request */
    const char *type; /* of the content */
    struct str content;
};

extern const struct dashboard_file dashboard_files[];
extern const size_t dashboard_file_count;

/* NULL: no such file. */
const struct dashboard_file *dashboard_find(struct str path);

/* What a browser may do with them, as field lines, each with its line end. */
extern const char dashboard_fields[];
