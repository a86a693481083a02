/* Variables as NAME=VALUE texts, kept in order of their names, so that each name is there once and a big
 * env_file costs no quadratic search. The list always ends with a NULL. */
#include "control/environment.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/file.h"

#include <assert.h>
#include <stdlib.h>

#define FILE_MAX (1024 * 1024) /* bytes */

struct environment {
    char **list;
    size_t count; /* without the NULL */
};

static const char *const passed_on[] = {"PATH", "HOME", "LANG", "TZ"};

static struct environment *empty(void)
{
    struct environment *environment = mem_alloc(sizeof *environment);
    *environment = (struct environment){.list = mem_zero(1, sizeof(char *))};
    return environment;
}

static struct str name_of(struct str pair)
{
    const char *end = memchr(pair.p, '=', pair.n);
    assert(end != NULL);
    return (struct str){pair.p, (size_t)(end - pair.p)};
}

static int compare(struct str a, struct str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Where the variable is, or belongs. */
static size_t place(const struct environment *environment, struct str name, bool *found)
{
    size_t low = 0, high = environment->count;
    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(name_of(str_of(environment->list[middle])), name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct environment *environment, size_t at, char *text)
{
    size_t behind = environment->count - at + 1;
    environment->list = mem_resize(environment->list, environment->count + 2, sizeof(char *));
    memmove(environment->list + at + 1, environment->list + at, behind * sizeof(char *));
    environment->list[at] = text;
    environment->count++;
}

void environment_set_pair(struct environment *environment, struct str pair)
{
    bool found;
    size_t at = place(environment, name_of(pair), &found);
    char *text = str_dup(pair);
    if (!found) {
        insert(environment, at, text);
        return;
    }
    free(environment->list[at]);
    environment->list[at] = text;
}

void environment_set(struct environment *environment, const char *name, const char *value)
{
    char *pair = mem_printf("%s=%s", name, value);
    environment_set_pair(environment, str_of(pair));
    free(pair);
}

struct environment *environment_new(void)
{
    struct environment *environment = empty();
    environment_set(environment, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++) {
        const char *value = getenv(passed_on[i]);
        if (value != NULL)
            environment_set(environment, passed_on[i], value);
    }
    return environment;
}

struct environment *environment_copy(const struct environment *environment)
{
    struct environment *copy = empty();
    copy->list = mem_resize(copy->list, environment->count + 1, sizeof(char *));
    for (size_t i = 0; i <= environment->count; i++)
        copy->list[i] = mem_dup(environment->list[i]);
    copy->count = environment->count;
    return copy;
}

void environment_free(struct environment *environment)
{
    if (environment == NULL)
        return;
    for (size_t i = 0; i < environment->count; i++)
        free(environment->list[i]);
    free(environment->list);
    free(environment);
}

const char *const *environment_list(struct environment *environment)
{
    return (const char *const *)environment->list;
}

/* ---- env_file ---- */

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7f)
            return false;
    }
    return name.n > 0;
}

static struct str unquote(struct str value)
{
    bool quoted =
        value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') && value.p[value.n - 1] == value.p[0];
    return quoted ? (struct str){value.p + 1, value.n - 2} : value;
}

/* Adds one line to `found` as NAME=VALUE; false: it is none. */
static bool read_line(struct environment *found, struct str line)
{
    struct str rest = str_trim(line), name;
    if (rest.n == 0 || rest.p[0] == '#')
        return true;
    if (str_starts_with(rest, STR("export ")))
        rest = str_trim((struct str){rest.p + 7, rest.n - 7});
    if (!str_split(&rest, '=', &name) || rest.p == NULL || !is_name(name) || memchr(rest.p, '\0', rest.n))
        return false;
    rest = unquote(str_trim(rest));
    char *pair = mem_printf("%.*s=%.*s", STR_ARG(name), STR_ARG(rest));
    environment_set_pair(found, str_of(pair));
    free(pair);
    return true;
}

static bool read_lines(struct environment *found, struct str text, const char *path, struct err *err)
{
    struct str line;
    for (unsigned number = 1; str_split(&text, '\n', &line); number++) {
        if (!read_line(found, line))
            return err_set(err, "%s:%u: this is not NAME=VALUE; write it so, or put a # before it", path,
                           number);
    }
    return true;
}

bool environment_read(struct environment *environment, const char *path, struct err *err)
{
    struct buf bytes = BUF_EMPTY;
    if (!file_read(path, FILE_MAX, &bytes, NULL, err))
        return err_prefix(err, "env_file");
    struct environment *found = empty();
    bool ok = read_lines(found, buf_str(&bytes), path, err);
    for (size_t i = 0; ok && i < found->count; i++)
        environment_set_pair(environment, str_of(found->list[i]));
    environment_free(found);
    buf_free(&bytes);
    return ok;
}
