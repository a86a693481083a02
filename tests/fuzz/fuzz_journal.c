/* The journal: records are read strictly, a record that is refused changes nothing, one that is accepted is
 * written again as it was and breaks no promise, and what a registry holds can be written and read back.
 * The input has a record a line, without its checksum, which is put in here; a line that has one is taken as
 * it is. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "deploy/promises.h"
#include "deploy/record.h"
#include "deploy/walk.h"

#include <inttypes.h>
#include <stdlib.h>

/* The line as the journal has it, without its end. */
static void complete(struct str line, struct buf *out)
{
    out->n = 0;
    if (line.n > 1 && line.p[line.n - 1] == '}' && memmem(line.p, line.n, "\"crc\"", 5) == NULL) {
        buf_add(out, line.p, line.n - 1);
        buf_printf(out, ",\"crc\":\"%08" PRIx32 "\"}", crc32c(line.p, line.n - 1));
    } else {
        buf_add_str(out, line);
    }
}

static void check_written(const struct record *record)
{
    struct record again;
    struct err err;
    size_t size, size_again;
    char *line = record_encode(record, &size);
    fuzz_check(size > 0 && line[size - 1] == '\n');
    fuzz_check(record_decode((struct str){line, size - 1}, &again, &err));
    char *line_again = record_encode(&again, &size_again);
    fuzz_check(size == size_again && memcmp(line, line_again, size) == 0);
    record_free(&again);
    free(line);
    free(line_again);
}

/* What else the registry says, besides registry_image. */
static char *image_of(const struct registry *registry)
{
    struct service *service, *next;
    char *image = registry_image(registry);
    HASH_ITER(hh, registry->services, service, next)
    {
        char *more = mem_printf("%s%s %s %s\n", image, service->name, mode_names[service->mode.kind],
                                service->mode.message == NULL ? "" : service->mode.message);
        free(image);
        image = more;
    }
    return image;
}

static void refuse(struct registry *registry, struct record *record)
{
    struct err err;
    char *before = image_of(registry);
    fuzz_check(!registry_apply(registry, record, NULL, &err));
    char *after = image_of(registry);
    fuzz_check(strcmp(before, after) == 0);
    free(before);
    free(after);
}

static void take(struct registry *registry, struct record *record)
{
    struct err err = {.text = ""};
    if (!registry_allows(registry, record, &err)) {
        fuzz_check(err.text[0] != '\0');
        refuse(registry, record);
        return;
    }
    fuzz_check(registry_apply(registry, record, NULL, &err));
    const char *broken = broken_promise(registry);
    if (broken != NULL)
        fuzz_fail(__FILE__, __LINE__, broken);
}

static void take_line(struct registry *registry, struct str line)
{
    struct record record;
    struct err err = {.text = ""};
    if (record_decode(line, &record, &err)) {
        check_written(&record);
        take(registry, &record);
    } else {
        fuzz_check(err.text[0] != '\0');
    }
    record_free(&record);
}

static void check_baseline(const struct registry *registry)
{
    struct err err;
    struct registry *again = registry_again(registry, &err);
    fuzz_check(again != NULL);
    char *one = registry_image(registry), *two = registry_image(again);
    fuzz_check(strcmp(one, two) == 0);
    free(one);
    free(two);
    registry_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct registry *registry = registry_new();
    struct str rest = {(const char *)bytes, count}, line;
    struct buf whole = BUF_EMPTY;
    while (rest.n > 0 && str_split(&rest, '\n', &line)) {
        complete(line, &whole);
        char *copy = fuzz_copy(whole.p, whole.n);
        take_line(registry, (struct str){copy, whole.n});
        free(copy);
    }
    check_baseline(registry);
    buf_free(&whole);
    registry_free(registry);
    return 0;
}
