/* target: what stands between the method and the version, and the authority in it or in Host. */
#pragma once

#include "http/request.h"

/* Reads the request target, which is visible ASCII, into form, path, query and, of the absolute form,
 * authority. The method must be set. False: it is not a target (RFC 9112 section 3.2). */
bool target_read(struct http_request *request, struct str target);

/* Splits HOST[:PORT] (RFC 3986 section 3.2, without user information). *port is 0 where none is given. False:
 * it is none, or the host is empty (RFC 9110 section 4.2.1), or the port is 0 or over 65535. */
bool target_authority(struct str authority, struct str *host, uint16_t *port);
