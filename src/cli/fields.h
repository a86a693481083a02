/* fields: members of JSON objects that may be absent or of another type, since a daemon of another version
 * may answer. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The text, or `otherwise`. Lives as long as the object. */
const char *field_text(const json_t *object, const char *key, const char *otherwise);
/* The whole number, or `otherwise`. */
int64_t field_number(const json_t *object, const char *key, int64_t otherwise);
/* A number with a fraction; 0 where absent. */
double field_real(const json_t *object, const char *key);
bool field_true(const json_t *object, const char *key);
bool field_is(const json_t *object, const char *key, const char *text);

/* "2026-11-22T10:00:00.123Z" -> "2026-11-22 10:00:00", to the second and in UTC; "-" where absent. Returns
 * out. */
#define FIELD_TIME_SIZE 20
char *field_time(const json_t *object, const char *key, char out[FIELD_TIME_SIZE]);
