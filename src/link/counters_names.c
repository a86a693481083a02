/* What is counted apart, as it is told. */
#include "link/counters.h"

const char *const counters_flood_names[COUNTERS_FLOODS] = {
    [COUNTERS_RESETS] = "reset-flood",
    [COUNTERS_PINGS] = "ping-flood",
    [COUNTERS_SETTINGS] = "settings-flood",
    [COUNTERS_PRIORITIES] = "priority-flood",
    [COUNTERS_EMPTY_FRAMES] = "empty-frame-flood",
    [COUNTERS_WINDOW_UPDATES] = "window-flood",
    [COUNTERS_CONTINUATIONS] = "continuation-flood",
    [COUNTERS_HEADER_LIST] = "header-list-flood",
};

const char *const counters_error_names[COUNTERS_ERRORS] = {
    [COUNTERS_CONNECT_REFUSED] = "connect_refused",
    [COUNTERS_CONNECT_TIMEOUT] = "connect_timeout",
    [COUNTERS_CONNECT_OTHER] = "connect_other",
    [COUNTERS_CLOSED_EARLY] = "closed_early",
    [COUNTERS_BAD_RESPONSE] = "bad_response",
    [COUNTERS_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
    [COUNTERS_STALL] = "stall",
};

const char *const counters_lasting_names[COUNTERS_LASTING] = {
    [COUNTERS_STREAM] = "stream",
    [COUNTERS_WEBSOCKET] = "websocket",
    [COUNTERS_TUNNEL] = "tunnel",
};

const char *const counters_handshake_names[COUNTERS_HANDSHAKES] = {"full", "resumed", "failed"};

const uint16_t counters_refused_codes[COUNTERS_REFUSED] = {400, 404, 408, 413, 429, 431, 501, 503, 0};

unsigned counters_refused(unsigned status)
{
    unsigned cell = 0;
    while (cell < COUNTERS_REFUSED - 1 && counters_refused_codes[cell] != status)
        cell++;
    return cell;
}
