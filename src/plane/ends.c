/* The rows. */
#include "plane/ends.h"

#include "link/counters.h"

const struct end end_done = {"", 0, END_NO_ERROR};
const struct end end_client_closed = {"client-closed", 499, END_NO_ERROR};
const struct end end_incomplete_body = {"incomplete-body", 400, END_NO_ERROR};
const struct end end_body_too_large = {"body-too-large", 413, END_NO_ERROR};
const struct end end_rate_limited = {"rate-limited", 429, END_NO_ERROR};
const struct end end_head_timeout = {"head-timeout", 408, END_NO_ERROR};
const struct end end_body_timeout = {"body-timeout", 408, END_NO_ERROR};
const struct end end_body_too_slow = {"body-too-slow", 408, END_NO_ERROR};
const struct end end_reader_too_slow = {"reader-too-slow", 408, END_NO_ERROR};
const struct end end_proxy_header = {"proxy-header", 400, END_NO_ERROR};
const struct end end_proxy_header_timeout = {"proxy-header-timeout", 408, END_NO_ERROR};
const struct end end_missing_host = {"missing-host", 400, END_NO_ERROR};
const struct end end_canonical_host = {"canonical-host", 308, END_NO_ERROR};
const struct end end_redirect_https = {"redirect-https", 308, END_NO_ERROR};
const struct end end_no_route = {"no-route", 404, END_NO_ERROR};
const struct end end_path_above_prefix = {"path-above-prefix", 400, END_NO_ERROR};
const struct end end_paused = {"", 0, END_NO_ERROR};
const struct end end_pause_full = {"pause-full", 503, END_NO_ERROR};
const struct end end_pause_timeout = {"pause-timeout", 503, END_NO_ERROR};
const struct end end_maintenance = {"maintenance", 503, END_NO_ERROR};
const struct end end_no_live_pool = {"no-live-pool", 503, END_NO_ERROR};
const struct end end_no_staged_pool = {"no-staged-pool", 503, END_NO_ERROR};
const struct end end_no_instance = {"no-instance", 503, END_NO_ERROR};
const struct end end_queue_full = {"queue-full", 503, END_NO_ERROR};
const struct end end_queue_timeout = {"queue-timeout", 503, END_NO_ERROR};
const struct end end_overloaded = {"overloaded", 503, END_NO_ERROR};
const struct end end_connect_refused = {"connect-refused", 502, COUNTERS_CONNECT_REFUSED};
const struct end end_connect_failed = {"connect-failed", 502, COUNTERS_CONNECT_OTHER};
const struct end end_connect_timeout = {"connect-timeout", 504, COUNTERS_CONNECT_TIMEOUT};
const struct end end_no_tunnels = {"websocket-not-offered", 502, END_NO_ERROR};
const struct end end_tls_failed = {"tls-failed", 502, COUNTERS_CONNECT_OTHER};
const struct end end_tls_unverified = {"tls-unverified", 502, COUNTERS_CONNECT_OTHER};
const struct end end_refused = {"refused-by-instance", 502, COUNTERS_CLOSED_EARLY};
const struct end end_closed_early = {"closed-early", 502, COUNTERS_CLOSED_EARLY};
const struct end end_bad_response = {"bad-response", 502, COUNTERS_BAD_RESPONSE};
const struct end end_head_too_large = {"response-head-too-large", 502, COUNTERS_BAD_RESPONSE};
const struct end end_first_byte_timeout = {"first-byte-timeout", 504, COUNTERS_FIRST_BYTE_TIMEOUT};
const struct end end_stall = {"stall", 504, COUNTERS_STALL};
const struct end end_drain_closed = {"drain-closed", 0, END_NO_ERROR};
const struct end end_drain_deadline = {"drain-deadline", 503, END_NO_ERROR};
const struct end end_shutting_down = {"shutting-down", 503, END_NO_ERROR};
