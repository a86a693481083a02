/* h2_rig: a client of HTTP/2 before a rig with one instance: what most tests of it begin with. */
#pragma once

#include "h2_end.h"
#include "rig.h"

#define H2_GET ":method: GET\n:scheme: http\n:authority: app.test\n:path: /\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* As a test's setup: *state is the rig. */
int h2_rig_start(void **state);

/* Sends the head of a request, with these flags and fields, and returns the instance's end of the connection
 * on which it has come. */
int h2_rig_begin(struct rig *rig, struct h2_end *client, int32_t stream, uint8_t flags, const char *fields);
/* The same for H2_GET, which is whole. */
int h2_rig_ask(struct rig *rig, struct h2_end *client, int32_t stream);
/* What OK becomes. */
void h2_rig_expect_answer(struct h2_end *client, int32_t stream);
