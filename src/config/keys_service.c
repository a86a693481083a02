/* The keys of a service, and of `defaults`. */
#include "config/header_rules.h"
#include "config/keys_rows.h"
#include "config/rules.h"

static const struct section_word proxy_protocols[] = {
    {"none", 0},
    {"v1", 1},
    {"v2", 2},
    {NULL, 0},
};
static const struct section_word upstreams[] = {
    {"h1", CONFIG_UPSTREAM_H1},
    {"h2", CONFIG_UPSTREAM_H2},
    {NULL, 0},
};

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
    {.name = "minimum_rate",
     .kind = KEY_SIZE,
     FIELD(config_timeouts, minimum_rate),
     .fallback = "100",
     RANGE(0, 1 << 30)},
    {.name = "upstream_idle",
     .kind = KEY_DURATION,
     FIELD(config_timeouts, upstream_idle),
     .fallback = "4s",
     RANGE(1, TIME_MAX)},
    {.name = NULL},
};
static const struct section timeouts_section = {.title = "timeouts", .keys = timeouts_keys};

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
static const struct section request_headers_section = {
    .title = "headers.request",
    .keys = request_headers_keys,
    .take_back = header_rules_take_back,
};

static const struct section_key response_headers_keys[] = {
    {.name = "set", .kind = KEY_FIELDS, FIELD(config_headers, set), .rule = rule_response_field},
    {.name = "add", .kind = KEY_FIELDS, FIELD(config_headers, add), .rule = rule_response_addition},
    {.name = "remove",
     .kind = KEY_TEXTS,
     FIELD(config_headers, remove),
     RANGE(0, CONFIG_HEADERS_MAX),
     .rule = rule_removal},
    {.name = NULL},
};
static const struct section response_headers_section = {
    .title = "headers.response",
    .keys = response_headers_keys,
    .take_back = header_rules_take_back,
};

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
     RANGE(0, TIME_MAX),
     .rule = rule_whole_seconds},
    {.name = NULL},
};
static const struct section affinity_section = {
    .title = "affinity",
    .keys = affinity_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_affinity, line),
};

static const struct section_word traces[] = {
    {"start", CONFIG_TRACE_START},
    {"pass", CONFIG_TRACE_PASS},
    {"trusted", CONFIG_TRACE_TRUSTED},
    {NULL, 0},
};

static const struct section_word pins[] = {
    {"off", CONFIG_PIN_OFF},
    {"cookie", CONFIG_PIN_COOKIE},
    {NULL, 0},
};

static const struct section_key preview_keys[] = {
    {.name = "header",
     .kind = KEY_TEXT,
     FIELD(config_preview, header),
     .fallback = "X-Upswap-Preview",
     .rule = rule_preview_header},
    {.name = "secret",
     .kind = KEY_TEXT,
     FIELD(config_preview, secret),
     .required = true,
     .rule = rule_secret},
    {.name = NULL},
};
static const struct section preview_section = {
    .title = "preview",
    .keys = preview_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_preview, line),
};

static const struct section_word canaries[] = {
    {"cookie", CONFIG_CANARY_COOKIE},
    {"address", CONFIG_CANARY_ADDRESS},
    {NULL, 0},
};
static const struct section_key canary_keys[] = {
    {.name = "by", .kind = KEY_WORD, FIELD(config_canaries, by), .fallback = "cookie", .words = canaries},
    {.name = NULL},
};
static const struct section canary_section = {.title = "canary", .keys = canary_keys};

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
     .words = keys_tls_minimums},
    {.name = NULL},
};
static const struct section upstream_tls_section = {
    .title = "tls",
    .keys = upstream_tls_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_upstream_tls, line),
};

static const struct section_key maintenance_keys[] = {
    {.name = "html", .kind = KEY_TEXT, FIELD(config_maintenance, html), .rule = rule_absolute},
    {.name = "json", .kind = KEY_TEXT, FIELD(config_maintenance, json), .rule = rule_absolute},
    {.name = "retry_after",
     .kind = KEY_DURATION,
     FIELD(config_maintenance, retry_after_ms),
     .fallback = "60s",
     RANGE(SECOND, WEEK),
     .rule = rule_whole_seconds},
    {.name = "allow",
     .kind = KEY_TEXTS,
     FIELD(config_maintenance, allow),
     RANGE(0, 1000),
     .rule = rule_network},
    {.name = NULL},
};
static const struct section maintenance_section = {
    .title = "maintenance",
    .keys = maintenance_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_maintenance, line),
};

static const struct section_key pause_keys[] = {
    {.name = "requests",
     .kind = KEY_NUMBER,
     FIELD(config_pause, requests),
     .fallback = "10000",
     RANGE(0, MANY)},
    {.name = "bytes", .kind = KEY_SIZE, FIELD(config_pause, bytes), .fallback = "64m", RANGE(0, 1ULL << 40)},
    {.name = "longest",
     .kind = KEY_DURATION,
     FIELD(config_pause, longest_ms),
     .fallback = "60s",
     RANGE(1, TIME_MAX)},
    {.name = "pass", .kind = KEY_TEXTS, FIELD(config_pause, pass), RANGE(0, 100), .rule = rule_path_prefix},
    {.name = NULL},
};
static const struct section pause_section = {.title = "pause", .keys = pause_keys};

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
    {.name = "maintenance",
     .kind = KEY_SECTION,
     FIELD(config_service, maintenance),
     .section = &maintenance_section},
    {.name = "pause", .kind = KEY_SECTION, FIELD(config_service, pause), .section = &pause_section},
    {.name = "forwarded", .kind = KEY_BOOL, FIELD(config_service, forwarded), .fallback = "false"},
    {.name = "trace", .kind = KEY_WORD, FIELD(config_service, trace), .fallback = "start", .words = traces},
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
     RANGE(SECOND, WEEK),
     .rule = rule_whole_seconds},
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
    {.name = "uptests", .kind = KEY_SECTION, FIELD(config_service, uptests), .section = &keys_uptests},
    {.name = "canary", .kind = KEY_SECTION, FIELD(config_service, canary), .section = &canary_section},
    {.name = "preview", .kind = KEY_SECTION, FIELD(config_service, preview), .section = &preview_section},
    {.name = "shadow", .kind = KEY_SECTION, FIELD(config_service, shadow), .section = &keys_shadow},
    {.name = "watch", .kind = KEY_SECTION, FIELD(config_service, watch), .section = &keys_watch},
    {.name = "drain", .kind = KEY_SECTION, FIELD(config_service, drain), .section = &keys_drain},
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
    {.name = "launch", .kind = KEY_SECTION, FIELD(config_service, launch), .section = &keys_launch},
    {.name = "teardown", .kind = KEY_SECTION, FIELD(config_service, teardown), .section = &keys_teardown},
    {.name = NULL},
};
const struct section keys_service = {
    .title = "a service",
    .keys = service_keys,
    .size = sizeof(struct config_service),
    .has_line = true,
    .line_offset = offsetof(struct config_service, line),
    .inherits = true,
};

COUNT_FOLLOWS(config_service, pages, page_count);
