#include "base/units.h"

#include "base/utf8.h"

struct unit {
    struct str name;
    uint64_t factor;
};

/* Splits digits from unit and multiplies. */
static bool scale(struct str text, const struct unit *units, size_t count, uint64_t *value)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct str unit = {text.p + digits, text.n - digits};
    uint64_t number;
    if (!str_to_u64((struct str){text.p, digits}, &number))
        return false;
    if (unit.n == 0 && number == 0) {
        *value = 0;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_equal_nocase(unit, units[i].name))
            return !__builtin_mul_overflow(number, units[i].factor, value);
    }
    return false;
}

bool units_duration(struct str text, uint64_t *ms, struct err *err)
{
    char quote[UTF8_QUOTE_SIZE];
    static const struct unit units[] = {
        {{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}, {{"d", 1}, 86400000},
    };
    if (scale(text, units, sizeof units / sizeof *units, ms) && *ms <= INT64_MAX / 1000000)
        return true;
    return err_set(err,
                   "\"%s\" is not a duration: write a whole number with ms, s, m, h or d, as in \"250ms\"",
                   utf8_quote(text, quote));
}

bool units_size(struct str text, uint64_t *bytes, struct err *err)
{
    char quote[UTF8_QUOTE_SIZE];
    static const struct unit units[] = {
        {{"", 0}, 1},
        {{"k", 1}, 1024},
        {{"m", 1}, 1024 * 1024},
        {{"g", 1}, 1024 * 1024 * 1024},
    };
    if (scale(text, units, sizeof units / sizeof *units, bytes) && *bytes <= INT64_MAX)
        return true;
    return err_set(err,
                   "\"%s\" is not a size: write bytes as a whole number, with k, m or g for larger units",
                   utf8_quote(text, quote));
}
