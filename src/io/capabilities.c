/* Raw calls on the kernel's own structures. Invariant: true is returned only for what was read back. */
#include "io/capabilities.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIGHEST 63 /* the kernel ends the loop earlier, at its last one */

struct sets {
    uint64_t effective, permitted, inheritable;
};

static bool get(struct sets *sets)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0}; /* Valgrind knows of one */
    if (syscall(SYS_capget, &head, data) != 0)
        return false;
    *sets = (struct sets){data[0].effective | (uint64_t)data[1].effective << 32,
                          data[0].permitted | (uint64_t)data[1].permitted << 32,
                          data[0].inheritable | (uint64_t)data[1].inheritable << 32};
    return true;
}

static bool set(const struct sets *sets)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {(uint32_t)sets->effective, (uint32_t)sets->permitted, (uint32_t)sets->inheritable},
        {(uint32_t)(sets->effective >> 32), (uint32_t)(sets->permitted >> 32),
         (uint32_t)(sets->inheritable >> 32)},
    };
    return syscall(SYS_capset, &head, data) == 0;
}

static bool refused(void)
{
    errno = EPERM;
    return false;
}

bool capabilities_bound(uint64_t kept)
{
    struct sets sets;
    if (!get(&sets))
        return false;
    if ((sets.effective & CAPABILITY(CAP_SETPCAP)) == 0)
        return true;
    for (int i = 0; i <= HIGHEST; i++) {
        int bound = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
        if (bound < 0)
            break;
        if (bound == 0 || (kept & CAPABILITY(i)) != 0)
            continue;
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
            return false;
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) != 0)
            return refused();
    }
    return true;
}

/* A kernel that knows none of them (EINVAL) has none to give. */
static bool clear_ambient(void)
{
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return errno == EINVAL;
    for (int i = 0; i <= HIGHEST; i++) {
        int is_set = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0);
        if (is_set < 0)
            break;
        if (is_set > 0)
            return refused();
    }
    return true;
}

bool capabilities_limit(uint64_t kept, bool ambient)
{
    struct sets sets;
    if (!get(&sets) || (!ambient && !clear_ambient()))
        return false;
    sets.permitted &= kept;
    sets.effective &= kept;
    sets.inheritable &= ambient ? kept : 0;
    if (!set(&sets) || !get(&sets))
        return false;
    return ((sets.permitted | sets.effective | sets.inheritable) & ~kept) == 0 || refused();
}

uint64_t capabilities_permitted(void)
{
    struct sets sets;
    return get(&sets) ? sets.permitted : UINT64_MAX;
}
