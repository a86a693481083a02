#include "io/certificate_files.h"

#include "issue.h"
#include "unit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64], path[96];
static struct issued site;
static char secret[33]; /* of the key: letters that nothing else has */
static unsigned left;   /* pieces that were freed with it */

/* ---- instead of the C library's ---- */

void __real_free(void *p);
void __wrap_free(void *p);

void __wrap_free(void *p)
{
    if (p != NULL && secret[0] != '\0' && memmem(p, malloc_usable_size(p), secret, strlen(secret)) != NULL)
        left++;
    __real_free(p);
}

/* ---- the files ---- */

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/upswap-files-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/site.pem", folder);
    site = issue("DNS:example.com", false);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s%s", site.certificate, site.key);
    fclose(file);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    issued_free(&site);
    unlink(path);
    return rmdir(folder);
}

static void a_pair_takes_the_memory_that_its_files_need(void **state)
{
    (void)state;
    struct certificate_files files;
    struct err err;
    size_t size = strlen(site.certificate) + strlen(site.key);
    assert_true(certificate_files_load(&files, path, NULL, NULL, &err));
    assert_true(certificate_files_check_pair(&files, path, NULL, &err));
    assert_int_equal(files.certificate.n, size);
    assert_int_equal(files.key.n, size);
    assert_true(files.certificate.cap < 4 * size);
    assert_true(files.key.cap < 4 * size);
    certificate_files_wipe(&files);
}

static void nothing_that_is_freed_holds_the_key(void **state)
{
    (void)state;
    struct certificate_files files;
    struct err err;
    memcpy(secret, strchr(site.key, '\n') + 1, sizeof secret - 1);
    assert_true(certificate_files_load(&files, path, NULL, NULL, &err));
    assert_true(certificate_files_check_pair(&files, path, NULL, &err));
    assert_non_null(strstr(files.key.p, secret));
    certificate_files_wipe(&files);
    secret[0] = '\0';
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_takes_the_memory_that_its_files_need),
        cmocka_unit_test(nothing_that_is_freed_holds_the_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
