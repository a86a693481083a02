#include "io/open_files.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

static rlim_t before; /* 0: not raised */

void open_files_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    rlim_t given = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        before = given;
    else
        log_warn("the limit of open files stays as it is: %s", strerror(errno));
}

void open_files_restore(void)
{
    struct rlimit limit;
    if (before == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = before < limit.rlim_max ? before : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
