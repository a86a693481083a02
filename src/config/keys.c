/* The keys of the whole file, and of its sections that are neither listeners nor services. Invariant:
 * whatever is known about a key stands in its row. */
#include "config/keys.h"

#include "config/keys_rows.h"
#include "config/rules.h"

static const struct section_word log_levels[] = {
    {"error", LOG_LEVEL_ERROR},
    {"warn", LOG_LEVEL_WARN},
    {"info", LOG_LEVEL_INFO},
    {"debug", LOG_LEVEL_DEBUG},
    {NULL, 0},
};
static const struct section_word log_formats[] = {
    {"text", LOG_FORMAT_TEXT},
    {"json", LOG_FORMAT_JSON},
    {NULL, 0},
};
static const struct section_word access_log_formats[] = {
    {"json", CONFIG_ACCESS_LOG_JSON},
    {"combined", CONFIG_ACCESS_LOG_COMBINED},
    {NULL, 0},
};

static const struct section_key log_keys[] = {
    {.name = "level", .kind = KEY_WORD, FIELD(config, log_level), .fallback = "info", .words = log_levels},
    {.name = "format", .kind = KEY_WORD, FIELD(config, log_format), .fallback = "text", .words = log_formats},
    {.name = NULL},
};
static const struct section log_section = {.title = "log", .keys = log_keys};

static const struct section_key access_log_keys[] = {
    {.name = "path",
     .kind = KEY_TEXT,
     FIELD(config, access_log_path),
     .required = true,
     .rule = rule_absolute},
    {.name = "format",
     .kind = KEY_WORD,
     FIELD(config, access_log_format),
     .fallback = "json",
     .words = access_log_formats},
    {.name = NULL},
};
static const struct section access_log_section = {.title = "access_log", .keys = access_log_keys};

static const struct section_key admin_keys[] = {
    {.name = "socket",
     .kind = KEY_TEXT,
     FIELD(config_admin, socket),
     .fallback = "/run/upswap/admin.sock",
     .rule = rule_socket},
    {.name = "mode", .kind = KEY_MODE, FIELD(config_admin, mode), .fallback = "0660"},
    {.name = "group", .kind = KEY_TEXT, FIELD(config_admin, group)},
    {.name = "listen", .kind = KEY_TEXT, FIELD(config_admin, listen), .rule = rule_listen},
    {.name = "token_file", .kind = KEY_TEXT, FIELD(config_admin, token_file), .rule = rule_absolute},
    LATER("tls"),
    {.name = NULL},
};
static const struct section admin_section = {.title = "admin", .keys = admin_keys};

static const struct section_key limits_keys[] = {
    {.name = "connections",
     .kind = KEY_NUMBER,
     FIELD(config_limits, connections),
     .fallback = "0",
     RANGE(0, MANY)},
    {.name = "head", .kind = KEY_SIZE, FIELD(config_limits, head), .fallback = "32k", RANGE(512, 1 << 20)},
    {.name = "fields", .kind = KEY_NUMBER, FIELD(config_limits, fields), .fallback = "100", RANGE(1, 256)},
    {.name = "body", .kind = KEY_SIZE, FIELD(config_limits, body), .fallback = "0", RANGE(0, 1ULL << 50)},
    {.name = "connections_per_address",
     .kind = KEY_NUMBER,
     FIELD(config_limits, connections_per_address),
     .fallback = "0",
     RANGE(0, MANY)},
    {.name = "requests_per_address",
     .kind = KEY_NUMBER,
     FIELD(config_limits, rate.per_second),
     .fallback = "0",
     RANGE(0, RATE_MAX)},
    {.name = "requests_burst",
     .kind = KEY_NUMBER,
     FIELD(config_limits, rate.burst),
     .fallback = "0",
     RANGE(0, RATE_MAX)},
    {.name = NULL},
};
static const struct section limits_section = {.title = "limits", .keys = limits_keys};

static const struct section_key http2_keys[] = {
    {.name = "streams", .kind = KEY_NUMBER, FIELD(config_http2, streams), .fallback = "100", RANGE(1, 10000)},
    {.name = "window",
     .kind = KEY_SIZE,
     FIELD(config_http2, window),
     .fallback = "64k",
     RANGE(1024, 1 << 24)},
    {.name = "resets", .kind = KEY_NUMBER, FIELD(config_http2, resets), .fallback = "200", RANGE(1, MANY)},
    {.name = "pings", .kind = KEY_NUMBER, FIELD(config_http2, pings), .fallback = "600", RANGE(1, MANY)},
    {.name = "settings", .kind = KEY_NUMBER, FIELD(config_http2, settings), .fallback = "60", RANGE(1, MANY)},
    {.name = "priorities",
     .kind = KEY_NUMBER,
     FIELD(config_http2, priorities),
     .fallback = "1000",
     RANGE(1, MANY)},
    {.name = "empty_frames",
     .kind = KEY_NUMBER,
     FIELD(config_http2, empty_frames),
     .fallback = "100",
     RANGE(1, MANY)},
    {.name = "window_updates",
     .kind = KEY_NUMBER,
     FIELD(config_http2, window_updates),
     .fallback = "1000",
     RANGE(1, MANY)},
    {.name = "continuations",
     .kind = KEY_NUMBER,
     FIELD(config_http2, continuations),
     .fallback = "8",
     RANGE(1, 1000)},
    {.name = NULL},
};
static const struct section http2_section = {.title = "http2", .keys = http2_keys};

static const struct section_key file_keys[] = {
    {.name = "workers", .kind = KEY_NUMBER, FIELD(config, workers), .fallback = "0", RANGE(0, 256)},
    {.name = "user", .kind = KEY_TEXT, FIELD(config, user)},
    {.name = "state_directory",
     .kind = KEY_TEXT,
     FIELD(config, state_directory),
     .fallback = "/var/lib/upswap",
     .rule = rule_absolute},
    {.name = "log", .kind = KEY_SECTION, .section = &log_section},
    {.name = "access_log", .kind = KEY_SECTION, .section = &access_log_section},
    {.name = "admin", .kind = KEY_SECTION, FIELD(config, admin), .section = &admin_section},
    {.name = "listeners",
     .kind = KEY_SECTIONS,
     .required = true,
     FIELD(config, listeners),
     RANGE(1, 64),
     .section = &keys_listener},
    {.name = "limits", .kind = KEY_SECTION, FIELD(config, limits), .section = &limits_section},
    {.name = "http2", .kind = KEY_SECTION, FIELD(config, http2), .section = &http2_section},
    {.name = "trusted_proxies",
     .kind = KEY_TEXTS,
     FIELD(config, trusted_texts),
     RANGE(0, 1000),
     .rule = rule_network},
    {.name = "defaults",
     .kind = KEY_SECTION,
     FIELD(config, defaults),
     .section = &keys_service,
     .is_defaults = true},
    {.name = "services",
     .kind = KEY_SECTIONS,
     FIELD(config, services),
     RANGE(0, 100000),
     .section = &keys_service},
    {.name = NULL},
};
const struct section keys_file = {.title = "the file", .keys = file_keys, .size = sizeof(struct config)};

COUNT_FOLLOWS(config, listeners, listener_count);
COUNT_FOLLOWS(config, services, service_count);
/* KEY_WORD fills an int. */
_Static_assert(sizeof(enum log_level) == sizeof(int), "");
