/* Invariant: of a PROXY header exactly its own bytes are taken, so that whoever reads next finds what
 * follows. */
#include "plane/arrival.h"

#include "http/proxy_header.h"
#include "plane/client.h"
#include "plane/listeners.h"
#include "plane/worker.h"

#include <string.h>

void arrival_introduce(struct peer *peer, const struct client_arrival *arrival)
{
    const struct listener_entry *entry = arrival->entry;
    peer->listener = (uint16_t)entry->id;
    memcpy(peer->port, entry->port, sizeof peer->port);
    peer->port_length = entry->port_length;
    peer->from_port = arrival->port;
    peer->local_port = entry->port_number;
    if (entry->any)
        peer_local(arrival->fd, peer->local);
    else
        memcpy(peer->local, entry->address, sizeof peer->local);
    peer_set_address(peer, arrival->address);
}

/* Reads exactly the PROXY header, and leaves what follows to whoever reads next. */
static enum http_result read_header(struct client *client, struct proxy_header *header)
{
    struct stream *stream = &client->stream;
    char *bytes = client->worker->buffers->scratch;
    ssize_t count = stream_peek(stream, bytes, PROXY_HEADER_MAX);
    if (count == STREAM_AGAIN)
        return HTTP_MORE;
    if (count <= 0)
        return HTTP_BAD;
    client->seen = (size_t)count;
    enum http_result result = proxy_header_read(header, bytes, (size_t)count);
    if (result == HTTP_MORE)
        return stream->hung_up ? HTTP_BAD : HTTP_MORE;
    if (result == HTTP_DONE && stream_recv(stream, bytes, header->length) != (ssize_t)header->length)
        return HTTP_BAD;
    return result;
}

/* From here on the client is the one whom the proxy speaks for; where that is nobody, the proxy itself. */
static bool take_over(struct client *client, const struct proxy_header *header)
{
    struct crowd *crowd = client->worker->options.crowd;
    uint32_t most = client->worker->settings->connections_per_address;
    if (header->known)
        peer_set_ends(&client->peer, &header->ends);
    client->seen = 0;
    client->counted = most != 0 && crowd_admit(crowd, client->peer.address, most);
    return most == 0 || client->counted;
}

/* One that says nothing at all, as a proxy that only looks whether somebody listens, leaves without a trace.
 */
enum http_result arrival_read(struct client *client, const struct end **why)
{
    struct proxy_header header;
    *why = NULL;
    if (!client->stream.readable)
        return HTTP_MORE;
    enum http_result result = read_header(client, &header);
    if (result == HTTP_BAD && client->seen > 0)
        *why = &end_proxy_header;
    if (result == HTTP_DONE && !take_over(client, &header))
        return HTTP_BAD;
    return result;
}
