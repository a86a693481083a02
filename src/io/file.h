/* file: files that must survive a power cut, and a log that is appended to without making the loop wait. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "io/loop.h"

#include <sys/types.h>

/* Replaces path by these bytes in four steps: temporary file beside it, fsync, rename, fsync of the folder.
 * After success it survives a power cut; after failure the old file is as it was. */
bool file_replace(const char *path, struct str bytes, mode_t mode, struct err *err) MUST_CHECK;

/* Makes a folder, and those above it; there already is fine. */
bool file_make_directory(const char *path, mode_t mode, struct err *err) MUST_CHECK;

/* Takes an exclusive lock on path (made if need be) for the life of the process; waits up to wait_ms for
 * another holder to go. Returns the descriptor to keep, or -1. The message names the holder's pid where it
 * can. */
int file_lock(const char *path, uint64_t wait_ms, struct err *err) MUST_CHECK;

struct appender;

/* Opens path (made if need be, mode 0600, folder synced) to append durably. Writes and fdatasyncs happen on a
 * thread of its own; what is waiting is written and synced together. */
struct appender *appender_open(struct loop *loop, const char *path, struct err *err) MUST_CHECK;

/* Appends bytes (copied). `done` is called on the loop's thread, in the order of the calls, when they are on
 * disk (error 0), or with errno: then the file has been cut back to its last good length, and all that was
 * waiting behind fails too. */
void appender_write(struct appender *appender, struct str bytes, void (*done)(void *arg, int error),
                    void *arg);

/* As appender_write, at once and on this thread; for the start, before the loop turns, and for the end. Waits
 * for what is queued. */
bool appender_write_now(struct appender *appender, struct str bytes, struct err *err) MUST_CHECK;

/* Is the file still where it was opened? Else what is written goes where nobody will read it. */
bool appender_is_in_place(const struct appender *appender);

/* Goes on at the end of the file that is at the path now, made if need be; what is queued is written to the
 * one before first. False: nothing has changed. */
bool appender_reopen(struct appender *appender, struct err *err) MUST_CHECK;

/* Bytes in the file, without what is waiting. */
uint64_t appender_size(const struct appender *appender);

/* Finishes what is queued (callbacks included) and closes. */
void appender_close(struct appender *appender);
