/* program: how a program that a release brings along is run: as whom, where, and with which environment. For
 * uptests and for the launch. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "control/environment.h"
#include "io/child.h"

/* What the config says; all of it must stay valid during program_prepare only. */
struct program_plan {
    const char *section;                   /* of the config, for messages: "uptests" */
    const char *user;                      /* NULL: as the daemon */
    const char *directory;                 /* may hold %{release}; NULL: "/" */
    const char *env_file;                  /* may hold %{release}; NULL: none */
    const struct config_list *environment; /* NAME=VALUE */
    const struct config_list *command;     /* may hold %{release}; what is put in front, or all there is */
    const char *release;                   /* or "" */
};

struct program {
    char **command; /* NULL-terminated */
    size_t command_count;
    char *directory;
    struct child_user user;
    bool has_user;
    struct environment *environment;
};

/* False with a sentence; program_free is needed in any case. */
bool program_prepare(struct program *program, const struct program_plan *plan, struct err *err) MUST_CHECK;
/* Frees what it holds, not itself; a zeroed one is fine. */
void program_free(struct program *program);

/* How it is to be started; the caller adds argv and envp, and changes what it wants otherwise. The group gets
 * KILL 2 s after a TERM, and what is left of it 1 s after the exit. */
struct child_spec program_spec(const struct program *program, uint64_t timeout_ms);
