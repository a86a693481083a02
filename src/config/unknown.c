/* A key that exists elsewhere was put in the wrong place, so its place is told before any guess at what was
 * mistyped. Invariant: the tables are a tree, so each walk over them ends. */
#include "config/unknown.h"

#include <stdio.h>

#define KEYS_MAX 64
#define HOMES_MAX 4 /* a longer list helps nobody */
#define PLACE_MAX 64

/* A section that has such a key, and the item of a list that it is a part of: "tls" of "a listener". */
struct home {
    const struct section *section, *item;
};

struct homes {
    const char *name;
    struct home at[HOMES_MAX];
    size_t count; /* may be above HOMES_MAX: those beyond are not kept */
};

static const struct section_key *find_key(const struct section *section, const char *name)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (key->kind != KEY_LATER && strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

/* `defaults` and `services` lead to the same sections. */
static bool is_known(const struct homes *homes, const struct section *section)
{
    for (size_t i = 0; i < homes->count && i < HOMES_MAX; i++) {
        if (homes->at[i].section == section)
            return true;
    }
    return false;
}

static void look_at(struct homes *homes, const struct section *section, const struct section *item)
{
    if (find_key(section, homes->name) == NULL || is_known(homes, section))
        return;
    if (homes->count < HOMES_MAX)
        homes->at[homes->count] = (struct home){section, item};
    homes->count++;
}

/* Of the sections right below this one, or of all below it. */
static void look_below(struct homes *homes, const struct section *section, const struct section *item,
                       bool deep)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (key->section == NULL)
            continue;
        look_at(homes, key->section, item);
        if (deep)
            look_below(homes, key->section, key->section->size > 0 ? key->section : item, true);
    }
}

static void write_place(const struct home *home, char place[PLACE_MAX])
{
    if (home->item == NULL)
        snprintf(place, PLACE_MAX, "%s", home->section->title);
    else
        snprintf(place, PLACE_MAX, "%s of %s", home->section->title, home->item->title);
}

/* "a, b and c" */
static void write_places(const struct homes *homes, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < homes->count; i++) {
        char place[PLACE_MAX];
        const char *between = i == 0 ? "" : i + 1 == homes->count ? " and " : ", ";
        write_place(&homes->at[i], place);
        n += (size_t)snprintf(out + n, room - n, "%s%s", between, place);
    }
}

/* Who mistypes a name rarely writes another first letter, but may leave it out. */
static bool may_be_meant(const char *key, const char *name)
{
    return key[0] == name[0] || (strlen(key) != strlen(name) && str_distance(str_of(key), str_of(name)) == 1);
}

/* The key of the section that is most like the name. NULL: none is like it. */
static const char *nearest(const struct section *section, const char *name)
{
    const char *names[KEYS_MAX];
    size_t count = 0;
    for (const struct section_key *key = section->keys; key->name != NULL && count < KEYS_MAX; key++) {
        if (key->kind != KEY_LATER && may_be_meant(key->name, name))
            names[count++] = key->name;
    }
    return str_nearest(str_of(name), names, count);
}

/* A guess beside a place must be as good as that. */
static void write_guess(const struct section *section, const char *name, char *out, size_t room)
{
    const char *near = nearest(section, name);
    bool is_close = near != NULL && str_distance(str_of(name), str_of(near)) == 1;
    out[0] = '\0';
    if (is_close)
        snprintf(out, room, ", unless \"%s\" is meant", near);
}

static bool tell_homes(const struct homes *homes, const struct section *section, struct err *err)
{
    char places[HOMES_MAX * (PLACE_MAX + 5)], unless[PLACE_MAX];
    const struct section *home = homes->at[0].section;
    bool inherits = home->inherits && find_key(home, homes->name)->scope != SCOPE_SERVICE;
    write_places(homes, places, sizeof places);
    write_guess(section, homes->name, unless, sizeof unless);
    return err_set(err, "\"%s\" is not a key of %s, but of %s; write it %s%s%s", homes->name, section->title,
                   places, homes->count == 1 ? "there" : "in the one that is meant",
                   homes->count == 1 && inherits ? ", or in \"defaults\"" : "", unless);
}

static bool guess(const struct section *section, const char *name, struct err *err)
{
    const char *near = nearest(section, name);
    if (near == NULL)
        return err_set(err, "\"%s\" is not a key of %s; upswapd.conf(5) lists them", name, section->title);
    return err_set(err, "\"%s\" is not a key of %s; did you mean \"%s\"?", name, section->title, near);
}

bool unknown_key(const struct section *root, const struct section *section, const char *name, struct err *err)
{
    struct homes homes = {.name = name};
    look_below(&homes, section, NULL, false);
    if (homes.count == 0) {
        look_at(&homes, root, NULL);
        look_below(&homes, root, NULL, true);
    }
    return homes.count > 0 && homes.count <= HOMES_MAX ? tell_homes(&homes, section, err)
                                                       : guess(section, name, err);
}
