/* quarantine: which of a pool's instances get no requests because their uptests fail. Pure: what is known of
 * each comes in, who is out comes out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct quarantine_case {
    bool rotates; /* nobody has taken it out by hand */
    bool up;      /* neither its checks nor its traffic speak against it */
    bool fails;   /* its uptests do */
    bool out;     /* at present; from quarantine_decide on: to be */
};

/* Those that fail are out while another one serves, so that no pool is emptied by its uptests: where all that
 * could serve fail, one stays (one that is in already, if there is such), and where none is up all do. */
void quarantine_decide(struct quarantine_case *cases, size_t count);
