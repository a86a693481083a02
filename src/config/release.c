#include "config/release.h"

#include "base/buf.h"
#include "config/config.h"

#define PLACEHOLDER STR("%{release}")

bool config_release_is_valid(struct str release)
{
    if (release.n == 0 || release.n > CONFIG_RELEASE_MAX || str_equal(release, STR(".")) ||
        str_equal(release, STR("..")))
        return false;
    for (size_t i = 0; i < release.n; i++) {
        char c = release.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

bool config_service_name_is_valid(struct str name)
{
    if (name.n == 0 || name.n > 63)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

bool release_unknown_name(struct str text, struct str *name)
{
    for (; text.n >= 2; text.p++, text.n--) {
        if (!str_starts_with(text, STR("%{")) || str_starts_with(text, PLACEHOLDER))
            continue;
        struct str rest = {text.p + 2, text.n - 2};
        (void)str_split(&rest, '}', name);
        return true;
    }
    return false;
}

char *config_expand(const char *text, struct str release, struct err *err)
{
    struct buf out = BUF_EMPTY;
    struct str rest = str_of(text);
    buf_add(&out, "", 0);
    while (rest.n > 0) {
        if (!str_starts_with(rest, PLACEHOLDER)) {
            buf_add(&out, rest.p++, 1);
            rest.n--;
            continue;
        }
        if (release.n == 0) {
            buf_free(&out);
            err_set(err, "\"%s\" needs a release; name it with --release", text);
            return NULL;
        }
        buf_add_str(&out, release);
        rest = (struct str){rest.p + PLACEHOLDER.n, rest.n - PLACEHOLDER.n};
    }
    return out.p;
}
