/* client_parts: what plane/client.c leaves to client_answer.c and client_meeting.c. */
#pragma once

#include "plane/client.h"
#include "plane/h2_front.h"

/* Begins TLS, if its listener has that. False: it cannot. */
bool client_start_tls(struct client *client);
/* Once its handshake has ended well: who it is. */
void client_meet(struct client *client);
/* It goes. If its handshake did not end well, that is counted, and why is for who looks for it. */
void client_mourn(const struct client *client);

/* Does what it says first begin like HTTP/2, or has it agreed on that? */
enum h2_preface client_preface(const struct client *client);

/* What has come is acknowledged, which the kernel does not by itself for what comes first
 * (listener_answers_first). */
void client_acknowledge(struct client *client);
/* Acknowledges what has come of a first request if more of it is to come: a client may wait for that. */
void client_heed(struct client *client);

/* Counts and logs that something that is no request was refused; `sent` bytes have told of it. */
void client_log_refusal(struct client *client, const struct end *end, struct str id, size_t sent);
