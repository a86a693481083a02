/* program: where an upgrade looks for the program to go on as. */
#pragma once

#include "keeper/handover.h"

/* Under which absolute path was this process started? As the shell found it: links on the way are not
 * followed, so that one which points elsewhere some day is an upgrade; a later change of folder does not
 * matter. `name` is argv[0], `self` a path that always is this program (/proc/self/exe), whose own path is
 * taken where the name leads somewhere else. */
void program_find(const char *name, const char *self, char path[HANDOVER_PATH_MAX]);
