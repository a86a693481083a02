#include "config/keys.h"

#include "config/config.h"
#include "config/header_rules.h"
#include "config/rules.h"

#include <signal.h>

#define SECOND 1000ULL
#define DAY (86400 * SECOND)
#define WEEK (7 * DAY)
#define TIME_MAX (30 * DAY) /* fits 32 bits of ms, as the proxy keeps them */
#define MANY 10000000
#define RATE_MAX 1000000 /* requests a second; the proxy counts time in steps that fit some of them */

#define FIELD(type, member) .offset = offsetof(struct type, member)
#define RANGE(low, high) .least = (low), .most = (high)
#define LATER(text)                     \
    {                                   \
        .name = text, .kind = KEY_LATER \
    }

static const struct section_word log_levels[] = {
    {"error", LOG_LEVEL_ERROR, false},
    {"warn", LOG_LEVEL_WARN, false},
    {"info", LOG_LEVEL_INFO, false},
    {"debug", LOG_LEVEL_DEBUG, false},
    {NULL, 0, false},
};
static const struct section_word log_formats[] = {
    {"text", LOG_FORMAT_TEXT, false},
    {"json", LOG_FORMAT_JSON, false},
    {NULL, 0, false},
};
static const struct section_word access_log_formats[] = {
    {"json", CONFIG_ACCESS_LOG_JSON, false},
    {"combined", CONFIG_ACCESS_LOG_COMBINED, false},
    {NULL, 0, false},
};
static const struct section_word proxy_protocols[] = {
    {"none", 0, false},
    {"v1", 1, false},
    {"v2", 2, false},
    {NULL, 0, false},
};
static const struct section_word upstreams[] = {
    {"h1", CONFIG_UPSTREAM_H1, false},
    {"h2", CONFIG_UPSTREAM_H2, false},
    {NULL, 0, false},
};
static const struct section_word signals[] = {
    {"TERM", SIGTERM, false}, {"INT", SIGINT, false},   {"QUIT", SIGQUIT, false}, {"HUP", SIGHUP, false},
    {"USR1", SIGUSR1, false}, {"USR2", SIGUSR2, false}, {"KILL", SIGKILL, false}, {NULL, 0, false},
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

static const struct section_word tls_minimums[] = {
    {"1.2", CONFIG_TLS_1_2, false},
    {"1.3", CONFIG_TLS_1_3, false},
    {NULL, 0, false},
};
static const struct section_word client_verifies[] = {
    {"off", CONFIG_CLIENT_OFF, false},
    {"optional", CONFIG_CLIENT_OPTIONAL, false},
    {"required", CONFIG_CLIENT_REQUIRED, false},
    {NULL, 0, false},
};
static const struct section_key identity_keys[] = {
    {.name = "certificate",
     .kind = KEY_TEXT,
     FIELD(config_identity, certificate),
     .required = true,
     .rule = rule_absolute},
    {.name = "key", .kind = KEY_TEXT, FIELD(config_identity, key), .rule = rule_absolute},
    {.name = "ocsp", .kind = KEY_TEXT, FIELD(config_identity, ocsp), .rule = rule_absolute},
    {.name = NULL},
};
static const struct section identity_section = {
    .title = "a certificate",
    .keys = identity_keys,
    .size = sizeof(struct config_identity),
};
static const struct section_key listener_tls_keys[] = {
    {.name = "certificate",
     .kind = KEY_TEXT,
     FIELD(config_tls, first.certificate),
     .required = true,
     .rule = rule_absolute},
    {.name = "key", .kind = KEY_TEXT, FIELD(config_tls, first.key), .rule = rule_absolute},
    {.name = "ocsp", .kind = KEY_TEXT, FIELD(config_tls, first.ocsp), .rule = rule_absolute},
    {.name = "certificates",
     .kind = KEY_SECTIONS,
     FIELD(config_tls, more),
     RANGE(0, 1000),
     .section = &identity_section},
    {.name = "protocols",
     .kind = KEY_TEXTS,
     FIELD(config_tls, protocols),
     RANGE(0, 2),
     .rule = rule_protocol},
    {.name = "minimum",
     .kind = KEY_WORD,
     FIELD(config_tls, minimum),
     .fallback = "1.2",
     .words = tls_minimums},
    {.name = "client_ca", .kind = KEY_TEXT, FIELD(config_tls, client_ca), .rule = rule_absolute},
    {.name = "client_verify",
     .kind = KEY_WORD,
     FIELD(config_tls, client_verify),
     .fallback = "off",
     .words = client_verifies},
    {.name = "hsts",
     .kind = KEY_DURATION,
     FIELD(config_tls, hsts_ms),
     .fallback = "0s",
     RANGE(0, 3 * 365 * DAY)},
    {.name = NULL},
};
static const struct section listener_tls_section = {
    .title = "tls",
    .keys = listener_tls_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_tls, line),
};

static const struct section_word redirects[] = {
    {"https", CONFIG_REDIRECT_HTTPS, false},
    {NULL, 0, false},
};
static const struct section_key listener_keys[] = {
    {.name = "address",
     .kind = KEY_TEXT,
     FIELD(config_listener, text),
     .required = true,
     .rule = rule_listen},
    {.name = "tls", .kind = KEY_SECTION, FIELD(config_listener, tls), .section = &listener_tls_section},
    LATER("view"),
    {.name = "redirect", .kind = KEY_WORD, FIELD(config_listener, redirect), .words = redirects},
    {.name = "proxy_protocol",
     .kind = KEY_TEXTS,
     FIELD(config_listener, proxy_texts),
     RANGE(0, 1000),
     .rule = rule_network},
    {.name = NULL},
};
static const struct section listener_section = {
    .title = "a listener",
    .keys = listener_keys,
    .size = sizeof(struct config_listener),
    .has_line = true,
    .line_offset = offsetof(struct config_listener, line),
};

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

static const struct section_key timeouts_keys[] = {
    {.name = "head",
     .kind = KEY_DURATION,
     .scope = SCOPE_DEFAULTS,
     FIELD(config_timeouts, head),
     .fallback = "10s",
     RANGE(1, TIME_MAX)},
    {.name = "idle",
     .kind = KEY_DURATION,
     .scope = SCOPE_DEFAULTS,
     FIELD(config_timeouts, idle),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "connect",
     .kind = KEY_DURATION,
     FIELD(config_timeouts, connect),
     .fallback = "2s",
     RANGE(1, TIME_MAX)},
    {.name = "first_byte",
     .kind = KEY_DURATION,
     FIELD(config_timeouts, first_byte),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "stall",
     .kind = KEY_DURATION,
     FIELD(config_timeouts, stall),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "upstream_idle",
     .kind = KEY_DURATION,
     FIELD(config_timeouts, upstream_idle),
     .fallback = "4s",
     RANGE(1, TIME_MAX)},
    {.name = NULL},
};
static const struct section timeouts_section = {.title = "timeouts", .keys = timeouts_keys};

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
    {.name = "schedule", .kind = KEY_OFF, .fallback = NULL},
    LATER("eject"),
    {.name = NULL},
};
static const struct section uptests_section = {
    .title = "uptests",
    .keys = uptests_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_uptests, line),
};

static const struct section_key watch_keys[] = {
    {.name = "duration", .kind = KEY_OFF},
    LATER("errors"),
    LATER("latency"),
    LATER("minimum"),
    LATER("uptests"),
    LATER("on_fail"),
    {.name = NULL},
};
static const struct section watch_section = {.title = "watch", .keys = watch_keys};

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
static const struct section drain_section = {.title = "drain", .keys = drain_keys};

static const struct section_key health_keys[] = {
    {.name = "path",
     .kind = KEY_TEXT,
     FIELD(config_health, path),
     .fallback = "",
     .may_be_empty = true,
     .rule = rule_health_path},
    {.name = "interval",
     .kind = KEY_DURATION,
     FIELD(config_health, interval_ms),
     .fallback = "5s",
     RANGE(0, TIME_MAX)},
    {.name = "timeout",
     .kind = KEY_DURATION,
     FIELD(config_health, timeout_ms),
     .fallback = "2s",
     RANGE(1, TIME_MAX)},
    {.name = "rise", .kind = KEY_NUMBER, FIELD(config_health, rise), .fallback = "2", RANGE(1, 1000)},
    {.name = "fall", .kind = KEY_NUMBER, FIELD(config_health, fall), .fallback = "3", RANGE(1, 1000)},
    {.name = NULL},
};
static const struct section health_section = {.title = "health", .keys = health_keys};

static const struct section_key ejection_keys[] = {
    {.name = "failures",
     .kind = KEY_NUMBER,
     FIELD(config_ejection, failures),
     .fallback = "0",
     RANGE(0, 1000000)},
    {.name = "pause",
     .kind = KEY_DURATION,
     FIELD(config_ejection, pause_ms),
     .fallback = "10s",
     RANGE(1, TIME_MAX)},
    {.name = "longest",
     .kind = KEY_DURATION,
     FIELD(config_ejection, longest_ms),
     .fallback = "300s",
     RANGE(1, TIME_MAX)},
    {.name = "most", .kind = KEY_NUMBER, FIELD(config_ejection, most), .fallback = "50", RANGE(1, 100)},
    {.name = NULL},
};
static const struct section ejection_section = {.title = "ejection", .keys = ejection_keys};
static const struct section_key request_headers_keys[] = {
    {.name = "set", .kind = KEY_FIELDS, FIELD(config_headers, set), .rule = rule_request_field},
    {.name = "add", .kind = KEY_FIELDS, FIELD(config_headers, add), .rule = rule_request_addition},
    {.name = "remove",
     .kind = KEY_TEXTS,
     FIELD(config_headers, remove),
     RANGE(0, CONFIG_HEADERS_MAX),
     .rule = rule_removal},
    {.name = NULL},
};
static const struct section request_headers_section = {.title = "headers.request",
                                                       .keys = request_headers_keys};

static const struct section_key response_headers_keys[] = {
    {.name = "set", .kind = KEY_FIELDS, FIELD(config_headers, set), .rule = rule_response_field},
    {.name = "add", .kind = KEY_FIELDS, FIELD(config_headers, add), .rule = rule_response_field},
    {.name = "remove",
     .kind = KEY_TEXTS,
     FIELD(config_headers, remove),
     RANGE(0, CONFIG_HEADERS_MAX),
     .rule = rule_removal},
    {.name = NULL},
};
static const struct section response_headers_section = {.title = "headers.response",
                                                        .keys = response_headers_keys};

static const struct section_key headers_keys[] = {
    {.name = "request",
     .kind = KEY_SECTION,
     FIELD(config_header_rules, request),
     .section = &request_headers_section},
    {.name = "response",
     .kind = KEY_SECTION,
     FIELD(config_header_rules, response),
     .section = &response_headers_section},
    {.name = NULL},
};
static const struct section headers_section = {
    .title = "headers",
    .keys = headers_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_header_rules, line),
};

static const struct section_key concurrency_keys[] = {
    {.name = "per_instance",
     .kind = KEY_NUMBER,
     FIELD(config_concurrency, per_instance),
     .fallback = "0",
     RANGE(0, MANY)},
    {.name = "queue",
     .kind = KEY_NUMBER,
     FIELD(config_concurrency, queue),
     .fallback = "128",
     RANGE(0, MANY)},
    {.name = "queue_timeout",
     .kind = KEY_DURATION,
     FIELD(config_concurrency, queue_timeout_ms),
     .fallback = "5s",
     RANGE(1, TIME_MAX)},
    {.name = NULL},
};
static const struct section concurrency_section = {.title = "concurrency", .keys = concurrency_keys};

static const struct section_key retries_keys[] = {
    {.name = "attempts", .kind = KEY_NUMBER, FIELD(config_retries, attempts), .fallback = "3", RANGE(0, 15)},
    {.name = "budget",
     .kind = KEY_FRACTION,
     FIELD(config_retries, budget),
     .fallback = "0.2",
     RANGE(0, 10000000)},
    {.name = NULL},
};
static const struct section retries_section = {.title = "retries", .keys = retries_keys};
static const struct section_key page_keys[] = {
    {.name = "status",
     .kind = KEY_NUMBERS,
     FIELD(config_page, status),
     .required = true,
     RANGE(1, 200),
     .rule = rule_status},
    {.name = "html", .kind = KEY_TEXT, FIELD(config_page, html), .rule = rule_absolute},
    {.name = "json", .kind = KEY_TEXT, FIELD(config_page, json), .rule = rule_absolute},
    {.name = NULL},
};
static const struct section page_section = {
    .title = "an error page",
    .keys = page_keys,
    .size = sizeof(struct config_page),
    .has_line = true,
    .line_offset = offsetof(struct config_page, line),
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
static const struct section teardown_section = {.title = "teardown", .keys = teardown_keys};

static const struct section_key affinity_keys[] = {
    {.name = "cookie",
     .kind = KEY_TEXT,
     FIELD(config_affinity, cookie),
     .fallback = "upswap",
     .rule = rule_cookie},
    {.name = "duration",
     .kind = KEY_DURATION,
     FIELD(config_affinity, duration_ms),
     .fallback = "0s",
     RANGE(0, TIME_MAX)},
    {.name = NULL},
};
static const struct section affinity_section = {
    .title = "affinity",
    .keys = affinity_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_affinity, line),
};

static const struct section_word pins[] = {
    {"off", CONFIG_PIN_OFF, false},
    {"cookie", CONFIG_PIN_COOKIE, false},
    {NULL, 0, false},
};

static const struct section_key upstream_tls_keys[] = {
    {.name = "verify", .kind = KEY_BOOL, FIELD(config_upstream_tls, verify), .fallback = "true"},
    {.name = "server_name",
     .kind = KEY_TEXT,
     FIELD(config_upstream_tls, server_name),
     .rule = rule_server_name},
    {.name = "ca_file", .kind = KEY_TEXT, FIELD(config_upstream_tls, ca_file), .rule = rule_absolute},
    {.name = "certificate", .kind = KEY_TEXT, FIELD(config_upstream_tls, certificate), .rule = rule_absolute},
    {.name = "key", .kind = KEY_TEXT, FIELD(config_upstream_tls, key), .rule = rule_absolute},
    {.name = "minimum",
     .kind = KEY_WORD,
     FIELD(config_upstream_tls, minimum),
     .fallback = "1.2",
     .words = tls_minimums},
    {.name = NULL},
};
static const struct section upstream_tls_section = {
    .title = "tls",
    .keys = upstream_tls_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_upstream_tls, line),
};

static const struct section_key service_keys[] = {
    {.name = "name",
     .kind = KEY_TEXT,
     .scope = SCOPE_SERVICE,
     FIELD(config_service, name),
     .required = true,
     .rule = rule_service_name},
    {.name = "hosts", .kind = KEY_TEXTS, FIELD(config_service, hosts), RANGE(0, 10000), .rule = rule_host},
    {.name = "paths",
     .kind = KEY_TEXTS,
     FIELD(config_service, paths),
     .fallback = "/",
     RANGE(1, 1000),
     .rule = rule_path_prefix},
    {.name = "strip_path", .kind = KEY_BOOL, FIELD(config_service, strip_path), .fallback = "false"},
    {.name = "redirect_https", .kind = KEY_BOOL, FIELD(config_service, redirect_https), .fallback = "false"},
    {.name = "canonical_host",
     .kind = KEY_TEXT,
     FIELD(config_service, canonical_host),
     .rule = rule_canonical_host},
    {.name = "error_pages",
     .kind = KEY_SECTIONS,
     FIELD(config_service, pages),
     RANGE(0, 100),
     .section = &page_section},
    {.name = "forwarded", .kind = KEY_BOOL, FIELD(config_service, forwarded), .fallback = "false"},
    {.name = "headers", .kind = KEY_SECTION, FIELD(config_service, headers), .section = &headers_section},
    {.name = "body", .kind = KEY_SIZE, FIELD(config_service, body), .fallback = "0", RANGE(0, 1ULL << 50)},
    {.name = "requests_per_address",
     .kind = KEY_NUMBER,
     FIELD(config_service, rate.per_second),
     .fallback = "0",
     RANGE(0, RATE_MAX)},
    {.name = "requests_burst",
     .kind = KEY_NUMBER,
     FIELD(config_service, rate.burst),
     .fallback = "0",
     RANGE(0, RATE_MAX)},
    {.name = "instances",
     .kind = KEY_TEXTS,
     FIELD(config_service, instances),
     RANGE(0, 10000),
     .rule = rule_instance},
    {.name = "balance",
     .kind = KEY_TEXT,
     FIELD(config_service, balance_text),
     .fallback = "round_robin",
     .rule = rule_balance},
    {.name = "upstream",
     .kind = KEY_WORD,
     FIELD(config_service, upstream),
     .fallback = "h1",
     .words = upstreams},
    {.name = "affinity", .kind = KEY_SECTION, FIELD(config_service, affinity), .section = &affinity_section},
    {.name = "pin", .kind = KEY_WORD, FIELD(config_service, pin), .fallback = "off", .words = pins},
    {.name = "pin_duration",
     .kind = KEY_DURATION,
     FIELD(config_service, pin_duration_ms),
     .fallback = "15m",
     RANGE(SECOND, WEEK)},
    {.name = "proxy_protocol",
     .kind = KEY_WORD,
     FIELD(config_service, proxy_protocol),
     .fallback = "none",
     .words = proxy_protocols},
    {.name = "tls", .kind = KEY_SECTION, FIELD(config_service, tls), .section = &upstream_tls_section},
    {.name = "timeouts", .kind = KEY_SECTION, FIELD(config_service, timeouts), .section = &timeouts_section},
    {.name = "ready_timeout",
     .kind = KEY_DURATION,
     FIELD(config_service, ready_timeout_ms),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "hold_timeout",
     .kind = KEY_DURATION,
     FIELD(config_service, hold_timeout_ms),
     .fallback = "24h",
     RANGE(1, TIME_MAX)},
    {.name = "uptests", .kind = KEY_SECTION, FIELD(config_service, uptests), .section = &uptests_section},
    {.name = "watch", .kind = KEY_SECTION, .section = &watch_section},
    {.name = "drain", .kind = KEY_SECTION, FIELD(config_service, drain), .section = &drain_section},
    {.name = "health", .kind = KEY_SECTION, FIELD(config_service, health), .section = &health_section},
    {.name = "ejection", .kind = KEY_SECTION, FIELD(config_service, ejection), .section = &ejection_section},
    {.name = "slow_start",
     .kind = KEY_DURATION,
     FIELD(config_service, slow_start_ms),
     .fallback = "0s",
     RANGE(0, TIME_MAX)},
    {.name = "concurrency",
     .kind = KEY_SECTION,
     FIELD(config_service, concurrency),
     .section = &concurrency_section},
    {.name = "retries", .kind = KEY_SECTION, FIELD(config_service, retries), .section = &retries_section},
    {.name = "teardown", .kind = KEY_SECTION, FIELD(config_service, teardown), .section = &teardown_section},
    LATER("launch"),
    LATER("shadow"),
    {.name = NULL},
};
static const struct section service_section = {
    .title = "a service",
    .keys = service_keys,
    .size = sizeof(struct config_service),
    .has_line = true,
    .line_offset = offsetof(struct config_service, line),
    .inherits = true,
};

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
     .section = &listener_section},
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
     .section = &service_section,
     .is_defaults = true},
    {.name = "services",
     .kind = KEY_SECTIONS,
     FIELD(config, services),
     RANGE(0, 100000),
     .section = &service_section},
    {.name = NULL},
};
const struct section keys_file = {.title = "the file", .keys = file_keys, .size = sizeof(struct config)};

/* KEY_SECTIONS puts the count right behind the pointer. */
_Static_assert(offsetof(struct config, listener_count) == offsetof(struct config, listeners) + sizeof(void *),
               "");
_Static_assert(offsetof(struct config_tls, more_count) == offsetof(struct config_tls, more) + sizeof(void *),
               "");
_Static_assert(offsetof(struct config, service_count) == offsetof(struct config, services) + sizeof(void *),
               "");
_Static_assert(offsetof(struct config_service, page_count) ==
                   offsetof(struct config_service, pages) + sizeof(void *),
               "");
/* KEY_WORD fills an int. */
_Static_assert(sizeof(enum log_level) == sizeof(int), "");
