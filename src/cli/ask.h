/* ask: one question to the daemon, from a command, with everything that can go wrong told on stderr. */
#pragma once

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"

#define ASK_MS 10000        /* the daemon answers a question at once */
#define ASK_CHANGE_MS 30000 /* and a change soon, but a reload with thousands of services takes its time */

/* CLI_DONE: reply is a success and must be freed. Else the exit status; the sentence is on stderr. */
int ask(const struct session *session, const char *method, const char *path, const json_t *body,
        uint64_t timeout_ms, struct client_reply *reply) MUST_CHECK;

/* As ask, by POST, for what changes something: where the answer is lost, or Ctrl-C does not wait for it, the
 * sentence says that it may have been done. */
int ask_change(const struct session *session, const char *path, const json_t *body, uint64_t timeout_ms,
               struct client_reply *reply) MUST_CHECK;

#define ASK_TELLS "\"upswap status\" and \"upswap events\" tell"

/* Adds to the sentence of CLIENT_UNANSWERED or CLIENT_ABANDONED that what was asked for may have been done,
 * and what tells. */
void ask_doubt(struct err *err, const char *tells);

/* What a request came to, as ask returns it: the sentence, the daemon's or `err`, is printed. A reply that is
 * a refusal is freed. */
int ask_end(enum client_result result, struct client_reply *reply, struct err *err) MUST_CHECK;

/* Asks by GET and prints the reply under --json, else hands it to `show`. `path` is freed. */
typedef void ask_show_fn(struct terminal *terminal, const json_t *answer);
int ask_show(const struct session *session, char *path, ask_show_fn *show) MUST_CHECK;

/* Asks by POST and prints the reply under --json, else the sentence. All but the session are released. */
int ask_post(const struct session *session, char *path, json_t *body, char *sentence) MUST_CHECK;

/* ask_post of /v1/services/SERVICE/VERB; the sentence is "SERVICE: WORDS". `body` is released. */
int ask_verb(const struct session *session, const char *service, const char *verb, json_t *body,
             const char *words) MUST_CHECK;

/* Prints a sentence on stderr, the only way to there: control characters in it are shown as "?". */
void ask_warn(const char *before, const char *sentence);

/* The same behind "upswap: ". Returns status. */
int ask_fail(int status, const struct err *err);

/* Prints the reply's text as it came. */
void ask_print(const struct client_reply *reply);
