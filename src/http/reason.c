/* reason: one table of every word that upswap answers or logs with. A word, once released, keeps its meaning.
 */
#include "http/reason.h"

#include <string.h>

static const struct http_reason reasons[] = {
    /* routes, pools and instances */
    {"no-route", "404", "No service takes this host and path."},
    {"canonical-host", "308", "This service is found under another host."},
    {"redirect-https", "308", "This service is found under https."},
    {"path-above-prefix", "400", "The path leads above the prefix by which the service was found."},
    {"maintenance", "503", "This service is being worked on; please come back later."},
    {"pause-full", "503", "This service is paused, and too many requests wait already."},
    {"pause-timeout", "503", "This service was paused for too long."},
    {"no-live-pool", "503", "This service has no live pool yet."},
    {"no-staged-pool", "503", "There is no staged pool to preview now."},
    {"no-instance", "503", "No instance of the live pool is up."},
    {"queue-full", "503", "All instances have as many requests as they may, and too many wait already."},
    {"queue-timeout", "503", "All instances had as many requests as they may for too long."},
    {"connect-refused", "502", "No instance accepted a connection."},
    {"connect-failed", "502", "No instance could be connected to."},
    {"connect-timeout", "504", "No instance accepted a connection in time."},
    {"websocket-not-offered", "502", "The instance does not offer WebSockets over HTTP/2."},
    {"tls-failed", "502", "No instance could be spoken to by TLS."},
    {"tls-unverified", "502", "The certificate of the instance is not believed."},
    {"refused-by-instance", "502", "The instances took no more requests over HTTP/2."},
    {"closed-early", "502", "The instance closed the connection before it had answered."},
    {"bad-response", "502", "The instance gave an answer that is not valid HTTP."},
    {"response-head-too-large", "502", "The head of the answer is over the limit."},
    {"first-byte-timeout", "504", "The instance did not begin to answer in time."},
    {"stall", "504", "The transfer stood still for too long."},
    {"drain-closed", "",
     "The release that had this was replaced; a Close was sent, or events or messages ended behind a whole "
     "one."},
    {"drain-deadline", "503",
     "The release that had this request was replaced, and it was not answered in time."},
    {"shutting-down", "503", "The proxy is shutting down."},
    {"overloaded", "503", "The proxy has no descriptors or no memory left for this request."},
    /* the client */
    {"body-too-large", "413", "The body of the request is over the limit."},
    {"rate-limited", "429", "This address sends requests faster than the limit allows."},
    {"head-timeout", "408", "The head of the request did not come in time."},
    {"body-timeout", "408", "The body of the request stood still for too long."},
    {"body-too-slow", "408", "The body of the request came too slowly."},
    {"reader-too-slow", "", "The client took the answer too slowly; it was cut."},
    {"incomplete-body", "400", "The client closed its side before the body of the request was complete."},
    {"client-closed", "499", "The client went away before it was answered."},
    {"proxy-header", "400",
     "A proxy's connection did not begin with a PROXY header, or with one that is malformed."},
    {"proxy-header-timeout", "408", "The PROXY header did not come in time."},
    {"connect", "501", "This is no forward proxy: CONNECT is not taken."},
    /* start lines */
    {"bad-method", "400", "The method is not a token."},
    {"bad-target", "400", "The request target is not valid."},
    {"target-too-long", "414", "The request target is over the limit."},
    {"bad-version", "400 502", "The HTTP version is malformed."},
    {"version-not-supported", "502 505", "The HTTP version is none of 1.x."},
    {"bad-status-line", "502", "The status line is malformed."},
    {"bad-status", "502", "The status code is not one of 100 to 599."},
    /* field lines */
    {"head-too-large", "431 502", "The head of the message is over the limit."},
    {"too-many-fields", "431 502", "The head of the message has more fields than the limit allows."},
    {"bad-field-name", "400 502", "The name of a field is not a token."},
    {"space-before-colon", "400 502", "White space stands between the name of a field and its colon."},
    {"bad-field-value", "400 502", "The value of a field holds a control byte."},
    {"obs-fold", "400 502", "A field is folded over several lines."},
    {"bare-cr", "400 502", "A line holds a CR without LF."},
    {"bare-lf", "400 502", "A line ends with LF without CR."},
    {"bad-connection", "400 502", "The Connection field is malformed or too long."},
    {"missing-host", "400", "The Host field is missing."},
    {"repeated-host", "400", "There is more than one Host field."},
    {"bad-host", "400", "The Host field is not a host with an optional port."},
    /* bodies */
    {"bad-content-length", "400 502", "The Content-Length is not a number that is allowed."},
    {"repeated-content-length", "400 502", "There is more than one Content-Length."},
    {"length-with-transfer-encoding", "400 502", "Content-Length and Transfer-Encoding exclude each other."},
    {"bad-transfer-encoding", "400 502", "The Transfer-Encoding does not end with one single chunked."},
    {"unknown-transfer-coding", "501 502", "A transfer coding other than chunked is not taken."},
    {"transfer-encoding-in-http10", "400 502", "HTTP/1.0 has no Transfer-Encoding."},
    {"body-not-allowed", "502", "A body was announced for a status that never has one."},
    {"bad-chunk", "400 502", "The framing of a chunk is malformed."},
    {"bad-trailer", "400 502", "The trailer section is malformed."},
    {"trailers-too-large", "400 502", "The trailer section is over the limit."},
};

const struct http_reason *http_reason_at(size_t i)
{
    return i < sizeof reasons / sizeof *reasons ? &reasons[i] : NULL;
}

const struct http_reason *http_reason_find(const char *word)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(reasons[i].word, word) == 0)
            return &reasons[i];
    }
    return NULL;
}
