/* log_file: where the access log goes, of the thread that writes it. A log must not drive out of the kernel's
 * cache of files what others read, so what was written long ago is let go from there. */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define LOG_FILE_KEPT (32 << 20) /* bytes at the end that stay in the cache, for who follows the log */
#define LOG_FILE_STEP (8 << 20)  /* bytes that are let go at once */

struct log_file {
    int fd;          /* -1: none */
    uint64_t end;    /* bytes in the file when they were last written */
    uint64_t let_go; /* bytes at its front that were looked at */
};

/* Writes there from now on, and closes what was there before; -1: nowhere. */
void log_file_use(struct log_file *file, int fd);

/* Takes off the front of `lines` what is written, or goes nowhere. Returns 0, or the error of a write for
 * which the rest stays: EAGAIN where one does not block and could not go on. */
int log_file_write(struct log_file *file, struct str *lines);
