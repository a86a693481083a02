/* Apart from unit.h, since <fcntl.h> declares names that tests have of their own. */
#pragma once

#include <fcntl.h>

/* How many descriptors of this process are open, of those that a test comes to. */
static inline unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}
