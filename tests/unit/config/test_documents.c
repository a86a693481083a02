/* The man page and the sample are held to the tables: a key, a range or a default that changes in one place
 * only is seen here. */
#include "config/config.h"

#include "unit.h"

#include "base/buf.h"
#include "config/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static char *read_source(const char *name)
{
    const char *folder = getenv("srcdir");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ".", name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        fail_msg("%s cannot be opened", path);
    struct buf text = BUF_EMPTY;
    size_t n;
    while ((n = fread(buf_reserve(&text, 4096), 1, 4096, file)) > 0)
        text.n += n;
    fclose(file);
    buf_add(&text, "", 0);
    return text.p;
}

static bool is_quoted(enum section_kind kind)
{
    return kind != KEY_NUMBER && kind != KEY_BOOL && kind != KEY_FRACTION;
}

/* The two lines with which the man page must begin a key's entry. */
static void entry_of(const struct section_key *key, const char *prefix, struct buf *out)
{
    char wanted[SECTION_WANTED_MAX];
    section_wanted(key, wanted);
    wanted[0] = (char)toupper((unsigned char)wanted[0]);
    buf_printf(out, "\n.It Ic %s%s\n%s", prefix, key->name, wanted);
    const char *quote = is_quoted(key->kind) ? "\"" : "";
    if (key->required)
        buf_printf(out, "; required");
    else if (key->fallback != NULL)
        buf_printf(out, "; default %s%s%s", quote, key->fallback, quote);
    buf_printf(out, ".\n");
}

/* Looks for a key in a document. */
typedef void each_fn(const struct section_key *key, const char *prefix, const char *text);

/* Every key that a user may write, once: `defaults` repeats those of a service. */
static void walk(const struct section *section, const char *prefix, const char *text, each_fn *each)
{
    for (const struct section_key *key = section->keys; key->name != NULL; key++) {
        if (key->kind == KEY_LATER)
            continue;
        each(key, prefix, text);
        if (key->section == NULL || key->is_defaults)
            continue;
        char inner[128] = "";
        if (key->kind == KEY_SECTION)
            snprintf(inner, sizeof inner, "%s%s.", prefix, key->name);
        walk(key->section, inner, text, each);
    }
}

static void assert_documented(const struct section_key *key, const char *prefix, const char *text)
{
    struct buf entry = BUF_EMPTY;
    entry_of(key, prefix, &entry);
    if (strstr(text, entry.p) == NULL)
        fail_msg("upswapd.conf.5 has no entry:%s", entry.p);
    buf_free(&entry);
}

static void every_key_is_in_the_man_page_with_its_type_range_and_default(void **state)
{
    (void)state;
    char *text = read_source("doc/upswapd.conf.5");
    walk(&keys_file, "", text, assert_documented);
    free(text);
}

static void assert_in_sample(const struct section_key *key, const char *prefix, const char *text)
{
    (void)prefix;
    struct buf setting = BUF_EMPTY;
    buf_printf(&setting, " %s = ", key->name);
    if (strstr(text, setting.p) == NULL && strstr(text, setting.p + 1) == NULL)
        fail_msg("conf/upswapd.conf does not show %s%s", prefix, key->name);
    buf_free(&setting);
}

static void every_key_is_in_the_sample(void **state)
{
    (void)state;
    char *text = read_source("conf/upswapd.conf");
    walk(&keys_file, "", text, assert_in_sample);
    free(text);
}

static void assert_reads(const char *text, const char *name)
{
    struct err err;
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    struct config *config = config_parse(file, name, &err);
    fclose(file);
    if (config == NULL)
        fail_msg("%s", err.text);
    config_free(config);
}

/* Takes the mark off the settings that are commented out ("#key = ..."); sentences begin with "# ". */
static void uncomment(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (at[0] == '#' && at[1] != ' ' && at[1] != '\n')
            *at = ' ';
    }
}

static void the_samples_are_valid(void **state)
{
    (void)state;
    char *sample = read_source("conf/upswapd.conf"), *minimal = read_source("conf/minimal.conf");
    assert_reads(sample, "conf/upswapd.conf");
    assert_reads(minimal, "conf/minimal.conf");
    uncomment(sample);
    assert_reads(sample, "conf/upswapd.conf with everything on");
    free(sample);
    free(minimal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_in_the_man_page_with_its_type_range_and_default),
        cmocka_unit_test(every_key_is_in_the_sample),
        cmocka_unit_test(the_samples_are_valid),
    };
    return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}
