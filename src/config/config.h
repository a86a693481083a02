/* config: the configuration file as a plain struct, every default filled in, every value checked.
 *
 * Reading changes nothing and opens no socket. Each section's keys are rows of one table, which also gives
 * the messages and the man page their names. */
#pragma once

#include "base/address.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A list of texts; items may be NULL when count is 0. */
struct config_list {
    char **items;
    size_t count;
};

/* A certificate with its key; paths. */
struct config_identity {
    char *certificate;
    char *key;  /* NULL: in the certificate's file */
    char *ocsp; /* NULL: none */
};

enum config_tls_minimum { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

enum config_client_verify { CONFIG_CLIENT_OFF, CONFIG_CLIENT_OPTIONAL, CONFIG_CLIENT_REQUIRED };

struct config_tls {
    struct config_identity first; /* the one for who asks for none */
    struct config_identity *more;
    size_t more_count;
    enum config_tls_minimum minimum;
    struct config_list protocols; /* for ALPN; empty: both */
    char *client_ca;              /* path; NULL: none */
    enum config_client_verify client_verify;
    uint64_t hsts_ms;
    unsigned line; /* of the section; 0: there is none */
};

static inline size_t config_identity_count(const struct config_tls *tls)
{
    return 1 + tls->more_count;
}
static inline const struct config_identity *config_identity(const struct config_tls *tls, size_t index)
{
    return index == 0 ? &tls->first : &tls->more[index - 1];
}

enum config_redirect { CONFIG_REDIRECT_NONE, CONFIG_REDIRECT_HTTPS };

/* Whose instances it leads to: those that are live, or those that are not yet. */
enum config_view { CONFIG_VIEW_LIVE, CONFIG_VIEW_STAGED };

struct config_listener {
    char *text; /* as written */
    struct address address;
    struct config_list proxy_texts; /* as written */
    struct config_tls tls;
    enum config_redirect redirect;
    enum config_view view;
    struct address_prefix *proxies; /* whose connections begin with a PROXY header */
    unsigned line;
};

/* TLS to instances. */
struct config_upstream_tls {
    bool verify;
    char *server_name; /* NULL: the host of the instance */
    char *ca_file;     /* NULL: what the system believes */
    char *certificate; /* NULL: none */
    char *key;         /* NULL: in the certificate's file */
    enum config_tls_minimum minimum;
    unsigned line; /* of the section; 0: there is none */
};

enum config_log_format { CONFIG_ACCESS_LOG_NONE, CONFIG_ACCESS_LOG_JSON, CONFIG_ACCESS_LOG_COMBINED };
enum config_balance {
    CONFIG_ROUND_ROBIN,
    CONFIG_LEAST_REQUESTS,
    CONFIG_TWO_CHOICES,
    CONFIG_RANDOM,
    CONFIG_HASH_CLIENT,
    CONFIG_HASH_HEADER,
    CONFIG_HASH_COOKIE
};

enum config_upstream { CONFIG_UPSTREAM_H1, CONFIG_UPSTREAM_H2 };

struct config_admin {
    char *socket; /* path */
    uint32_t mode;
    char *group;  /* NULL: the process's */
    char *listen; /* NULL: none; else an IP address and port */
    struct address listen_address;
    char *token_file; /* NULL: none */
    unsigned listen_line;
};

/* Requests of one client address. */
struct config_rate {
    uint64_t per_second; /* 0: no limit */
    uint64_t burst;      /* at once; 0: as many as a second's */
};

struct config_limits {
    uint64_t connections; /* 0: derived from the descriptor limit */
    uint64_t head;        /* bytes */
    uint64_t fields;
    uint64_t body; /* bytes; 0: none */
    uint64_t connections_per_address;
    struct config_rate rate;
};

/* HTTP/2 of clients; all but the first two count by connection and minute, the last by header block. */
struct config_http2 {
    uint64_t streams;
    uint64_t window; /* bytes */
    uint64_t resets, pings, settings, priorities, empty_frames, window_updates, continuations;
};

/* All but the last in ms. */
struct config_timeouts {
    uint64_t head, idle; /* taken from defaults only */
    uint64_t connect, first_byte, stall, upstream_idle;
    uint64_t minimum_rate; /* bytes a second; 0: any */
};

struct config_uptests {
    char *directory; /* NULL: none configured; may hold %{release} */
    uint64_t timeout_ms, total_timeout_ms;
    uint64_t parallel;
    bool required;
    char *user;                     /* NULL: as the daemon */
    char *chdir;                    /* NULL: the directory */
    char *env_file;                 /* NULL: none */
    struct config_list environment; /* KEY=VALUE */
    struct config_list runner;
    uint64_t schedule_ms; /* between runs against the live pool; 0: there are none */
    bool eject;           /* who fails such a run gets no requests until it passes */
    unsigned line;        /* of the section, for messages */
};

/* Copies of live requests for the staged pool, before a swap. */
struct config_shadow {
    uint64_t share; /* of the requests that may be repeated; millionths */
    uint64_t seconds;
    uint64_t minimum; /* requests compared; with fewer nothing is judged */
    uint64_t differ;  /* share of them that may be answered differently; millionths */
    uint64_t latency; /* how many times as slow is too slow; millionths, 0: nothing is */
    bool credentials; /* requests with Cookie or Authorization too */
    unsigned line;    /* of the section; 0: it is not there, and there are no copies */
};

/* After a swap. */
enum config_on_fail { CONFIG_ROLL_BACK, CONFIG_HOLD, CONFIG_GO_ON };

struct config_watch {
    uint64_t duration_ms; /* 0: none */
    uint64_t errors;      /* millionths: that much more than before may be errors */
    uint64_t latency;     /* millionths: so many times the p99 from before may it be */
    uint64_t minimum;     /* requests, before either is judged */
    uint64_t uptests_ms;  /* between runs of the suite; 0: it is not run */
    enum config_on_fail on_fail;
};

struct config_drain {
    uint64_t requests_ms, streams_ms, websockets_ms, tunnels_ms, spread_ms;
};

/* Checks of live instances. */
struct config_health {
    char *path;           /* "": to connect is all */
    uint64_t interval_ms; /* 0: there are none */
    uint64_t timeout_ms;
    uint64_t rise, fall; /* results in a row that bring an instance back, or take it out */
};

/* Passive ejection, on live traffic. */
struct config_ejection {
    uint64_t failures; /* in a row; 0: off */
    uint64_t pause_ms, longest_ms;
    uint64_t most; /* percent of the instances in rotation */
};

/* How many requests an instance gets at a time. */
struct config_concurrency {
    uint64_t per_instance; /* over all workers; 0: no limit */
    uint64_t queue;        /* requests that wait for one with room, a worker */
    uint64_t queue_timeout_ms;
};

/* Requests that go to another instance. */
struct config_retries {
    uint64_t attempts; /* other instances that a request may go to */
    uint64_t budget;   /* millionths of the requests */
};

struct config_affinity {
    char *cookie;         /* name */
    uint64_t duration_ms; /* 0: the browser's session */
    unsigned line;        /* of the section; 0: it is not there, and there is no affinity */
};

/* What tells of a client that it is one: a cookie, or its address. */
enum config_canary { CONFIG_CANARY_COOKIE, CONFIG_CANARY_ADDRESS };

/* A field by which requests that come over any listener are led to the staged pool. */
struct config_preview {
    char *header;
    char *secret;  /* its value */
    unsigned line; /* of the section; 0: there is none */
};

struct config_canaries {
    enum config_canary by;
};

enum config_pin { CONFIG_PIN_OFF, CONFIG_PIN_COOKIE };
enum config_trace { CONFIG_TRACE_START, CONFIG_TRACE_PASS, CONFIG_TRACE_TRUSTED };

struct config_teardown {
    struct config_list command; /* empty: none */
    int signal;                 /* number; 0: none */
    uint64_t timeout_ms;
    uint64_t attempts;
};

/* What `upswap deploy` runs. */
struct config_launch {
    struct config_list command; /* the release is put behind it; empty: none */
    uint64_t timeout_ms;
    uint64_t count;                 /* instances that are wanted; 0: as many as the live pool has */
    char *user;                     /* NULL: as the daemon */
    char *chdir;                    /* NULL: "/" */
    char *env_file;                 /* NULL: none */
    struct config_list environment; /* KEY=VALUE */
    unsigned line;                  /* of the section, for messages */
};

/* Header rules of one direction. */
struct config_headers {
    struct config_list set, add; /* Name=value; the value may hold variables */
    struct config_list remove;   /* names, or beginnings with a '*' */
};

#define CONFIG_HEADERS_MAX 64        /* rules */
#define CONFIG_HEADERS_TEXT_MAX 8192 /* bytes of all */

struct config_header_rules {
    struct config_headers request, response;
    unsigned line; /* of the section, for messages */
};

/* What is sent in place of upswap's own page. */
struct config_page {
    struct config_list status; /* numbers as text */
    char *html, *json;         /* paths; NULL: the built-in one */
    unsigned line;
};

/* What clients are told while a service is in maintenance, and who is served all the same. */
struct config_maintenance {
    char *html, *json; /* paths; NULL: the error page for 503, or the built-in one */
    uint64_t retry_after_ms;
    struct config_list allow; /* networks, as written */
    struct address_prefix *allowed;
    unsigned line; /* of the section; 0: it is not there */
};

/* How requests wait while a service is paused. */
struct config_pause {
    uint64_t requests; /* at most, over all workers */
    uint64_t bytes;    /* that they hold together */
    uint64_t longest_ms;
    struct config_list pass; /* paths as instances see them, that never wait */
};

/* A file that was read. */
struct config_file {
    char *path;
    char *bytes; /* no text: it may hold any byte */
    size_t size;
};

struct config_service {
    char *name;
    struct config_list hosts; /* empty: any */
    struct config_list paths; /* at least one: "/" by default */
    bool strip_path;
    uint64_t body; /* bytes of a request; 0: as limits.body says */
    struct config_rate rate;
    bool forwarded;
    enum config_trace trace;
    bool redirect_https;
    char *canonical_host; /* NULL: none */
    struct config_page *pages;
    size_t page_count;
    struct config_maintenance maintenance;
    struct config_pause pause;
    struct config_header_rules headers;
    struct config_list instances; /* HOST:PORT */
    uint32_t *weights;            /* as many */
    char *balance_text;           /* as written */
    enum config_balance balance;
    const char *hash_name; /* of the field or cookie that is hashed; NULL: none */
    enum config_upstream upstream;
    int proxy_protocol; /* version of the header sent to instances; 0: none */
    struct config_affinity affinity;
    enum config_pin pin;
    uint64_t pin_duration_ms;
    struct config_upstream_tls tls;
    struct config_timeouts timeouts;
    uint64_t ready_timeout_ms;
    uint64_t hold_timeout_ms;
    struct config_uptests uptests;
    struct config_canaries canary;
    struct config_preview preview;
    struct config_shadow shadow;
    struct config_watch watch;
    struct config_drain drain;
    struct config_health health;
    struct config_ejection ejection;
    uint64_t slow_start_ms; /* 0: none */
    struct config_concurrency concurrency;
    struct config_retries retries;
    struct config_launch launch;
    struct config_teardown teardown;
    unsigned line;
};

/* What the proxy has counters for at a time, those that drain included. */
#define CONFIG_POOLS_MAX 32768
#define CONFIG_INSTANCES_MAX 65536

struct config {
    char *path;       /* of the file, for messages */
    uint64_t workers; /* as written; 0: one a CPU */
    char *user;       /* NULL: absent */
    char *state_directory;
    enum log_level log_level;
    enum log_format log_format;
    enum config_log_format access_log_format;
    char *access_log_path; /* NULL: none */
    struct config_admin admin;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_limits limits;
    struct config_http2 http2;
    struct address_prefix *trusted_proxies;
    size_t trusted_count;
    struct config_list trusted_texts;        /* as written */
    struct config_service defaults;          /* what `defaults` says on its own; its name is NULL */
    struct config_timeouts default_timeouts; /* head and idle act from here */
    struct config_service *services;
    size_t service_count;
    const struct config_service **by_name; /* the services in the order of their names; the room's own */
    struct config_file *files;             /* pages; read by config_check */
    size_t file_count;
    struct config_places *places; /* where each value was written; the room's own */
};

/* Reads a config from `file`, naming `path` in messages ("PATH:LINE: sentence"). NULL on the first fault.
 * Free with config_free. (Not config_read: that is a function of libconfig.) */
struct config *config_parse(FILE *file, const char *path, struct err *err) MUST_CHECK;
/* Opens and reads path. */
struct config *config_load(const char *path, struct err *err) MUST_CHECK;
void config_free(struct config *config);

/* The file of that path, or NULL: config_check has not read it. */
const struct config_file *config_file(const struct config *config, const char *path);

/* Reads the files of error pages into the config, and checks what only the machine can tell, for -t, the
 * start and reload: users, groups, runner and teardown programs and the token file are there, admin.listen is
 * a loopback address, and the access log is written where nothing else is. The fault as "PATH:LINE:
 * sentence". `certificate_check` (of this room nobody can) looks at the files of a certificate, its key and
 * its OCSP response, where the last two may be NULL, and whether it has a name where it is found `by_name`
 * alone, or at one of authorities (`certificate` NULL); NULL: somebody else does, and opens the access log.
 */
typedef bool config_certificate_check(const char *certificate, const char *key, const char *ocsp,
                                      bool by_name, const char *authorities, struct err *err);
bool config_check(struct config *config, config_certificate_check *certificate_check,
                  struct err *err) MUST_CHECK;

/* Whom the proxy runs as where the daemon is root: `user`, else upswap or nobody, whichever there is. NULL:
 * there is none of them. */
const char *config_proxy_user(const struct config *config);

/* For -t: is no instance one of the daemon's own sockets? A start and a reload ask it of those that they take
 * from the file (control/adopt.c). The fault as "PATH:LINE: sentence". */
bool config_check_instances(const struct config *config, struct err *err) MUST_CHECK;

/* Can this process run programs as the users that are named for them, and the proxy as its own? `user_check`
 * (of this room nobody can) looks at one. The fault as "PATH:LINE: sentence". */
typedef bool config_user_check(const char *user, struct err *err);
bool config_check_users(const struct config *config, config_user_check *user_check,
                        struct err *err) MUST_CHECK;

/* Can this instance's certificate be verified, where its service wants that? A Unix socket has no name of its
 * own. False with a sentence. */
bool config_can_verify(const struct config_service *service, const char *instance,
                       struct err *err) MUST_CHECK;

/* The path of the service's cookies. One that lies at several places of a site is one app, with one session.
 */
const char *config_cookie_path(const struct config_service *service);

/* The service of that name, or NULL. */
const struct config_service *config_service(const struct config *config, struct str name);

/* A release's name: [A-Za-z0-9._-]+, not "." or "..". */
#define CONFIG_RELEASE_MAX 128 /* bytes */
bool config_release_is_valid(struct str release);
/* A service's name: [a-z0-9-]{1,63}. */
bool config_service_name_is_valid(struct str name);

/* The text with each %{release} replaced; to be freed. A text that needs a release when there is none (""):
 * NULL and a sentence. */
char *config_expand(const char *text, struct str release, struct err *err) MUST_CHECK;
