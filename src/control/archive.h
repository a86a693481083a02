/* archive: what a gate has found, one file a deployment: DIRECTORY/deployments/NAME.json, and its shadow,
 * NAME.shadow.json; what a launch has written, NAME.launch.json, and the command of a pause,
 * NAME.command.json; what the last watch has found, NAME.watch.json, and what it measures by,
 * NAME.yardstick.json. Written and synced on a thread of its own, since the outputs of a large gate are many
 * megabytes. */
#pragma once

#include "base/err.h"
#include "io/loop.h"

#include <jansson.h>

struct archive;

enum archive_kind {
    ARCHIVE_GATE,
    ARCHIVE_SHADOW,
    ARCHIVE_LAUNCH,
    ARCHIVE_WATCH,
    ARCHIVE_COMMAND,
    ARCHIVE_YARDSTICK,
    ARCHIVE_KINDS
};

/* Makes the folder. */
struct archive *archive_open(struct loop *loop, const char *directory, struct err *err) MUST_CHECK;

/* Writes the result of a deployment's gate, shadow, launch, or watch. It becomes the archive's, and
 * is another thread's for a while: nobody may hold a reference to it or to any part of it. `done` comes
 * later, with NULL when it is on disk, else with a sentence; without a `done` the sentence is logged. */
void archive_write(struct archive *archive, const char *deployment, enum archive_kind kind, json_t *result,
                   void (*done)(void *arg, const char *failure), void *arg);

/* As archive_write, for what nobody waits for: archive_read gives it at once, before it is on disk. */
void archive_publish(struct archive *archive, const char *deployment, enum archive_kind kind, json_t *result,
                     void (*done)(void *arg, const char *failure), void *arg);

/* What was written for it; NULL where nothing was, or the file is damaged, which is logged once. A new
 * reference. */
json_t *archive_read(struct archive *archive, const char *deployment, enum archive_kind kind);
/* Is there a file for it, damaged or not? */
bool archive_has(struct archive *archive, const char *deployment, enum archive_kind kind);
/* All that was written for it. */
void archive_drop(struct archive *archive, const char *deployment);

/* Waits for what is being written; their `done` comes first. NULL is fine. */
void archive_close(struct archive *archive);
