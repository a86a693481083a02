/* The keys of a listener. */
#include "config/keys_rows.h"
#include "config/rules.h"

const struct section_word keys_tls_minimums[] = {
    {"1.2", CONFIG_TLS_1_2},
    {"1.3", CONFIG_TLS_1_3},
    {NULL, 0},
};
static const struct section_word client_verifies[] = {
    {"off", CONFIG_CLIENT_OFF},
    {"optional", CONFIG_CLIENT_OPTIONAL},
    {"required", CONFIG_CLIENT_REQUIRED},
    {NULL, 0},
};
static const struct section_key identity_keys[] = {
    {.name = "certificate",
     .kind = KEY_TEXT,
     FIELD(config_identity, certificate),
     .required = true,
     .rule = rule_absolute},
    {.name = "key", .kind = KEY_TEXT, FIELD(config_identity, key), .rule = rule_absolute},
    {.name = "ocsp", .kind = KEY_TEXT, FIELD(config_identity, ocsp), .rule = rule_absolute},
    {.name = NULL},
};
static const struct section identity_section = {
    .title = "a certificate",
    .keys = identity_keys,
    .size = sizeof(struct config_identity),
};
static const struct section_key listener_tls_keys[] = {
    {.name = "certificate",
     .kind = KEY_TEXT,
     FIELD(config_tls, first.certificate),
     .required = true,
     .rule = rule_absolute},
    {.name = "key", .kind = KEY_TEXT, FIELD(config_tls, first.key), .rule = rule_absolute},
    {.name = "ocsp", .kind = KEY_TEXT, FIELD(config_tls, first.ocsp), .rule = rule_absolute},
    {.name = "certificates",
     .kind = KEY_SECTIONS,
     FIELD(config_tls, more),
     RANGE(0, 1000),
     .section = &identity_section},
    {.name = "protocols",
     .kind = KEY_TEXTS,
     FIELD(config_tls, protocols),
     RANGE(0, 2),
     .rule = rule_protocol},
    {.name = "minimum",
     .kind = KEY_WORD,
     FIELD(config_tls, minimum),
     .fallback = "1.2",
     .words = keys_tls_minimums},
    {.name = "client_ca", .kind = KEY_TEXT, FIELD(config_tls, client_ca), .rule = rule_absolute},
    {.name = "client_verify",
     .kind = KEY_WORD,
     FIELD(config_tls, client_verify),
     .fallback = "off",
     .words = client_verifies},
    {.name = "hsts",
     .kind = KEY_DURATION,
     FIELD(config_tls, hsts_ms),
     .fallback = "0s",
     RANGE(0, 3 * 365 * DAY),
     .rule = rule_whole_seconds},
    {.name = NULL},
};
static const struct section listener_tls_section = {
    .title = "tls",
    .keys = listener_tls_keys,
    .has_line = true,
    .line_offset = offsetof(struct config_tls, line),
};

static const struct section_word views[] = {
    {"live", CONFIG_VIEW_LIVE},
    {"staged", CONFIG_VIEW_STAGED},
    {NULL, 0},
};

static const struct section_word redirects[] = {
    {"https", CONFIG_REDIRECT_HTTPS},
    {NULL, 0},
};
static const struct section_key listener_keys[] = {
    {.name = "address",
     .kind = KEY_TEXT,
     FIELD(config_listener, text),
     .required = true,
     .rule = rule_listen},
    {.name = "tls", .kind = KEY_SECTION, FIELD(config_listener, tls), .section = &listener_tls_section},
    {.name = "view", .kind = KEY_WORD, FIELD(config_listener, view), .fallback = "live", .words = views},
    {.name = "redirect", .kind = KEY_WORD, FIELD(config_listener, redirect), .words = redirects},
    {.name = "proxy_protocol",
     .kind = KEY_TEXTS,
     FIELD(config_listener, proxy_texts),
     RANGE(0, 1000),
     .rule = rule_network},
    {.name = NULL},
};
const struct section keys_listener = {
    .title = "a listener",
    .keys = listener_keys,
    .size = sizeof(struct config_listener),
    .has_line = true,
    .line_offset = offsetof(struct config_listener, line),
};

COUNT_FOLLOWS(config_tls, more, more_count);
