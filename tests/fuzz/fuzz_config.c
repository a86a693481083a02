/* A config file: what is refused is refused with one line that names the place, the same each time; of what
 * is accepted every service is found by its name, every address can be read, and every text that takes the
 * name of a release takes one. No file that it names is opened. */
#include "fuzz.h"

#include "base/address.h"
#include "config/config.h"
#include "config/release.h"

#include <stdio.h>
#include <stdlib.h>

/* libconfig 1.5 forgets the text that it is in the middle of when the grammar fails. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

static struct config *read_text(const char *text, size_t count, struct err *err)
{
    FILE *file = fmemopen((void *)text, count, "r");
    fuzz_check(file != NULL);
    struct config *config = config_parse(file, "t.conf", err);
    fclose(file);
    return config;
}

/* One line, which begins with the place. */
static void check_fault(const struct err *fault, const struct err *again)
{
    fuzz_check(str_starts_with(str_of(fault->text), STR("t.conf:")));
    fuzz_check(strcmp(fault->text, again->text) == 0);
    for (const char *p = fault->text; *p != '\0'; p++)
        fuzz_check((uint8_t)*p >= ' ' && *p != 0x7f);
}

static void check_texts(const struct config_service *service)
{
    struct err err;
    for (size_t i = 0; i < service->instances.count; i++) {
        struct address address;
        fuzz_check(address_parse_instance(str_of(service->instances.items[i]), &address, &err));
    }
    for (size_t i = 0; i < service->paths.count; i++)
        fuzz_check(service->paths.items[i][0] == '/');
    if (service->uptests.directory != NULL) {
        char *text = config_expand(service->uptests.directory, STR("v1"), &err);
        fuzz_check(text != NULL && strstr(text, "%{release}") == NULL);
        free(text);
    }
    fuzz_check(service->paths.count > 0);
}

static void check_config(const struct config *config)
{
    struct err err;
    for (size_t i = 0; i < config->listener_count; i++) {
        struct address again;
        char text[ADDRESS_TEXT_MAX];
        fuzz_check(
            address_parse(str_of(address_text(&config->listeners[i].address, text)), true, &again, &err));
        fuzz_check(again.port == config->listeners[i].address.port);
    }
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        struct str name = str_of(service->name);
        fuzz_check(config_service_name_is_valid(name) && config_service(config, name) == service);
        check_texts(service);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct err err = {.text = ""}, again = {.text = ""};
    if (count == 0 || memmem(bytes, count, "@include", 8) != NULL)
        return 0;
    char *copy = fuzz_copy(bytes, count);
    struct config *config = read_text(copy, count, &err), *twin = read_text(copy, count, &again);
    fuzz_check((config == NULL) == (twin == NULL));
    if (config == NULL)
        check_fault(&err, &again);
    else
        check_config(config);
    config_free(config);
    config_free(twin);
    free(copy);
    return 0;
}
