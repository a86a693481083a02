/* How a client is met: its handshake, the version that it speaks, and the acknowledgement of what it says
 * first. */
#include "base/log.h"
#include "io/tls.h"
#include "plane/client_parts.h"
#include "plane/contexts.h"
#include "plane/exchange.h"
#include "plane/h2_front.h"
#include "plane/worker.h"

/* ---- TLS ---- */

/* What was decided at the accept holds: a listener that has since lost its certificates, or its place in the
 * world, does not go on in plain text. */
bool client_start_tls(struct client *client)
{
    struct tls_context *context;
    if (!client->peer.tls)
        return true;
    context = contexts_listener(client->worker->contexts, client->peer.listener);
    return context != NULL && stream_watch(&client->stream) &&
           tls_accept(&client->stream, client->worker->loop, context);
}

static void count_handshake(const struct client *client, enum counters_handshake result)
{
    counters_add(&client->worker->cells->handshakes[client->peer.listener][result], 1);
}

void client_meet(struct client *client)
{
    struct peer *peer = &client->peer;
    const struct stream *stream = &client->stream;
    if (client->shaken || !tls_is_up(stream))
        return;
    client->shaken = true;
    peer->asked = tls_asks(stream);
    peer->identity = tls_identity(stream);
    peer->tls_version = tls_version(stream);
    peer->tls_cipher = tls_cipher(stream);
    count_handshake(client, tls_is_resumed(stream) ? COUNTERS_HANDSHAKE_RESUMED : COUNTERS_HANDSHAKE_FULL);
}

void client_mourn(const struct client *client)
{
    struct err err;
    if (!tls_is_on(&client->stream) || client->shaken)
        return;
    count_handshake(client, COUNTERS_HANDSHAKE_FAILED);
    tls_why(&client->stream, &err);
    log_debug("no TLS with %s: %s", client->peer.text, err.text);
}

/* ---- its version ---- */

static bool has_agreed_on_h2(const struct client *client)
{
    return client->peer.tls && str_equal(tls_alpn(&client->stream), STR("h2"));
}

/* Over TLS only what was agreed on is spoken (RFC 9113 section 3.2); so what does not begin like a preface is
 * the session's to refuse. */
enum h2_preface client_preface(const struct client *client)
{
    bool agreed = has_agreed_on_h2(client);
    if (client->peer.tls && !agreed)
        return H2_PREFACE_NONE;
    enum h2_preface preface = h2_front_preface(client->in.p, client->in.n);
    return preface == H2_PREFACE_NONE && agreed ? H2_PREFACE_WHOLE : preface;
}

/* ---- what is acknowledged ---- */

void client_acknowledge(struct client *client)
{
    stream_acknowledge(&client->stream);
    client->heeded = true;
}

/* Is there more to come before anything goes out that acknowledges what has come? */
static bool is_half_heard(const struct client *client)
{
    switch ((enum client_state)client->state) {
    case CLIENT_ARRIVING:
        return client->seen > 0;
    case CLIENT_HEAD:
        return !client->used && (client->in.n > 0 || tls_is_unanswered(&client->stream));
    case CLIENT_EXCHANGE:
        return !client->exchange->up.body.done;
    case CLIENT_HTTP2:
    case CLIENT_FLUSHING:
    case CLIENT_LINGERING:
    case CLIENT_CLOSED:
        break;
    }
    return false;
}

void client_heed(struct client *client)
{
    if (client->heeded)
        return;
    if (is_half_heard(client))
        client_acknowledge(client);
    client->heeded |= client->used;
}
