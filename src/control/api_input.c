/* Reads what clients send: bodies and queries. Nothing is taken that is not known, and every refusal names
 * the key and what it should be. */
#include "control/api.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

#define KEYS_MAX 16

const char *api_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a truth value";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool has_kind(const struct api_key *key, const json_t *value)
{
    switch (key->kind) {
    case API_TEXT:
        return json_is_string(value);
    case API_BOOL:
        return json_is_boolean(value);
    case API_LIST:
        return json_is_array(value);
    }
    return false;
}

/* Two ways to name something that is not known. */
static bool set_unknown(struct err *err, const char *what, const char *name, const char *const *known,
                        size_t count)
{
    const char *nearest = strlen(name) < 64 ? str_nearest(str_of(name), known, count) : NULL;
    if (nearest != NULL)
        return err_set(err, "the %s \"%s\" is not known; did you mean \"%s\"?", what, name, nearest);
    struct buf all = BUF_EMPTY;
    for (size_t i = 0; i < count; i++)
        buf_printf(&all, "%s%s", i == 0 ? "" : ", ", known[i]);
    if (count == 0)
        err_set(err, "the %s \"%.64s\" is not known; none is taken here", what, name);
    else
        err_set(err, "the %s \"%.64s\" is not known; these are: %s", what, name, all.p);
    buf_free(&all);
    return false;
}

static bool unknown_key(const char *name, const struct api_key *keys, size_t count, struct err *err)
{
    const char *known[KEYS_MAX];
    for (size_t i = 0; i < count; i++)
        known[i] = keys[i].name;
    return set_unknown(err, "key", name, known, count);
}

static bool take_value(const struct api_key *key, json_t *value, struct err *err)
{
    static const char *const wanted[] = {
        [API_TEXT] = "a text", [API_BOOL] = "true or false", [API_LIST] = "a list"};
    if (!has_kind(key, value))
        return err_set(err, "the key \"%s\" must be %s, not %s", key->name, wanted[key->kind],
                       api_type_name(value));
    return true;
}

static bool take_values(json_t *object, const struct api_key *keys, size_t count, json_t **values,
                        struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        size_t i = 0;
        while (i < count && strcmp(keys[i].name, name) != 0)
            i++;
        if (i == count)
            return unknown_key(name, keys, count, err);
        if (!take_value(&keys[i], value, err))
            return false;
        values[i] = value;
    }
    for (size_t i = 0; i < count; i++) {
        if (keys[i].required && values[i] == NULL)
            return err_set(err, "the key \"%s\" is missing", keys[i].name);
    }
    return true;
}

static json_t *parse(const struct buf *body, struct err *err)
{
    json_error_t error;
    if (body->n == 0)
        return json_object();
    json_t *object = json_loadb(body->p, body->n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (object == NULL)
        err_set(err, "the body is not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    else if (!json_is_object(object)) {
        err_set(err, "the body must be an object, not %s", api_type_name(object));
        json_decref(object);
        object = NULL;
    }
    return object;
}

bool api_read_body(struct admin_request *request, const struct api_key *keys, size_t count, json_t **object,
                   json_t **values)
{
    struct err err;
    for (size_t i = 0; i < count; i++)
        values[i] = NULL;
    *object = parse(&request->body, &err);
    if (*object != NULL && take_values(*object, keys, count, values, &err))
        return true;
    json_decref(*object);
    admin_problem(request, 400, "%s", err.text);
    return false;
}

/* ---- queries ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes %XX off. NULL, with a sentence: it is not well formed, or holds a NUL. */
static char *decode(const char *name, struct str text, struct err *err)
{
    struct buf out = BUF_EMPTY;
    buf_reserve(&out, text.n);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%') {
            int high = i + 2 < text.n ? hex(text.p[i + 1]) : -1, low = high < 0 ? -1 : hex(text.p[i + 2]);
            if (low < 0 || (high == 0 && low == 0)) {
                err_set(err, "the parameter \"%s\" has a %s", name,
                        low < 0 ? "% that is not followed by two hex digits"
                                : "%00, which stands in no value; take it out");
                buf_free(&out);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        buf_add(&out, &c, 1);
    }
    buf_add(&out, "", 0);
    return out.p;
}

static bool unknown_parameter(struct str name, const struct api_parameter *parameters, size_t count,
                              struct err *err)
{
    const char *known[KEYS_MAX];
    for (size_t i = 0; i < count; i++)
        known[i] = parameters[i].name;
    char *text = str_dup(name);
    set_unknown(err, "parameter", text, known, count);
    free(text);
    return false;
}

static bool take_parameter(struct str pair, struct api_parameter *parameters, size_t count, struct err *err)
{
    struct str name, value = pair;
    str_split(&value, '=', &name);
    if (value.p == NULL)
        value = STR("");
    for (size_t i = 0; i < count; i++) {
        if (!str_equal(name, str_of(parameters[i].name)))
            continue;
        if (parameters[i].value != NULL)
            return err_set(err, "the parameter \"%s\" is there twice", parameters[i].name);
        parameters[i].value = decode(parameters[i].name, value, err);
        return parameters[i].value != NULL;
    }
    return unknown_parameter(name, parameters, count, err);
}

bool api_read_query(struct admin_request *request, struct api_parameter *parameters, size_t count)
{
    struct err err;
    struct str rest = str_of(request->query), pair;
    while (str_split(&rest, '&', &pair)) {
        if (pair.n > 0 && !take_parameter(pair, parameters, count, &err)) {
            api_free_query(parameters, count);
            admin_problem(request, 400, "%s", err.text);
            return false;
        }
    }
    return true;
}

void api_free_query(struct api_parameter *parameters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(parameters[i].value);
        parameters[i].value = NULL;
    }
}

bool api_read_number(struct admin_request *request, const struct api_parameter *parameter, uint64_t least,
                     uint64_t most, uint64_t *value)
{
    uint64_t number;
    if (parameter->value == NULL)
        return true;
    if (str_to_u64(str_of(parameter->value), &number) && number >= least && number <= most) {
        *value = number;
        return true;
    }
    admin_problem(request, 400,
                  "the parameter \"%s\" is \"%.64s\"; it must be a number from %" PRIu64 " to %" PRIu64,
                  parameter->name, parameter->value, least, most);
    return false;
}
