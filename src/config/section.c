/* The walk over tables: which key is which, defaults, lists of sections, freeing. What a single value looks
 * like is value.c's. Invariant: every field is either cleared or owned by the struct, so that a section can
 * be released at any point. */
#include "config/section.h"

#include "base/mem.h"
#include "config/config.h"
#include "config/unknown.h"
#include "config/value.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_DEPTH 8

static void *field_of(const struct section_key *key, void *target)
{
    return (char *)target + key->offset;
}

static unsigned line_of(const config_setting_t *setting)
{
    return config_setting_source_line(setting);
}

static bool at_line(const struct reader *reader, const config_setting_t *setting, struct err *err)
{
    return err_prefix(err, "%s:%u", reader->path, line_of(setting));
}

/* The dotted name below the file or the list element that the setting is in: "uptests.timeout". */
static void name_of(const config_setting_t *setting, char *out, size_t size)
{
    const char *names[NAME_MAX_DEPTH];
    size_t count = 0, n = 0;
    if (config_setting_name(setting) == NULL)
        setting = config_setting_parent(setting);
    for (; setting != NULL && config_setting_name(setting) != NULL && count < NAME_MAX_DEPTH;
         setting = config_setting_parent(setting))
        names[count++] = config_setting_name(setting);
    out[0] = '\0';
    while (count > 0 && n < size)
        n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? "." : "", names[--count]);
}

/* Puts "PATH:LINE: NAME: " of the setting before the sentence that is there. Returns false. */
static bool fault(const struct reader *reader, const config_setting_t *setting, struct err *err)
{
    char name[128];
    name_of(setting, name, sizeof name);
    if (name[0] == '\0')
        return at_line(reader, setting, err);
    return err_prefix(err, "%s:%u: %s", reader->path, line_of(setting), name);
}

static const struct section_key *find_key(const struct section *section, const char *name)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

static bool may_stand_here(const struct reader *reader, const struct section_key *key,
                           const config_setting_t *setting, struct err *err)
{
    char name[128];
    name_of(setting, name, sizeof name);
    if (key->kind == KEY_LATER)
        err_set(err, "\"%s\" is not in this version of upswap; remove it", name);
    else if (key->scope == SCOPE_DEFAULTS && !reader->in_defaults)
        err_set(err, "\"%s\" acts before the service is known; write it in \"defaults\"", name);
    else if (key->scope == SCOPE_SERVICE && reader->in_defaults)
        err_set(err, "\"%s\" belongs to one service; remove it from \"defaults\"", key->name);
    else
        return true;
    return at_line(reader, setting, err);
}

static bool read_group(struct reader *reader, const struct section *section, const config_setting_t *group,
                       void *target, struct err *err);

/* A struct of the section on its own: defaults first, then the file's, then the group's. */
static bool read_item(struct reader *reader, const struct section *section, const config_setting_t *group,
                      void *item, struct err *err)
{
    if (section->inherits && reader->defaults != NULL) {
        reader->in_defaults = true;
        bool read = read_group(reader, section, reader->defaults, item, err);
        reader->in_defaults = false;
        if (!read)
            return false;
    }
    return section_read(reader, section, group, item, err);
}

static void release_sections(const struct section *section, void *field)
{
    char *items;
    size_t count;
    memcpy(&items, field, sizeof items);
    memcpy(&count, (char *)field + sizeof items, sizeof count);
    for (size_t i = 0; i < count; i++)
        section_release(section, items + i * section->size);
    free(items);
}

static bool read_sections(struct reader *reader, const struct section_key *key,
                          const config_setting_t *setting, void *field, struct err *err)
{
    if (!value_is_list(key, setting, err))
        return fault(reader, setting, err);
    release_sections(key->section, field); /* a service's list stands in place of that in `defaults` */
    size_t count = (size_t)config_setting_length(setting);
    char *items = mem_zero(count, key->section->size);
    memcpy(field, &items, sizeof items);
    memcpy((char *)field + sizeof items, &count, sizeof count);
    for (size_t i = 0; i < count; i++)
        section_fill(key->section, items + i * key->section->size);
    for (size_t i = 0; i < count; i++) {
        const config_setting_t *group = config_setting_get_elem(setting, (unsigned)i);
        if (!config_setting_is_group(group)) {
            err_set(err, "each item must be a group { ... }");
            return fault(reader, group, err);
        }
        if (!read_item(reader, key->section, group, items + i * key->section->size, err))
            return false;
    }
    return true;
}

static bool read_texts(struct reader *reader, const struct section_key *key, const config_setting_t *setting,
                       struct config_list *list, struct err *err)
{
    const config_setting_t *wrong = setting;
    if (!value_read_texts(key, setting, list, &wrong, err))
        return fault(reader, wrong, err);
    bool as_written = key->kind == KEY_TEXTS || key->kind == KEY_NUMBERS;
    for (size_t i = 0; as_written && i < list->count; i++)
        places_add(reader->places, &list->items[i], line_of(config_setting_get_elem(setting, (unsigned)i)));
    return true;
}

static bool read_section(struct reader *reader, const struct section_key *key,
                         const config_setting_t *setting, void *field, struct err *err)
{
    if (!config_setting_is_group(setting)) {
        value_refuse(key, setting, err);
        return fault(reader, setting, err);
    }
    bool before = reader->in_defaults;
    reader->in_defaults = before || key->is_defaults;
    bool read = reader->in_defaults ? read_group(reader, key->section, setting, field, err)
                                    : section_read(reader, key->section, setting, field, err);
    reader->in_defaults = before;
    return read;
}

static bool read_key(struct reader *reader, const struct section_key *key, const config_setting_t *setting,
                     void *target, struct err *err)
{
    void *field = field_of(key, target);
    if (!may_stand_here(reader, key, setting, err))
        return false;
    if (key->kind != KEY_SECTION)
        places_add(reader->places, field, line_of(setting));
    switch (key->kind) {
    case KEY_SECTION:
        return read_section(reader, key, setting, field, err);
    case KEY_SECTIONS:
        return read_sections(reader, key, setting, field, err);
    case KEY_TEXTS:
    case KEY_NUMBERS:
    case KEY_ENVIRONMENT:
    case KEY_FIELDS:
        return read_texts(reader, key, setting, field, err);
    default:
        return value_read(key, setting, field, err) || fault(reader, setting, err);
    }
}

/* Every required field begins with a pointer, which is NULL while nothing has been read into it. */
static bool is_absent(const struct section_key *key, const void *target)
{
    void *first;
    memcpy(&first, (const char *)target + key->offset, sizeof first);
    return first == NULL;
}

/* What a service has from `defaults` is there too. */
static bool has_required(const struct reader *reader, const struct section *section,
                         const config_setting_t *group, const void *target, struct err *err)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (key->required && is_absent(key, target)) {
            err_set(err, "%s needs \"%s\"", section->title, key->name);
            return err_prefix(err, "%s:%u", reader->path, line_of(group) > 0 ? line_of(group) : 1);
        }
    }
    return true;
}

static bool read_group(struct reader *reader, const struct section *section, const config_setting_t *group,
                       void *target, struct err *err)
{
    unsigned line = line_of(group);
    if (section->has_line)
        memcpy((char *)target + section->line_offset, &line, sizeof line);
    if (section->take_back != NULL)
        section->take_back(group, target);
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const struct section_key *key = find_key(section, config_setting_name(setting));
        if (key == NULL) {
            unknown_key(reader->root, section, config_setting_name(setting), err);
            return at_line(reader, setting, err);
        }
        if (!read_key(reader, key, setting, target, err))
            return false;
    }
    return true;
}

bool section_read(struct reader *reader, const struct section *section, const config_setting_t *group,
                  void *target, struct err *err)
{
    return read_group(reader, section, group, target, err) &&
           has_required(reader, section, group, target, err);
}

static void fill_fields(const struct section *section, void *target)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (key->kind == KEY_SECTION)
            fill_fields(key->section, field_of(key, target));
        else if (key->fallback != NULL)
            value_fill(key, field_of(key, target));
    }
}

void section_fill(const struct section *section, void *target)
{
    memset(target, 0, section->size);
    fill_fields(section, target);
}

void section_release(const struct section *section, void *target)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        void *field = field_of(key, target);
        if (key->kind == KEY_SECTION)
            section_release(key->section, field);
        else if (key->kind == KEY_SECTIONS)
            release_sections(key->section, field);
        else
            value_release(key, field);
    }
}
