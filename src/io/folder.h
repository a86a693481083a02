/* folder: what makes the name of a new file survive a power cut. Inside the room io only. */
#pragma once

#include "base/err.h"

/* Syncs the folder in which `path` stands. */
bool folder_sync(const char *path, struct err *err) MUST_CHECK;
