/* rules: what one text of the config must look like. Each returns false with a sentence that shows the text.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

bool rule_absolute(struct str text, struct err *err) MUST_CHECK;
/* An absolute path that may hold %{release}. */
bool rule_release_path(struct str text, struct err *err) MUST_CHECK;
bool rule_release_text(struct str text, struct err *err) MUST_CHECK;
/* Without any %{name}. */
bool rule_plain_text(struct str text, struct err *err) MUST_CHECK;
/* An absolute path that fits a Unix socket's address. */
bool rule_socket(struct str text, struct err *err) MUST_CHECK;
/* IP:PORT, port 0 for any. */
bool rule_listen(struct str text, struct err *err) MUST_CHECK;
/* What a certificate is for: a name, or an IP address without brackets. */
bool rule_server_name(struct str text, struct err *err);
/* HOST:PORT, and a weight or none. */
bool rule_instance(struct str text, struct err *err) MUST_CHECK;
/* A token of HTTP (RFC 9110 section 5.6.2), as names of fields and cookies are, of at most 64 bytes. */
bool rule_is_token(struct str text);
/* Reads a way to choose an instance. *name, where one belongs to it, points into the text, to its end. */
bool rule_balance_read(struct str text, enum config_balance *balance, const char **name);
/* A cookie's name that upswap may give without TLS. */
bool rule_cookie(struct str text, struct err *err) MUST_CHECK;
bool rule_balance(struct str text, struct err *err) MUST_CHECK;
/* A duration that is told in seconds: one that is cut to them would say less, or, of less than one, nothing.
 */
bool rule_whole_seconds(struct str text, struct err *err) MUST_CHECK;
/* What nobody guesses: 16 to 255 visible letters of ASCII. */
bool rule_secret(struct str text, struct err *err) MUST_CHECK;
/* What ALPN may offer. */
bool rule_protocol(struct str text, struct err *err) MUST_CHECK;
bool rule_network(struct str text, struct err *err) MUST_CHECK;
bool rule_service_name(struct str text, struct err *err) MUST_CHECK;
/* A DNS name, an IPv4 address, an IPv6 address in brackets, or "*." and a name. No port. */
bool rule_host(struct str text, struct err *err) MUST_CHECK;
/* A path prefix as it stands in a request: begins with '/', no query, no dot segments; 1023 bytes at most. */
bool rule_path_prefix(struct str text, struct err *err) MUST_CHECK;
/* What a health check asks for: a path, with a query if need be; as long at most. */
bool rule_health_path(struct str text, struct err *err) MUST_CHECK;
/* A status that upswap answers with: 400 to 599. */
bool rule_status(struct str text, struct err *err) MUST_CHECK;
/* A name with or without a port, as it may stand in a URL. */
bool rule_canonical_host(struct str text, struct err *err) MUST_CHECK;
/* A variable's name that uptests may be given. */
bool rule_variable(struct str text, struct err *err) MUST_CHECK;
