/* header_rules: what may be written in a service's header rules. Each returns false with a sentence. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "config/config.h"

#include <libconfig.h>

/* "Name=value": a field that is set or added. */
bool rule_request_field(struct str text, struct err *err) MUST_CHECK;
bool rule_response_field(struct str text, struct err *err) MUST_CHECK;
/* Host alone may be set but not added. */
bool rule_request_addition(struct str text, struct err *err) MUST_CHECK;
bool rule_response_addition(struct str text, struct err *err) MUST_CHECK;
/* A name, or its beginning and '*'. */
bool rule_removal(struct str text, struct err *err) MUST_CHECK;
/* A name that nothing else in a request has. */
bool rule_preview_header(struct str text, struct err *err) MUST_CHECK;

/* Drops the fields of a struct config_headers that the group, which is read over it next, sets to an empty
 * value, and these from the group. */
void header_rules_take_back(const config_setting_t *group, void *target);

/* Do the rules of one direction fit what the proxy has room for? */
bool header_rules_fit(const struct config_headers *headers, struct err *err) MUST_CHECK;
