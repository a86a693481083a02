/* file: a whole file as bytes. Those that are written are io/file's. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads a whole regular file of at most `most` bytes into out (replaced). *missing (may be NULL) tells ENOENT
 * from other faults. */
bool file_read(const char *path, size_t most, struct buf *out, bool *missing, struct err *err) MUST_CHECK;
