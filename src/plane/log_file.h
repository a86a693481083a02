/* log_file: where the access log goes, of the plane's main thread. A disk that is full must not stop traffic,
 * so what cannot be written is lost, and said now and then; and a log must not drive out of the kernel's
 * cache of files what others read, so what was written long ago is let go from there. */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define LOG_FILE_KEPT (32 << 20) /* bytes at the end that stay in the cache, for who follows the log */
#define LOG_FILE_STEP (8 << 20)  /* bytes that are let go at once */

struct log_file {
    int fd;                 /* -1: none */
    uint64_t end;           /* bytes in the file when they were last written */
    uint64_t let_go;        /* bytes at its front that were looked at */
    uint64_t complained_ms; /* 0: never */
};

/* Writes there from now on, and closes what was there before; -1: nowhere. */
void log_file_use(struct log_file *file, int fd);

void log_file_write(struct log_file *file, struct str lines, uint64_t now_ms);
