/* section: a group of the file as a table of keys, and the one reader of such tables.
 *
 * Whatever is known about a key stands in its row: reading, defaults, ranges, unknown keys, messages, freeing
 * and the man page's entry all come from there. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "config/places.h"

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MILLION 1000000 /* a whole, of KEY_FRACTION */

/* What a key holds, and the field that it fills. */
enum section_kind {
    KEY_BOOL,        /* bool */
    KEY_NUMBER,      /* uint64_t */
    KEY_SIZE,        /* uint64_t, bytes */
    KEY_DURATION,    /* uint64_t, ms */
    KEY_FRACTION,    /* uint64_t, millionths */
    KEY_TEXT,        /* char *, owned; NULL where absent */
    KEY_WORD,        /* int or an enum: one of `words` */
    KEY_MODE,        /* uint32_t: octal text */
    KEY_TEXTS,       /* struct config_list; `least` to `most` items */
    KEY_NUMBERS,     /* struct config_list of whole numbers as text; `least` to `most` items */
    KEY_ENVIRONMENT, /* struct config_list of KEY=VALUE; later ones replace earlier ones key by key */
    KEY_FIELDS,   /* struct config_list of Name=value, replaced name by name in any case; the rule is of the
                     whole */
    KEY_SECTION,  /* the struct of `section`, embedded */
    KEY_SECTIONS, /* pointer to `section` structs and a size_t behind it; `least` to `most` items */
    KEY_LATER,    /* nothing: the key is refused as not in this version */
};

/* Where a key may stand when its section is also read for `defaults`. */
enum section_scope { SCOPE_ANY, SCOPE_DEFAULTS, SCOPE_SERVICE };

struct section_word {
    const char *name; /* NULL ends the list */
    int value;
};

struct reader {
    const char *path;
    const struct section *root;       /* of the whole file */
    const config_setting_t *defaults; /* group of the file, or NULL */
    bool in_defaults;
    struct config_places *places;
};

struct section_key {
    const char *name; /* NULL ends the table */
    enum section_kind kind;
    enum section_scope scope;
    bool required;        /* a text or a list; in `defaults` only within the items of a list */
    size_t offset;        /* of the field in the section's struct */
    const char *fallback; /* the default as it would be written; NULL: absent (0, NULL or empty) */
    uint64_t least, most; /* of a value, or of a list's items */
    const struct section_word *words;
    const struct section *section;
    bool (*rule)(struct str text, struct err *err); /* of a text, of each one in a list, or of a duration */
    bool is_defaults;                               /* the section that the others inherit */
    bool may_be_empty;                              /* a text */
};

struct section {
    const char *title; /* for messages: "a service" */
    const struct section_key *keys;
    size_t size; /* of the struct, for KEY_SECTIONS */
    bool has_line;
    size_t line_offset; /* of an unsigned, set where has_line */
    bool inherits;      /* `defaults` is read into it first */
    /* Drops from the target, before the group is read over it, what the group takes back of the defaults, and
     * from the group what says so. */
    void (*take_back)(const config_setting_t *group, void *target);
};

/* Clears the struct at target and gives every field its default. */
void section_fill(const struct section *section, void *target);
/* Reads the group over what is there, which then has every required key. False: the fault as "PATH:LINE:
 * sentence"; release it all the same. */
bool section_read(struct reader *reader, const struct section *section, const config_setting_t *group,
                  void *target, struct err *err) MUST_CHECK;
/* Frees what the fields own, not the struct. */
void section_release(const struct section *section, void *target);

/* What the key takes, for people: "a whole number from 1 to 1024". Returns out. */
#define SECTION_WANTED_MAX 256
char *section_wanted(const struct section_key *key, char out[SECTION_WANTED_MAX]);
