/* h2_memory: what nghttp2 keeps for a connection, its streams and its header blocks, in blocks of the
 * worker's (buffers.h); so a stream on a warm worker costs no call of malloc. */
#pragma once

#include "plane/buffers.h"

#include <nghttp2/nghttp2.h>

/* To be given to nghttp2_session_*_new3; the buffers must outlive the session. */
nghttp2_mem h2_memory_of(struct buffers *buffers);
