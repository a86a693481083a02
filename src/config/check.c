/* What the machine must have for a config to work. Reads, and changes nothing. */
#include "base/mem.h"
#include "base/reach.h"
#include "config/config.h"
#include "config/log_place.h"
#include "config/pages.h"
#include "config/places.h"
#include "config/token.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Puts the place where `field` was written before the sentence. Returns false. */
static bool at(const struct config *config, const void *field, unsigned otherwise, struct err *err)
{
    return err_prefix(err, "%s:%u", config->path, places_line(config->places, field, otherwise));
}

static bool user_exists(const char *user, struct err *err)
{
    if (user == NULL || getpwnam(user) != NULL)
        return true;
    return err_set(err, "there is no user \"%s\" on this machine; add it, or name another", user);
}

const char *config_proxy_user(const struct config *config)
{
    if (config->user != NULL)
        return config->user;
    if (getpwnam("upswap") != NULL)
        return "upswap";
    return getpwnam("nobody") != NULL ? "nobody" : NULL;
}

/* Root's own rights are for the proxy only where the file says so. */
static bool proxy_has_user(const struct config *config, struct err *err)
{
    if (geteuid() != 0 || config_proxy_user(config) != NULL)
        return user_exists(config->user, err);
    return err_set(err, "there is no user \"upswap\" or \"nobody\" on this machine, as whom the proxy would "
                        "run; add one of them, or name another as user");
}

static bool group_exists(const char *group, struct err *err)
{
    if (group == NULL || getgrnam(group) != NULL)
        return true;
    return err_set(err, "there is no group \"%s\" on this machine; add it, or name another", group);
}

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool is_in_path(const char *name)
{
    const char *path = getenv("PATH");
    struct str rest = str_of(path != NULL ? path : "/usr/bin:/bin"), folder;
    bool found = false;
    while (!found && str_split(&rest, ':', &folder)) {
        char *file = mem_printf("%.*s/%s", STR_ARG(folder), name);
        found = folder.n > 0 && is_program(file);
        free(file);
    }
    return found;
}

/* The program of a command; one whose path depends on the release is known only when staged. */
static bool command_exists(const struct config_list *command, struct err *err)
{
    if (command->count == 0 || strstr(command->items[0], "%{") != NULL)
        return true;
    const char *program = command->items[0];
    bool has_slash = strchr(program, '/') != NULL;
    if (has_slash ? is_program(program) : is_in_path(program))
        return true;
    return err_set(err, "the program \"%s\" is not there or not executable%s", program,
                   has_slash ? "" : "; write its whole path, or put it in PATH");
}

static bool token_is_there(const struct config *config, struct err *err)
{
    char *token;
    bool there = token_read(config, &token, err);
    free(token);
    return there;
}

/* A token in clear text may not leave the machine. */
static bool listen_is_loopback(const struct config_admin *admin, struct err *err)
{
    if (admin->listen == NULL)
        return true;
    const struct address *address = &admin->listen_address;
    struct in6_addr ip;
    struct in_addr old;
    if (address->kind == ADDRESS_IPV4 && inet_pton(AF_INET, address->host, &old) == 1 &&
        ntohl(old.s_addr) >> 24 == IN_LOOPBACKNET)
        return true;
    if (address->kind == ADDRESS_IPV6 && inet_pton(AF_INET6, address->host, &ip) == 1 &&
        IN6_IS_ADDR_LOOPBACK(&ip))
        return true;
    return err_set(err, "\"%s\" is not a loopback address; write 127.0.0.1 or [::1]", admin->listen);
}

/* What opening it would say to everybody; who looks may see less than the daemon. */
static bool log_can_be_there(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status) == 0)
        return !S_ISDIR(status.st_mode) ||
               err_set(err, "access_log.path \"%s\" is a folder; name a file in it", path);
    char *folder = str_dup((struct str){path, (size_t)(strrchr(path, '/') - path) + 1});
    bool is_lost = stat(folder, &status) != 0 && (errno == ENOENT || errno == ENOTDIR);
    free(folder);
    return !is_lost ||
           err_set(err, "access_log.path \"%s\" lies in no folder; make that, or name another path", path);
}

static bool check_log(const struct config *config, struct err *err)
{
    return config->access_log_path == NULL || log_can_be_there(config->access_log_path, err) ||
           at(config, &config->access_log_path, 1, err);
}

static bool check_admin(const struct config *config, struct err *err)
{
    const struct config_admin *admin = &config->admin;
    if (!group_exists(admin->group, err))
        return at(config, &admin->group, 1, err);
    if (!listen_is_loopback(admin, err))
        return at(config, &admin->listen, admin->listen_line, err);
    return token_is_there(config, err);
}

static bool check_service(const struct config *config, const struct config_service *service, struct err *err)
{
    const struct config_uptests *uptests = &service->uptests;
    if (!user_exists(uptests->user, err))
        return at(config, &uptests->user, uptests->line, err);
    if (!command_exists(&uptests->runner, err))
        return at(config, &uptests->runner, uptests->line, err);
    const struct config_launch *launch = &service->launch;
    if (!user_exists(launch->user, err))
        return at(config, &launch->user, launch->line, err);
    if (!command_exists(&launch->command, err))
        return at(config, &launch->command, launch->line, err);
    return command_exists(&service->teardown.command, err) ||
           at(config, &service->teardown.command, service->line, err);
}

static bool check_certificates(const struct config *config, const struct config_tls *tls,
                               config_certificate_check *certificate_check, struct err *err)
{
    for (size_t i = 0; tls->line > 0 && i < config_identity_count(tls); i++) {
        const struct config_identity *identity = config_identity(tls, i);
        if (!certificate_check(identity->certificate, identity->key, identity->ocsp, i > 0, NULL, err))
            return at(config, &identity->certificate, tls->line, err);
    }
    return tls->client_ca == NULL || certificate_check(NULL, NULL, NULL, false, tls->client_ca, err) ||
           at(config, &tls->client_ca, tls->line, err);
}

static bool check_upstream(const struct config *config, const struct config_upstream_tls *tls,
                           config_certificate_check *certificate_check, struct err *err)
{
    if (tls->line == 0)
        return true;
    if (tls->ca_file != NULL && !certificate_check(NULL, NULL, NULL, false, tls->ca_file, err))
        return at(config, &tls->ca_file, tls->line, err);
    return tls->certificate == NULL ||
           certificate_check(tls->certificate, tls->key, NULL, false, NULL, err) ||
           at(config, &tls->certificate, tls->line, err);
}

/* The address, as written, of the daemon's own socket that a connection to `target` would come to; NULL:
 * none. One with port 0 gets a port that nobody has. */
static const char *reached(const struct config *config, const struct address *target)
{
    const struct config_admin *admin = &config->admin;
    for (size_t i = 0; i < config->listener_count; i++) {
        if (reach_arrives(target, &config->listeners[i].address))
            return config->listeners[i].text;
    }
    if (target->kind == ADDRESS_UNIX)
        return strcmp(address_path(target), admin->socket) == 0 ? admin->socket : NULL;
    return admin->listen != NULL && reach_arrives(target, &admin->listen_address) ? admin->listen : NULL;
}

static bool instances_are_others(const struct config *config, const struct config_service *service,
                                 struct err *err)
{
    for (size_t i = 0; i < service->instances.count; i++) {
        const char *text = service->instances.items[i], *own = NULL;
        struct address address;
        if (address_parse_instance(str_of(text), &address, err))
            own = reached(config, &address);
        if (own == NULL)
            continue;
        err_set(err,
                "service \"%s\": instance \"%s\" is upswap itself, which listens on %s; name the address "
                "where the app listens",
                service->name, text, own);
        return at(config, &service->instances.items[i], service->line, err);
    }
    return true;
}

bool config_check(struct config *config, config_certificate_check *certificate_check, struct err *err)
{
    if (!proxy_has_user(config, err))
        return at(config, &config->user, 1, err);
    if (!check_admin(config, err))
        return false;
    if (certificate_check != NULL && !check_log(config, err))
        return false;
    for (size_t i = 0; certificate_check != NULL && i < config->listener_count; i++) {
        if (!check_certificates(config, &config->listeners[i].tls, certificate_check, err))
            return false;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        if (!check_service(config, &config->services[i], err))
            return false;
        if (certificate_check != NULL &&
            !check_upstream(config, &config->services[i].tls, certificate_check, err))
            return false;
    }
    return pages_load(config, err) && log_place_is_free(config, err);
}

bool config_check_instances(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        if (!instances_are_others(config, &config->services[i], err))
            return false;
    }
    return true;
}

static bool check_user(const struct config *config, const char *const *user, unsigned line, const char *key,
                       config_user_check *user_check, struct err *err)
{
    struct err why;
    if (*user == NULL || user_check(*user, &why))
        return true;
    err_set(err, "%s: %s, or take the key out", key, why.text);
    return at(config, user, line, err);
}

/* As root only: else the proxy stays the daemon's user, as it does where it has the same name. */
static bool check_proxy_user(const struct config *config, config_user_check *user_check, struct err *err)
{
    const char *name = config_proxy_user(config);
    const struct passwd *user = name == NULL ? NULL : getpwnam(name);
    struct err why;
    if (geteuid() != 0 || user == NULL || (user->pw_uid == 0 && user->pw_gid == getegid()) ||
        user_check(name, &why))
        return true;
    err_set(err, "the proxy's user: %s, or as another user than root", why.text);
    return at(config, &config->user, 1, err);
}

bool config_check_users(const struct config *config, config_user_check *user_check, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_uptests *uptests = &config->services[i].uptests;
        const struct config_launch *launch = &config->services[i].launch;
        if (!check_user(config, (const char *const *)&uptests->user, uptests->line, "uptests.user",
                        user_check, err) ||
            !check_user(config, (const char *const *)&launch->user, launch->line, "launch.user", user_check,
                        err))
            return false;
    }
    return check_proxy_user(config, user_check, err);
}
