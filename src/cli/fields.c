#include "cli/fields.h"

#include <stdio.h>
#include <string.h>

const char *field_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : otherwise;
}

int64_t field_number(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

double field_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

bool field_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool field_is(const json_t *object, const char *key, const char *text)
{
    return strcmp(field_text(object, key, ""), text) == 0;
}

char *field_time(const json_t *object, const char *key, char out[FIELD_TIME_SIZE])
{
    snprintf(out, FIELD_TIME_SIZE, "%.19s", field_text(object, key, "-"));
    if (strlen(out) == FIELD_TIME_SIZE - 1)
        out[10] = ' ';
    return out;
}
