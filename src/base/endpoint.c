/* An option is written once, with a number in its range; whatever else stands there is refused. */
#include "base/endpoint.h"

#include "base/utf8.h"

bool endpoint_weight(int64_t number, struct err *err)
{
    return (number >= 1 && number <= ENDPOINT_WEIGHT_MAX) ||
           err_set(err, "the weight %lld is not from 1 to %d; to give an instance no requests, drain it",
                   (long long)number, ENDPOINT_WEIGHT_MAX);
}

static bool take_number(struct str text, int64_t *number)
{
    uint64_t value;
    if (!str_to_u64(text, &value) || value > INT32_MAX)
        return false;
    *number = (int64_t)value;
    return true;
}

static bool take_option(struct str option, struct endpoint *endpoint, int64_t *weight, struct err *err)
{
    struct str value = option, name;
    char quote[UTF8_QUOTE_SIZE];
    int64_t *field = NULL;
    (void)str_split(&value, '=', &name);
    if (str_equal(name, STR("weight")))
        field = weight;
    else if (str_equal(name, STR("pid")))
        field = &endpoint->pid;
    if (field == NULL || value.p == NULL)
        return err_set(err, "\"%s\" is no option of an instance; weight=NUMBER and pid=NUMBER are",
                       utf8_quote(option, quote));
    if (*field != 0)
        return err_set(err, "%.*s is written twice; keep one of them", STR_ARG(name));
    if (!take_number(value, field))
        return err_set(err, "%.*s must be a number, not \"%s\"", STR_ARG(name), utf8_quote(value, quote));
    if (field == weight)
        return endpoint_weight(*weight, err);
    return *field > 0 || err_set(err, "pid must be the number of a process, not 0");
}

bool endpoint_parse(struct str text, struct endpoint *endpoint, struct err *err)
{
    struct str rest = text, option;
    int64_t weight = 0;
    *endpoint = (struct endpoint){.weight = 1};
    (void)str_split(&rest, ',', &endpoint->address);
    while (str_split(&rest, ',', &option)) {
        if (!take_option(option, endpoint, &weight, err))
            return false;
    }
    if (weight != 0)
        endpoint->weight = (uint32_t)weight;
    return true;
}
