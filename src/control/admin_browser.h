/* admin_browser: refuses what a browser was made to send by a page that is not the dashboard. No such page
 * knows the token, so this is the second lock: it also holds where a program in front of the admin socket
 * lets browsers in without one. */
#pragma once

#include "base/err.h"
#include "http/request.h"

/* Is the request for a file of the dashboard, without a body, so that it needs no token? */
bool admin_browser_wants_page(const struct http_request *head);

/* False with a sentence: it is a browser that was sent by another site, or that takes another site for this
 * address (DNS rebinding; `tcp`: a Unix socket has no name to be taken for). Programs that are no browsers
 * say neither Origin nor Sec-Fetch-Site, and are let through. */
bool admin_browser_allows(const struct http_request *head, bool tcp, struct err *err) MUST_CHECK;
