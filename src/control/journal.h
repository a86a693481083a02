/* journal: DIRECTORY/journal, what was decided, one record a line. A record is on disk before anything is
 * done about it.
 *
 * A last line that is torn was never answered for, and is cut off; any other damage refuses to start. */
#pragma once

#include "base/err.h"
#include "deploy/record.h"
#include "io/loop.h"

/* A journal that is larger when it is opened is rewritten to what the registry needs. */
#define JOURNAL_COMPACT_BYTES ((uint64_t)4 * 1024 * 1024)
/* Ended deployments of a service that are kept. */
#define JOURNAL_HISTORY 200

struct journal;

/* Reads the journal (none is fine) into the registry, which must be empty, and opens it to append. NULL with
 * a sentence that names the record, its offset, what can be done, and what is live then. `compact_bytes`:
 * JOURNAL_COMPACT_BYTES, save in tests. `forgotten` (may be NULL) is called with the name of each pool that
 * the history drops. */
struct journal *journal_open(struct loop *loop, const char *directory, struct registry *registry,
                             uint64_t compact_bytes, void (*forgotten)(void *arg, const char *pool),
                             void *arg, struct err *err) MUST_CHECK;

/* Could the next control read it, while this one may still append to it? As far as it gets in that time.
 * Changes nothing. False with a sentence that says what can be done. */
bool journal_check(const char *directory, uint64_t within_ms, struct err *err) MUST_CHECK;

/* Appends the record, which gets its number, and its time where it has none; it must stay until `done` is
 * called (never from here): error 0: it is on disk; else errno: it is not, nor is any other that was appended
 * since. Where the file was taken away the whole registry (which must have what was appended before) is first
 * written anew, as long as the folder is the marked one. */
void journal_append(struct journal *journal, struct record *record,
                    void (*done)(void *arg, struct record *record, int error), void *arg);

/* How many batches of records could not be written since it was opened. */
uint64_t journal_failures(const struct journal *journal);
/* How many records there were when it was opened. */
uint64_t journal_read(const struct journal *journal);
/* Keeps in the folder's mark (see state.h; taken) how many there are. */
void journal_mark(struct journal *journal, int mark);
/* What `error` of a record means, with what mends it; owned by the caller. */
char *journal_failure(const struct journal *journal, int error);

/* Finishes the batch that is being written and closes; nobody is told any more, and what waited behind it has
 * not happened. NULL is fine. */
void journal_close(struct journal *journal);
