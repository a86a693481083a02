/* file: a whole file as bytes, and where one really is. Those that are written are io/file's. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads a whole regular file of at most `most` bytes into out (replaced). *missing (may be NULL) tells ENOENT
 * from other faults. */
bool file_read(const char *path, size_t most, struct buf *out, bool *missing, struct err *err) MUST_CHECK;

/* The path with its folder's real name, by whatever links it is written: the file itself need not be there,
 * and is not followed. NULL: there is no such folder. To be freed. */
char *file_in_real_folder(const char *path);
