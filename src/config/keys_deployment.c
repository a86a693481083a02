/* The keys of how a service's release is brought live, and the old one taken away. */
#include "config/keys_rows.h"
#include "config/rules.h"

#include <signal.h>

static const struct section_word signals[] = {
    {"TERM", SIGTERM, false}, {"INT", SIGINT, false},   {"QUIT", SIGQUIT, false}, {"HUP", SIGHUP, false},
    {"USR1", SIGUSR1, false}, {"USR2", SIGUSR2, false}, {"KILL", SIGKILL, false}, {NULL, 0, false},
};

static const struct section_key uptests_keys[] = {
    {.name = "directory", .kind = KEY_TEXT, FIELD(config_uptests, directory), .rule = rule_release_path},
    {.name = "timeout",
     .kind = KEY_DURATION,
     FIELD(config_uptests, timeout_ms),
     .fallback = "10s",
     RANGE(1, TIME_MAX)},
    {.name = "total_timeout",
     .kind = KEY_DURATION,
     FIELD(config_uptests, total_timeout_ms),
     .fallback = "120s",
     RANGE(1, TIME_MAX)},
    {.name = "parallel",
     .kind = KEY_NUMBER,
     FIELD(config_uptests, parallel),
     .fallback = "8",
     RANGE(1, 1024)},
    {.name = "required", .kind = KEY_BOOL, FIELD(config_uptests, required), .fallback = "true"},
    {.name = "user", .kind = KEY_TEXT, FIELD(config_uptests, user)},
    {.name = "chdir", .kind = KEY_TEXT, FIELD(config_uptests, chdir), .rule = rule_release_path},
    {.name = "env_file", .kind = KEY_TEXT, FIELD(config_uptests, env_file), .rule = rule_release_path},
    {.name = "environment",
     .kind = KEY_ENVIRONMENT,
     FIELD(config_uptests, environment),
     .rule = rule_variable},
    {.name = "runner",
     .kind = KEY_TEXTS,
     FIELD(config_uptests, runner),
     RANGE(0, 64),
     .rule = rule_release_text},
    {.name = "schedule",
     .kind = KEY_DURATION,
     FIELD(config_uptests, schedule_ms),
     .fallback = "0s",
     RANGE(0, TIME_MAX)},
    {.name = "eject", .kind = KEY_BOOL, FIELD(config_uptests, eject), .fallback = "false"},
    {.name = NULL},
};
const struct section keys_uptests = {
    .title = "uptests",
    .keys = uptests_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_uptests, line),
};

static const struct section_key watch_keys[] = {
    {.name = "duration",
     .kind = KEY_DURATION,
     FIELD(config_watch, duration_ms),
     .fallback = "0s",
     RANGE(0, TIME_MAX)},
    LATER("errors"),
    LATER("latency"),
    LATER("minimum"),
    LATER("uptests"),
    LATER("on_fail"),
    {.name = NULL},
};
const struct section keys_watch = {.title = "watch", .keys = watch_keys};

static const struct section_key drain_keys[] = {
    {.name = "requests",
     .kind = KEY_DURATION,
     FIELD(config_drain, requests_ms),
     .fallback = "30s",
     RANGE(0, TIME_MAX)},
    {.name = "streams",
     .kind = KEY_DURATION,
     FIELD(config_drain, streams_ms),
     .fallback = "60s",
     RANGE(0, TIME_MAX)},
    {.name = "websockets",
     .kind = KEY_DURATION,
     FIELD(config_drain, websockets_ms),
     .fallback = "300s",
     RANGE(0, TIME_MAX)},
    {.name = "tunnels",
     .kind = KEY_DURATION,
     FIELD(config_drain, tunnels_ms),
     .fallback = "300s",
     RANGE(0, TIME_MAX)},
    {.name = "spread",
     .kind = KEY_DURATION,
     FIELD(config_drain, spread_ms),
     .fallback = "60s",
     RANGE(0, TIME_MAX)},
    {.name = NULL},
};
const struct section keys_drain = {.title = "drain", .keys = drain_keys};

static const struct section_key launch_keys[] = {
    {.name = "command",
     .kind = KEY_TEXTS,
     FIELD(config_launch, command),
     RANGE(0, 64),
     .rule = rule_release_text},
    {.name = "timeout",
     .kind = KEY_DURATION,
     FIELD(config_launch, timeout_ms),
     .fallback = "120s",
     RANGE(1, TIME_MAX)},
    {.name = "count", .kind = KEY_NUMBER, FIELD(config_launch, count), .fallback = "0", RANGE(0, 10000)},
    {.name = "user", .kind = KEY_TEXT, FIELD(config_launch, user)},
    {.name = "chdir", .kind = KEY_TEXT, FIELD(config_launch, chdir), .rule = rule_release_path},
    {.name = "env_file", .kind = KEY_TEXT, FIELD(config_launch, env_file), .rule = rule_release_path},
    {.name = "environment",
     .kind = KEY_ENVIRONMENT,
     FIELD(config_launch, environment),
     .rule = rule_variable},
    {.name = NULL},
};
const struct section keys_launch = {
    .title = "launch",
    .keys = launch_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_launch, line),
};

static const struct section_key teardown_keys[] = {
    {.name = "command",
     .kind = KEY_TEXTS,
     FIELD(config_teardown, command),
     RANGE(0, 64),
     .rule = rule_plain_text},
    {.name = "signal", .kind = KEY_WORD, FIELD(config_teardown, signal), .words = signals},
    {.name = "timeout",
     .kind = KEY_DURATION,
     FIELD(config_teardown, timeout_ms),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "attempts",
     .kind = KEY_NUMBER,
     FIELD(config_teardown, attempts),
     .fallback = "5",
     RANGE(1, 1000)},
    {.name = NULL},
};
const struct section keys_teardown = {.title = "teardown", .keys = teardown_keys};
