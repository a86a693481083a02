/* Every single value goes through its text, whether it comes from the file or is a default, so that there is
 * one converter a kind and a default is held to its own row's range. */
#include "config/value.h"

#include "base/mem.h"
#include "base/units.h"
#include "config/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What a converter says when the text is not what the key takes at all. A rule's own sentence is better than
 * the general one, so it is kept. */
enum verdict { FITS, MISFITS, REFUSED };

static enum verdict within(const struct section_key *key, uint64_t value, void *field)
{
    if (value < key->least || value > key->most)
        return MISFITS;
    memcpy(field, &value, sizeof value);
    return FITS;
}

static enum verdict read_bool(const struct section_key *key, struct str text, void *field, struct err *err)
{
    (void)key;
    (void)err;
    *(bool *)field = str_equal(text, STR("true"));
    return FITS;
}

static enum verdict read_number(const struct section_key *key, struct str text, void *field, struct err *err)
{
    (void)err;
    uint64_t value;
    return str_to_u64(text, &value) ? within(key, value, field) : MISFITS;
}

static enum verdict read_size(const struct section_key *key, struct str text, void *field, struct err *err)
{
    uint64_t value;
    return units_size(text, &value, err) ? within(key, value, field) : MISFITS;
}

static enum verdict read_duration(const struct section_key *key, struct str text, void *field,
                                  struct err *err)
{
    uint64_t value;
    if (!units_duration(text, &value, err) || within(key, value, field) == MISFITS)
        return MISFITS;
    return key->rule == NULL || key->rule(text, err) ? FITS : REFUSED;
}

/* To the nearest millionth; but what is above 0 never becomes 0. The bounds are compared as they are written.
 * The text ends with a NUL, so strtod stays inside. */
static enum verdict read_fraction(const struct section_key *key, struct str text, void *field,
                                  struct err *err)
{
    double value = strtod(text.p, NULL);
    if (!(value >= (double)key->least / MILLION && value <= (double)key->most / MILLION))
        return MISFITS;
    uint64_t rounded = (uint64_t)(value * MILLION + 0.5);
    if (rounded == 0 && value > 0) {
        err_set(err, "%.*s is finer than a millionth; write 0, or 0.000001 and more", STR_ARG(text));
        return REFUSED;
    }
    memcpy(field, &rounded, sizeof rounded);
    return FITS;
}

static bool is_printable(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return false;
    }
    return true;
}

static bool text_is_fine(const struct section_key *key, struct str text, struct err *err)
{
    if (text.n == 0 && key->may_be_empty)
        return true;
    if (text.n == 0)
        return err_set(err, "the text is empty; write one, or remove the key");
    if (!is_printable(text))
        return err_set(err, "the text holds a control character; take it out");
    return key->rule == NULL || key->rule(text, err);
}

static enum verdict read_text(const struct section_key *key, struct str text, void *field, struct err *err)
{
    if (!text_is_fine(key, text, err))
        return REFUSED;
    value_release(key, field);
    char *copy = str_dup(text);
    memcpy(field, &copy, sizeof copy);
    return FITS;
}

static enum verdict read_word(const struct section_key *key, struct str text, void *field, struct err *err)
{
    (void)err;
    for (const struct section_word *word = key->words; word->name != NULL; word++) {
        if (!str_equal(text, str_of(word->name)))
            continue;
        memcpy(field, &word->value, sizeof word->value);
        return FITS;
    }
    return MISFITS;
}

static enum verdict read_mode(const struct section_key *key, struct str text, void *field, struct err *err)
{
    (void)key;
    (void)err;
    uint32_t mode = 0;
    if (text.n < 3 || text.n > 4)
        return MISFITS;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '7')
            return MISFITS;
        mode = mode * 8 + (uint32_t)(text.p[i] - '0');
    }
    if (mode > 0777)
        return MISFITS;
    memcpy(field, &mode, sizeof mode);
    return FITS;
}

/* Which types of libconfig a kind takes, and how the text is read. Kinds without a row are not single values.
 */
static const struct kind {
    bool from_number, from_text, from_bool, from_fraction;
    enum verdict (*read)(const struct section_key *key, struct str text, void *field, struct err *err);
} kinds[KEY_LATER + 1] = {
    [KEY_BOOL] = {.from_bool = true, .read = read_bool},
    [KEY_NUMBER] = {.from_number = true, .read = read_number},
    [KEY_SIZE] = {.from_number = true, .from_text = true, .read = read_size},
    [KEY_DURATION] = {.from_text = true, .read = read_duration},
    [KEY_FRACTION] = {.from_number = true, .from_fraction = true, .read = read_fraction},
    [KEY_TEXT] = {.from_text = true, .read = read_text},
    [KEY_WORD] = {.from_text = true, .read = read_word},
    [KEY_MODE] = {.from_text = true, .read = read_mode},
};

/* The value as it would be written in a default. `number` has room for it. False: another type. */
static bool text_of(const struct kind *kind, const config_setting_t *setting, char number[24],
                    struct str *text)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: {
        bool is_long = config_setting_type(setting) == CONFIG_TYPE_INT64;
        snprintf(number, 24, "%lld",
                 is_long ? config_setting_get_int64(setting) : config_setting_get_int(setting));
        *text = str_of(number);
        return kind->from_number;
    }
    case CONFIG_TYPE_FLOAT:
        snprintf(number, 24, "%.15g", config_setting_get_float(setting));
        *text = str_of(number);
        return kind->from_fraction;
    case CONFIG_TYPE_BOOL:
        *text = config_setting_get_bool(setting) ? STR("true") : STR("false");
        return kind->from_bool;
    case CONFIG_TYPE_STRING:
        *text = str_of(config_setting_get_string(setting));
        return kind->from_text;
    default:
        return false;
    }
}

/* A service takes back with "" what `defaults` says where nothing is an answer too. */
static bool takes_back(const struct section_key *key, struct str text, const void *field)
{
    static const char nothing[sizeof(void *)];
    bool may_be_absent = key->fallback == NULL && !key->required;
    size_t size = key->kind == KEY_TEXT ? sizeof(char *) : sizeof(int);
    return text.n == 0 && may_be_absent && (key->kind == KEY_TEXT || key->kind == KEY_WORD) &&
           memcmp(field, nothing, size) != 0;
}

bool value_read(const struct section_key *key, const config_setting_t *setting, void *field, struct err *err)
{
    const struct kind *kind = &kinds[key->kind];
    char number[24];
    struct str text;
    if (!text_of(kind, setting, number, &text))
        return value_refuse(key, setting, err);
    if (takes_back(key, text, field)) {
        value_release(key, field);
        return true;
    }
    enum verdict verdict = kind->read(key, text, field, err);
    return verdict == FITS || (verdict == MISFITS && value_refuse(key, setting, err));
}

static char *check_item(const struct section_key *key, const config_setting_t *item, struct err *err)
{
    bool number = key->kind == KEY_NUMBERS;
    char digits[24];
    const char *text = config_setting_get_string(item);
    if (number ? config_setting_type(item) != CONFIG_TYPE_INT : text == NULL) {
        err_set(err, number ? "each item must be a whole number" : "each item must be a text in quotes");
        return NULL;
    }
    if (number) {
        snprintf(digits, sizeof digits, "%d", config_setting_get_int(item));
        text = digits;
    }
    return text_is_fine(key, str_of(text), err) ? mem_dup(text) : NULL;
}

bool value_is_list(const struct section_key *key, const config_setting_t *setting, struct err *err)
{
    if (!config_setting_is_list(setting) && !config_setting_is_array(setting))
        return value_refuse(key, setting, err);
    uint64_t count = (uint64_t)config_setting_length(setting);
    if (count >= key->least && count <= key->most)
        return true;
    return err_set(err, "there are %" PRIu64 " items; write from %" PRIu64 " to %" PRIu64, count, key->least,
                   key->most);
}

static bool read_list(const struct section_key *key, const config_setting_t *setting,
                      struct config_list *list, const config_setting_t **wrong, struct err *err)
{
    if (!value_is_list(key, setting, err))
        return false;
    value_release(key, list);
    list->items = mem_zero((size_t)config_setting_length(setting), sizeof *list->items);
    for (int i = 0; i < config_setting_length(setting); i++) {
        *wrong = config_setting_get_elem(setting, (unsigned)i);
        char *item = check_item(key, *wrong, err);
        if (item == NULL)
            return false;
        list->items[list->count++] = item;
    }
    return true;
}

/* Where KEY= stands in the list, or its end. */
static size_t find_variable(const struct section_key *key, const struct config_list *list, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = 0; i < list->count; i++) {
        struct str rest = str_of(list->items[i]), found;
        str_split(&rest, '=', &found);
        if (key->kind == KEY_FIELDS ? str_equal_nocase(found, wanted) : str_equal(found, wanted))
            return i;
    }
    return list->count;
}

static bool read_variable(const struct section_key *key, const config_setting_t *setting,
                          struct config_list *list, struct err *err)
{
    const char *name = config_setting_name(setting), *value = config_setting_get_string(setting);
    if (value == NULL)
        return err_set(err, "the value of a %s must be a text in quotes",
                       key->kind == KEY_FIELDS ? "field" : "variable");
    char *whole = mem_printf("%s=%s", name, value);
    if ((key->kind == KEY_FIELDS && !text_is_fine(key, str_of(whole), err)) ||
        (key->kind == KEY_ENVIRONMENT && !key->rule(str_of(name), err))) {
        free(whole);
        return false;
    }
    size_t at = find_variable(key, list, name);
    if (at == list->count) {
        list->items = mem_resize(list->items, ++list->count, sizeof *list->items);
        list->items[at] = NULL;
    }
    free(list->items[at]);
    list->items[at] = whole;
    return true;
}

bool value_read_texts(const struct section_key *key, const config_setting_t *setting,
                      struct config_list *list, const config_setting_t **wrong, struct err *err)
{
    if (key->kind == KEY_TEXTS || key->kind == KEY_NUMBERS)
        return read_list(key, setting, list, wrong, err);
    if (!config_setting_is_group(setting))
        return value_refuse(key, setting, err);
    for (int i = 0; i < config_setting_length(setting); i++) {
        *wrong = config_setting_get_elem(setting, (unsigned)i);
        if (!read_variable(key, *wrong, list, err))
            return false;
    }
    return true;
}

void value_fill(const struct section_key *key, void *field)
{
    struct err err;
    if (key->kind == KEY_TEXTS) {
        struct config_list *list = field;
        list->items = mem_zero(1, sizeof *list->items);
        list->items[list->count++] = mem_dup(key->fallback);
        return;
    }
    enum verdict verdict = kinds[key->kind].read(key, str_of(key->fallback), field, &err);
    if (verdict != FITS)
        abort();
}

void value_release(const struct section_key *key, void *field)
{
    if (key->kind == KEY_TEXT) {
        char *text;
        memcpy(&text, field, sizeof text);
        free(text);
        memset(field, 0, sizeof text);
    } else if (key->kind == KEY_WORD) {
        memset(field, 0, sizeof(int));
    } else if (key->kind == KEY_TEXTS || key->kind == KEY_NUMBERS || key->kind == KEY_ENVIRONMENT ||
               key->kind == KEY_FIELDS) {
        struct config_list *list = field;
        for (size_t i = 0; i < list->count; i++)
            free(list->items[i]);
        free(list->items);
        *list = (struct config_list){NULL, 0};
    }
}

static const char *type_name(int type)
{
    static const char *const names[] = {
        [CONFIG_TYPE_NONE] = "nothing",       [CONFIG_TYPE_GROUP] = "a group",
        [CONFIG_TYPE_INT] = "a number",       [CONFIG_TYPE_INT64] = "a number",
        [CONFIG_TYPE_FLOAT] = "a fraction",   [CONFIG_TYPE_STRING] = "a text",
        [CONFIG_TYPE_BOOL] = "a truth value", [CONFIG_TYPE_ARRAY] = "an array",
        [CONFIG_TYPE_LIST] = "a list",
    };
    return names[type];
}

/* A text that is no duration or size at all lacks a unit, or has one that is not known. */
static const char *units_of(const struct section_key *key, struct str text)
{
    struct err ignored;
    uint64_t value;
    if (key->kind == KEY_DURATION && !units_duration(text, &value, &ignored))
        return "; write a whole number with ms, s, m, h or d behind it";
    if (key->kind == KEY_SIZE && !units_size(text, &value, &ignored))
        return "; write a whole number, of bytes or with k, m or g behind it";
    return "";
}

bool value_refuse(const struct section_key *key, const config_setting_t *setting, struct err *err)
{
    char wanted[SECTION_WANTED_MAX], number[24];
    struct str text;
    section_wanted(key, wanted);
    if (!text_of(&kinds[key->kind], setting, number, &text))
        return err_set(err, "must be %s, not %s", wanted, type_name(config_setting_type(setting)));
    if (!is_printable(text))
        return err_set(err, "must be %s, not a text with a control character", wanted);
    const char *quote = config_setting_type(setting) == CONFIG_TYPE_STRING ? "\"" : "";
    return err_set(err, "must be %s, not %s%.*s%s%s", wanted, quote, STR_ARG(text), quote,
                   units_of(key, text));
}
