/* The one rule of who may be taken out of rotation by its uptests. */
#include "control/quarantine.h"

static bool could_serve(const struct quarantine_case *one)
{
    return one->rotates && one->up;
}

/* The index of one that must serve though it fails; `count`: there is none, or none is needed. */
static size_t last_resort(const struct quarantine_case *cases, size_t count)
{
    size_t found = count;
    for (size_t i = 0; i < count; i++) {
        if (!could_serve(&cases[i]))
            continue;
        if (!cases[i].fails)
            return count;
        if (found == count || (cases[found].out && !cases[i].out))
            found = i;
    }
    return found;
}

static bool any_could_serve(const struct quarantine_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (could_serve(&cases[i]))
            return true;
    }
    return false;
}

void quarantine_decide(struct quarantine_case *cases, size_t count)
{
    bool possible = any_could_serve(cases, count);
    size_t stays = last_resort(cases, count);
    for (size_t i = 0; i < count; i++)
        cases[i].out = possible && cases[i].fails && i != stays;
}
