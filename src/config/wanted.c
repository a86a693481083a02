/* What a key takes, in words: the same in a message and in upswapd.conf(5). */
#include "config/section.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    uint64_t factor;
    const char *name;
};

static const struct unit duration_units[] = {
    {86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
static const struct unit size_units[] = {{1 << 30, "g"}, {1 << 20, "m"}, {1 << 10, "k"}, {1, ""}};

/* With the largest unit that divides it. Returns bytes written. */
static size_t write_amount(char *out, size_t room, uint64_t value, const struct unit *unit)
{
    while (value % unit->factor != 0 || (value == 0 && unit->factor != 1000 && unit->factor > 1))
        unit++;
    return (size_t)snprintf(out, room, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

static void write_range(const struct section_key *key, const char *what, const struct unit *units, char *out)
{
    size_t room = SECTION_WANTED_MAX, n = (size_t)snprintf(out, room, "%s from ", what);
    n += write_amount(out + n, room - n, key->least, units);
    n += (size_t)snprintf(out + n, room - n, " to ");
    write_amount(out + n, room - n, key->most, units);
}

static void write_fractions(const struct section_key *key, char *out)
{
    snprintf(out, SECTION_WANTED_MAX, "a number from %g to %g", (double)key->least / MILLION,
             (double)key->most / MILLION);
}

static void write_words(const struct section_key *key, char *out)
{
    size_t n = (size_t)snprintf(out, SECTION_WANTED_MAX, "one of");
    const char *between = " ";
    for (const struct section_word *word = key->words; word->name != NULL; word++) {
        n += (size_t)snprintf(out + n, SECTION_WANTED_MAX - n, "%s\"%s\"", between, word->name);
        between = ", ";
    }
}

char *section_wanted(const struct section_key *key, char out[SECTION_WANTED_MAX])
{
    static const struct unit plain[] = {{1, ""}};
    static const char *const phrases[] = {
        [KEY_BOOL] = "true or false",
        [KEY_TEXT] = "a text in quotes",
        [KEY_MODE] = "an octal file mode in quotes such as \"0660\"",
        [KEY_TEXTS] = "a list of texts",
        [KEY_ENVIRONMENT] = "a group of texts",
        [KEY_NUMBERS] = "a list of numbers",
        [KEY_FIELDS] = "a group of texts",
        [KEY_SECTION] = "a group",
        [KEY_SECTIONS] = "a list of groups",
    };
    switch (key->kind) {
    case KEY_NUMBER:
        write_range(key, "a whole number", plain, out);
        break;
    case KEY_SIZE:
        write_range(key, "a size", size_units, out);
        break;
    case KEY_DURATION:
        write_range(key, "a duration in quotes", duration_units, out);
        break;
    case KEY_FRACTION:
        write_fractions(key, out);
        break;
    case KEY_WORD:
        write_words(key, out);
        break;
    default:
        snprintf(out, SECTION_WANTED_MAX, "%s", phrases[key->kind]);
    }
    return out;
}
