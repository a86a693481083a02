/* ends: the ways in which an exchange can end, one row each: the word for X-Upswap and the access log, the
 * status of upswap's own answer, and the kind of upstream error that is counted. doc/x-upswap.md lists the
 * words. */
#pragma once

#include <stdint.h>

#define END_NO_ERROR (-1)

struct end {
    const char *word;
    uint16_t status; /* of the answer, if none had begun; 0: the upstream's answer went through */
    int16_t error;   /* enum counters_error, or END_NO_ERROR */
};

extern const struct end end_done;
extern const struct end end_client_closed;
extern const struct end end_incomplete_body;
extern const struct end end_body_too_large;
extern const struct end end_rate_limited;
extern const struct end end_head_timeout;
extern const struct end end_body_timeout;
extern const struct end end_body_too_slow;
extern const struct end end_reader_too_slow; /* never sent: the answer has begun */
extern const struct end end_proxy_header;    /* this and the next are never sent */
extern const struct end end_proxy_header_timeout;
extern const struct end end_missing_host;
extern const struct end end_canonical_host;
extern const struct end end_redirect_https;
extern const struct end end_no_route;
extern const struct end end_path_above_prefix;
extern const struct end end_maintenance;
extern const struct end end_paused; /* is no end: the request waits */
extern const struct end end_pause_full;
extern const struct end end_pause_timeout;
extern const struct end end_no_live_pool;
extern const struct end end_no_staged_pool;
extern const struct end end_no_instance;
extern const struct end end_queue_full;
extern const struct end end_queue_timeout;
extern const struct end end_overloaded;
extern const struct end end_connect_refused;
extern const struct end end_connect_failed;
extern const struct end end_connect_timeout;
extern const struct end end_no_tunnels;
extern const struct end end_tls_failed;
extern const struct end end_tls_unverified;
extern const struct end end_refused; /* by the instance, which has not looked at it */
extern const struct end end_closed_early;
extern const struct end end_bad_response; /* a 101 that nobody asked for */
extern const struct end end_head_too_large;
extern const struct end end_first_byte_timeout;
extern const struct end end_stall;
extern const struct end end_drain_closed; /* properly, when its drain was due */
extern const struct end end_drain_deadline;
extern const struct end end_shutting_down;
