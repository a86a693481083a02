/* seeds: gives a fuzz target all files of seeds/NAME, where NAME follows "fuzz_" in the program's name; with
 * arguments, those files. So what fuzzing has found stays found, with any compiler and without libFuzzer.
 * Speaks TAP; a target that fails ends the program, and the last line told the file. */
#include "fuzz.h"

#include "base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static void give(const char *path)
{
    struct buf bytes = BUF_EMPTY;
    FILE *file = fopen(path, "re");
    size_t n;
    if (file == NULL) {
        printf("Bail out! %s cannot be opened: %s\n", path, strerror(errno));
        exit(1);
    }
    while ((n = fread(buf_reserve(&bytes, 65536), 1, 65536, file)) > 0)
        bytes.n += n;
    fclose(file);
    char *copy = fuzz_copy(bytes.p, bytes.n);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, bytes.n);
    free(copy);
    buf_free(&bytes);
}

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    const char *source = getenv("srcdir"), *name = strstr(argv[0], "fuzz_");
    char folder[PATH_MAX], path[2 * PATH_MAX];
    struct dirent **entries;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            give(argv[i]);
        return 0;
    }
    snprintf(folder, sizeof folder, "%s/tests/fuzz/seeds/%s", source == NULL ? "." : source,
             name == NULL ? "" : name + strlen("fuzz_"));
    int count = scandir(folder, &entries, is_seed, alphasort);
    printf("1..1\n");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        printf("# %s\n", path);
        give(path);
        free(entries[i]);
    }
    if (count > 0)
        free(entries);
    printf("%s 1 - each of %d inputs in %s is taken as promised\n", count > 0 ? "ok" : "not ok", count,
           folder);
    return count > 0 ? 0 : 1;
}
