/* log_writer: the thread that writes the access log. Workers hand it their pieces and never wait for it:
 * where a reader stalls, or a disk does, as many lines wait as there is room for, and what comes then is
 * lost, by whole pieces, and counted. What is lost, by that or by a write that failed, is said now and then.
 */
#pragma once

#include "base/err.h"
#include "plane/access_log.h"

/* Bytes of lines that may wait: those of two seconds of 40,000 requests each, for a disk that is held up by
 * what others sync. */
#define LOG_WRITER_ROOM (32 << 20)
/* How long lines wait for a reader at the end, and one that is in part written when another file is named. */
#define LOG_WRITER_PATIENCE_MS 1000

struct log_writer;

/* Starts the thread. NULL: none could be had. */
struct log_writer *log_writer_start(struct err *err) MUST_CHECK;
/* Lines go there from now on, also those that wait, and what was there before is closed; fd is the writer's.
 */
void log_writer_use(struct log_writer *writer, int fd);
/* From any thread; the batch is the writer's then. */
void log_writer_hand(struct log_writer *writer, struct access_log_batch *batch);
/* Writes what waits, for as long as the patience lasts, and frees the writer. Nobody may hand it any more. A
 * thread that the kernel does not let go of is left behind after twice that time: the process must end. */
void log_writer_end(struct log_writer *writer);
