#include "config/rules.h"

#include "base/address.h"
#include "base/endpoint.h"
#include "base/units.h"
#include "base/utf8.h"
#include "config/config.h"
#include "config/release.h"

#include <arpa/inet.h>
#include <sys/un.h>

#define TOKEN_MAX 64
#define PATH_BYTES_MAX 1023 /* as route/image.h has it */

bool rule_absolute(struct str text, struct err *err)
{
    return text.p[0] == '/' ||
           err_set(err, "\"%.*s\" is not an absolute path; begin it with /", STR_ARG(text));
}

bool rule_release_text(struct str text, struct err *err)
{
    struct str name;
    if (!release_unknown_name(text, &name))
        return true;
    if (name.p + name.n == text.p + text.n)
        return err_set(err, "\"%%{%.*s\" in \"%.*s\" is not closed; write the missing }", STR_ARG(name),
                       STR_ARG(text));
    return err_set(err, "\"%%{%.*s}\" in \"%.*s\" is not known; only %%{release} is", STR_ARG(name),
                   STR_ARG(text));
}

bool rule_release_path(struct str text, struct err *err)
{
    return rule_absolute(text, err) && rule_release_text(text, err);
}

bool rule_plain_text(struct str text, struct err *err)
{
    if (memmem(text.p, text.n, "%{", 2) == NULL)
        return true;
    return err_set(err, "nothing is replaced in \"%.*s\"; the command finds the release in TEARDOWN_RELEASE",
                   STR_ARG(text));
}

bool rule_socket(struct str text, struct err *err)
{
    size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (text.n > most)
        return err_set(err, "\"%.*s\" has %zu bytes, and the path of a Unix socket at most %zu; shorten it",
                       STR_ARG(text), text.n, most);
    return rule_absolute(text, err);
}

bool rule_whole_seconds(struct str text, struct err *err)
{
    uint64_t ms;
    if (!units_duration(text, &ms, err))
        return false;
    return ms % 1000 == 0 ||
           err_set(
               err,
               "\"%.*s\" is no whole number of seconds, and clients are told nothing finer; write it with "
               "s, m, h or d",
               STR_ARG(text));
}

/* A socket of IPv6 is for IPv6 alone, so the kernel takes no such address. */
static bool is_not_mapped(const struct address *address, struct str text, struct err *err)
{
    uint8_t bytes[16];
    char ip4[INET_ADDRSTRLEN];
    if (address->kind != ADDRESS_IPV6 || inet_pton(AF_INET6, address->host, bytes) != 1 ||
        !address_is_mapped(bytes))
        return true;
    return err_set(err, "\"%.*s\" is an IPv4 address in the form of IPv6; write \"%s:%u\"", STR_ARG(text),
                   inet_ntop(AF_INET, bytes + 12, ip4, sizeof ip4), address->port);
}

bool rule_listen(struct str text, struct err *err)
{
    struct address address;
    if (!address_parse(text, true, &address, err) || !is_not_mapped(&address, text, err))
        return false;
    if (address.kind != ADDRESS_NAME)
        return true;
    return err_set(err, "\"%.*s\" is a name; write the IP address to listen on", STR_ARG(text));
}

bool rule_instance(struct str text, struct err *err)
{
    struct address address;
    struct endpoint endpoint;
    char quote[UTF8_QUOTE_SIZE];
    if (!endpoint_parse(text, &endpoint, err))
        return err_prefix(err, "\"%s\"", utf8_quote(text, quote));
    if (!address_parse_instance(endpoint.address, &address, err))
        return false;
    return endpoint.pid == 0 ||
           err_set(err, "\"%.*s\" names a process, which does not outlive this file; take pid= out",
                   STR_ARG(text));
}

static const struct way {
    const char *text; /* where it ends in ':', a name follows */
    enum config_balance balance;
} ways[] = {
    {"round_robin", CONFIG_ROUND_ROBIN},  {"least_requests", CONFIG_LEAST_REQUESTS},
    {"two_choices", CONFIG_TWO_CHOICES},  {"random", CONFIG_RANDOM},
    {"hash:client", CONFIG_HASH_CLIENT},  {"hash:header:", CONFIG_HASH_HEADER},
    {"hash:cookie:", CONFIG_HASH_COOKIE},
};

bool rule_is_token(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.n > 0 && text.n <= TOKEN_MAX;
}

bool rule_balance_read(struct str text, enum config_balance *balance, const char **name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct str way = str_of(ways[i].text);
        bool named = str_ends_with(way, STR(":"));
        if (named ? !str_starts_with(text, way) : !str_equal(text, way))
            continue;
        *balance = ways[i].balance;
        *name = named ? text.p + way.n : NULL;
        return !named || rule_is_token((struct str){text.p + way.n, text.n - way.n});
    }
    return false;
}

bool rule_balance(struct str text, struct err *err)
{
    enum config_balance balance;
    const char *name = NULL;
    if (rule_balance_read(text, &balance, &name))
        return true;
    if (name != NULL)
        return err_set(err, "\"%s\" is no name of a header or cookie; write letters, digits and -", name);
    return err_set(
        err,
        "\"%.*s\" is no way to choose an instance; write round_robin, least_requests, two_choices, "
        "random, hash:client, hash:header:NAME or hash:cookie:NAME",
        STR_ARG(text));
}

bool rule_protocol(struct str text, struct err *err)
{
    return str_equal(text, STR("h2")) || str_equal(text, STR("http/1.1")) ||
           err_set(err, "\"%.*s\" is not spoken here; write \"h2\" or \"http/1.1\"", STR_ARG(text));
}

bool rule_cookie(struct str text, struct err *err)
{
    static const char *const taken[] = {"__Host-", "__Secure-", "upswap-pin-", "upswap-canary-"};
    if (!rule_is_token(text))
        return err_set(err, "\"%.*s\" is no name of a cookie; write letters, digits and -", STR_ARG(text));
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (text.n >= strlen(taken[i]) &&
            str_equal_nocase((struct str){text.p, strlen(taken[i])}, str_of(taken[i])))
            return err_set(err, "names that begin with \"%s\" have a meaning of their own; choose another",
                           taken[i]);
    }
    return true;
}

/* The sentence does not show it. */
bool rule_secret(struct str text, struct err *err)
{
    bool is_visible = true;
    for (size_t i = 0; i < text.n; i++)
        is_visible = is_visible && text.p[i] > ' ' && text.p[i] < 0x7f;
    return (is_visible && text.n >= 16 && text.n <= 255) ||
           err_set(err, "a secret has 16 to 255 visible letters of ASCII, and no spaces");
}

bool rule_network(struct str text, struct err *err)
{
    struct address_prefix prefix;
    return address_prefix_parse(text, &prefix, err);
}

bool rule_service_name(struct str text, struct err *err)
{
    return config_service_name_is_valid(text) ||
           err_set(err, "\"%.*s\" is no service name; write 1 to 63 of a-z, 0-9 and -", STR_ARG(text));
}

/* What an address takes as its host, a host may be: the port is put behind to ask. */
static bool is_host(struct str text, bool name_only)
{
    char with_port[ADDRESS_TEXT_MAX];
    struct address address;
    struct err ignored;
    if (text.n == 0 || text.n + sizeof ":1" > sizeof with_port)
        return false;
    memcpy(with_port, text.p, text.n);
    memcpy(with_port + text.n, ":1", sizeof ":1");
    return address_parse(str_of(with_port), false, &address, &ignored) &&
           (!name_only || address.kind == ADDRESS_NAME);
}

/* Without brackets. */
static bool is_ipv6(struct str text)
{
    uint8_t bytes[16];
    char copy[64] = "";
    if (text.n < sizeof copy)
        memcpy(copy, text.p, text.n);
    return inet_pton(AF_INET6, copy, bytes) == 1;
}

bool rule_server_name(struct str text, struct err *err)
{
    if (is_host(text, false) || is_ipv6(text))
        return true;
    return err_set(err, "\"%.*s\" is no name of a server; write a host name or an IP address", STR_ARG(text));
}

bool rule_host(struct str text, struct err *err)
{
    bool wildcard = str_starts_with(text, STR("*."));
    struct str name = wildcard ? (struct str){text.p + 2, text.n - 2} : text;
    struct address address;
    if (str_equal(text, STR("*")))
        return err_set(err, "\"*\" is no host; leave \"hosts\" out to take any host");
    if (is_host(name, wildcard))
        return true;
    if (is_ipv6(text))
        return err_set(err, "\"%.*s\" is an IPv6 address without brackets; write \"[%.*s]\"", STR_ARG(text),
                       STR_ARG(text));
    if (address_parse(text, true, &address, err))
        return err_set(err, "\"%.*s\" has a port; a host is matched without it", STR_ARG(text));
    return err_set(err, "\"%.*s\" is no host; write a name such as \"example.com\" or \"*.example.com\"",
                   STR_ARG(text));
}

bool rule_canonical_host(struct str text, struct err *err)
{
    struct address address;
    struct str host = text;
    if (memchr(text.p, ':', text.n) != NULL) {
        if (!address_parse(text, false, &address, err))
            return false;
        host = str_of(address.host);
    }
    if (is_host(host, true) && host.p[host.n - 1] != '.')
        return true;
    return err_set(err, "\"%.*s\" is no name of a host; write one such as \"www.example.com\"",
                   STR_ARG(text));
}

bool rule_status(struct str text, struct err *err)
{
    uint64_t status;
    if (str_to_u64(text, &status) && status >= 400 && status <= 599)
        return true;
    return err_set(err, "%.*s is no status that upswap answers with; write one from 400 to 599",
                   STR_ARG(text));
}

static bool is_path_byte(char c)
{
    return c > 0x20 && c < 0x7f && strchr("\"<>\\^`{|}", c) == NULL;
}

static bool has_dot_segment(struct str path)
{
    struct str segment;
    while (str_split(&path, '/', &segment)) {
        if (str_equal(segment, STR(".")) || str_equal(segment, STR("..")))
            return true;
    }
    return false;
}

static bool begins_as_path(struct str text, struct err *err)
{
    if (text.p[0] != '/')
        return err_set(err, "the path \"%.*s\" must begin with /", STR_ARG(text));
    if (text.n > PATH_BYTES_MAX)
        return err_set(err, "the path \"%.40s...\" has %zu bytes; at most %d are taken", text.p, text.n,
                       PATH_BYTES_MAX);
    return true;
}

bool rule_path_prefix(struct str text, struct err *err)
{
    if (!begins_as_path(text, err))
        return false;
    if (memchr(text.p, '?', text.n) != NULL || memchr(text.p, '#', text.n) != NULL)
        return err_set(err, "the path \"%.*s\" has a query; only the path before it is matched",
                       STR_ARG(text));
    if (memchr(text.p, '*', text.n) != NULL)
        return err_set(err,
                       "the path \"%.*s\" has a *, and a path takes all that lies below it; write it without",
                       STR_ARG(text));
    if (has_dot_segment(text))
        return err_set(err, "the path \"%.*s\" has a segment . or ..; write the path that it means",
                       STR_ARG(text));
    for (size_t i = 0; i < text.n; i++) {
        if (!is_path_byte(text.p[i]))
            return err_set(err, "the path \"%.*s\" must be written as in a request, other bytes as %%XX",
                           STR_ARG(text));
    }
    return true;
}

bool rule_health_path(struct str text, struct err *err)
{
    if (!begins_as_path(text, err))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_path_byte(text.p[i]) || text.p[i] == '#')
            return err_set(err, "the path \"%.*s\" must be written as in a request, other bytes as %%XX",
                           STR_ARG(text));
    }
    return true;
}

static bool is_variable_byte(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

bool rule_variable(struct str text, struct err *err)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!is_variable_byte(text.p[i], i == 0))
            return err_set(err, "\"%.*s\" is no name for a variable; write letters, digits and _",
                           STR_ARG(text));
    }
    return true;
}
