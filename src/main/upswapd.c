/* upswapd: the daemon's command line, and the door to its three roles. */
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "config/config.h"
#include "control/config_text.h"
#include "control/control.h"
#include "control/journal.h"
#include "control/state.h"
#include "io/certificate_files.h"
#include "io/child.h"
#include "io/confine.h"
#include "keeper/handover.h"
#include "keeper/keeper.h"
#include "keeper/role.h"
#include "link/counters.h"
#include "plane/plane.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <libconfig.h>
#include <limits.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char usage[] = "usage: upswapd -c FILE       run in the foreground, log on stderr\n"
                            "       upswapd -t -c FILE    check FILE and exit: 0 valid, 1 not\n"
                            "       upswapd -V | -h       version and libraries | this help\n";

enum { EXIT_USAGE = 2 };

#define JOURNAL_CHECK_MS 5000 /* who asks waits for twice as long: see keeper/trial.c */

static int print_version(void)
{
    printf("upswapd %s (libevent %s, %s, libsodium %s, nghttp2 %s, libconfig %d.%d.%d, jansson %s; %s)\n",
           version_text, event_get_version(), OpenSSL_version(OPENSSL_VERSION), sodium_version_string(),
           nghttp2_version(0)->version_str, LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION,
           JANSSON_VERSION, confine_has_filter() ? "filters system calls" : "does not filter system calls");
    return 0;
}

static int check(const char *path)
{
    struct err err;
    struct config *config = config_load(path, &err);
    bool valid = config != NULL && config_check(config, certificate_files_check, &err) &&
                 config_check_instances(config, &err);
    if (!valid || !config_check_users(config, child_user_check, &err))
        fprintf(stderr, "%s\n", err.text);
    if (valid)
        printf("%s: valid\n", path);
    config_free(config);
    return valid ? 0 : 1;
}

static bool can_count(int fd, struct err *err)
{
    struct counters *counters = counters_map(fd, err);
    if (counters == NULL)
        return false;
    counters_unmap(counters);
    return true;
}

/* Both texts count: the one in force, with which it would take over, and the file, with which the service
 * manager would start it some day. Of the one in force the state folder, too, with a journal that can be
 * read: control could not go on without.
 */
static bool can_use_configs(const char *path, struct err *err)
{
    struct buf text = BUF_EMPTY;
    struct config *config = config_load(path, err);
    bool ok = config != NULL && config_check(config, certificate_files_check, err);
    config_free(config);
    if (!ok)
        return false;
    config = config_text_from(STDIN_FILENO, &text, err) ? config_text_parse(buf_str(&text), path, err) : NULL;
    buf_free(&text);
    ok = (config != NULL || err_prefix(err, "the config in force")) &&
         state_is_there(config->state_directory, err) &&
         journal_check(config->state_directory, JOURNAL_CHECK_MS, err);
    config_free(config);
    return ok;
}

/* Another upswapd asks (keeper/trial.h) whether this program could take over from it. */
static int check_upgrade(const char *path)
{
    struct err err;
    if (!handover_check(ROLE_KEEPER_FD, &err) || !can_count(ROLE_PEER_FD, &err) ||
        !can_use_configs(path, &err)) {
        printf("%s\n", err.text);
        return 1;
    }
    printf(HANDOVER_GREETING "%s\n", version_text);
    return 0;
}

/* A descriptor below 3 that was closed by who started us would be given to a socket, and be written to as
 * stderr. */
static bool open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        return close(fd) == 0;
    fprintf(stderr, "upswapd: /dev/null cannot be opened: %s; make it (mknod -m 666 /dev/null c 1 3)\n",
            strerror(errno));
    return false;
}

/* A program that was executed to take over finds the number of a descriptor. */
static int take_handover(void)
{
    uint64_t fd;
    const char *text = getenv(HANDOVER_VARIABLE);
    bool is_number = text != NULL && str_to_u64(str_of(text), &fd) && fd <= INT32_MAX;
    unsetenv(HANDOVER_VARIABLE);
    return is_number ? (int)fd : -1;
}

/* Absolute, for whoever reads it in a message; links on the way stay what they are, so that each reload
 * follows them anew. */
static char *absolute_path(const char *path)
{
    char folder[PATH_MAX];
    if (path[0] == '/' || getcwd(folder, sizeof folder) == NULL)
        return mem_dup(path);
    return mem_printf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, path);
}

static int run_keeper(const char *path, char **argv)
{
    char *absolute = absolute_path(path);
    struct keeper_options options = {
        .config_path = absolute, .argv = argv, .program = "/proc/self/exe", .handover = take_handover()};
    prctl(PR_SET_NAME, "upswapd", 0, 0, 0);
    int status = keeper_main(&options);
    free(absolute);
    return status;
}

/* All three have keys in their memory, or the descriptors of keys. */
static bool close_memory(void)
{
    struct err err;
    bool ok = confine_memory(&err);
    if (!ok)
        fprintf(stderr, "upswapd: %s\n", err.text);
    return ok;
}

static unsigned number(const char *text)
{
    uint64_t value = 0;
    return text != NULL && str_to_u64(str_of(text), &value) ? (unsigned)value : 0;
}

/* Started by the keeper (keeper/role.h): argv[1] names the role, the rest is what it needs to know before its
 * first message. */
static int run_role(int argc, char **argv)
{
    const char *role = argv[1] + strlen("--role=");
    prctl(PR_SET_NAME, "upswapd", 0, 0, 0);
    if (!close_memory())
        return 1;
    if (strcmp(role, "control") == 0 && argc == 3) {
        struct control_options options = {argv[2], ROLE_KEEPER_FD, ROLE_PEER_FD};
        log_open("control");
        fault_role("control");
        return control_main(&options);
    }
    if (strcmp(role, "proxy") == 0 && argc == 6) {
        struct plane_options options = {ROLE_KEEPER_FD, ROLE_PEER_FD, number(argv[2]), number(argv[5]),
                                        .confined = true};
        log_open("proxy");
        fault_role("proxy");
        log_configure(number(argv[3]), number(argv[4]));
        return plane_main(&options);
    }
    if (strcmp(role, "check") == 0 && argc == 3)
        return check_upgrade(argv[2]);
    fputs(usage, stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    bool only_check = false;
    int option;
    if (argc > 1 && strncmp(argv[1], "--role=", 7) == 0)
        return run_role(argc, argv);
    if (!open_standard_descriptors())
        return 1;
    while ((option = getopt(argc, argv, "c:thV")) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 't':
            only_check = true;
            break;
        case 'V':
            return print_version();
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    /* `upswapd -t FILE` is as good as `upswapd -t -c FILE`. */
    if (path == NULL && optind < argc)
        path = argv[optind++];
    if (path == NULL || optind < argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (only_check)
        return check(path);
    return close_memory() ? run_keeper(path, argv) : 1;
}
