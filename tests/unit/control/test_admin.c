#include "control/admin.h"

#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "fake_conductor.h"
#include "io/child.h"
#include "io/listener.h"
#include "pools.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64], socket_path[96], suite_path[96];
static struct loop *loop;
static struct conductor *conductor;
static struct event_log *events;
static struct admin *admin;
static struct address tcp_address;
static int unix_fd, tcp_fd;

static void configure(void)
{
    struct err err;
    char *text =
        mem_printf("listeners = ({ address = \"127.0.0.1:0\"; });\n"
                   "services = ({ name = \"web\"; instances = [ \"127.0.0.1:8001\" ];\n"
                   "  hosts = [ \"*.example.com\", \"example.com\" ]; uptests = { directory = \"%s\"; }; },\n"
                   "{ name = \"bare\"; hosts = [ \"bare\" ]; instances = [ \"127.0.0.1:8002\" ]; });\n",
                   suite_path);
    conductor = fake_conductor_new(text);
    free(text);
    events = event_log_open(folder, &err);
    assert_non_null(events);
}

static names_look_up *directory; /* of users; NULL: the system's */

static void start(const struct admin_limits *limits)
{
    struct admin_options options = {.unix_fd = unix_fd,
                                    .owners = {geteuid(), getegid()},
                                    .tcp_fd = tcp_fd,
                                    .token = "sesame",
                                    .conductor = conductor,
                                    .events = events,
                                    .limits = limits,
                                    .look_up = directory};
    admin = admin_start(loop, &options);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    strcpy(folder, "/tmp/upswap-admin-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(socket_path, sizeof socket_path, "%s/sock", folder);
    snprintf(suite_path, sizeof suite_path, "%s/uptests", folder);
    assert_int_equal(mkdir(suite_path, 0755), 0);
    configure();
    loop = loop_new();
    unix_fd = listener_open_unix(socket_path, 0600, (gid_t)-1, &err);
    assert_true(unix_fd >= 0);
    assert_true(address_parse(STR("127.0.0.1:0"), true, &tcp_address, &err));
    assert_true(listener_open(&tcp_address, 1, &tcp_fd, &err));
    start(&admin_limits_usual);
    return 0;
}

/* With other limits; before any client is there. */
static void restart_with(struct admin_limits other)
{
    admin_stop(admin);
    start(&other);
}

static void remove_in(const char *path, const char *name)
{
    char *file = mem_printf("%s/%s", path, name);
    unlink(file);
    free(file);
}

static int tear_down(void **state)
{
    (void)state;
    admin_stop(admin);
    loop_free(loop);
    event_log_close(events);
    fake_conductor_free(conductor);
    close(unix_fd);
    close(tcp_fd);
    remove_in(suite_path, "01_a");
    remove_in(suite_path, "02_b");
    rmdir(suite_path);
    remove_in(folder, "sock");
    remove_in(folder, "events.jsonl");
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

/* ---- a client in the same loop ---- */

struct peer {
    struct bufferevent *stream;
    struct buf received;
    bool ended; /* the server has closed */
};

static void peer_received(struct bufferevent *stream, void *arg)
{
    struct peer *peer = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t count = evbuffer_get_length(input);
    evbuffer_remove(input, buf_reserve(&peer->received, count), count);
    peer->received.n += count;
    buf_add(&peer->received, "", 0);
    loop_stop(loop);
}

static void peer_event(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    struct peer *peer = arg;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        peer->ended = true;
    loop_stop(loop);
}

static struct peer *peer_on(int fd)
{
    struct peer *peer = mem_zero(1, sizeof *peer);
    evutil_make_socket_nonblocking(fd);
    peer->stream = bufferevent_socket_new(loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
    buf_add(&peer->received, "", 0);
    bufferevent_setcb(peer->stream, peer_received, NULL, peer_event, peer);
    bufferevent_enable(peer->stream, EV_READ | EV_WRITE);
    return peer;
}

static struct peer *peer_new(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return peer_on(fd);
}

static struct peer *peer_new_tcp(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(tcp_address.port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return peer_on(fd);
}

static void peer_free(struct peer *peer)
{
    bufferevent_free(peer->stream);
    buf_free(&peer->received);
    free(peer);
}

static void peer_send(struct peer *peer, const char *text)
{
    bufferevent_write(peer->stream, text, strlen(text));
}

static void peer_shut(struct peer *peer)
{
    shutdown(bufferevent_getfd(peer->stream), SHUT_WR);
}

static bool is_late;

static void be_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    is_late = true;
    loop_stop(loop);
}

/* A turn of the loop that something ends, or the test has failed. */
static void wait_for(const struct peer *peer, const char *what)
{
    struct event *guard = evtimer_new(loop_base(loop), be_late, NULL);
    evtimer_add(guard, &(struct timeval){.tv_sec = 20});
    is_late = false;
    loop_run(loop);
    event_free(guard);
    if (is_late)
        fail_msg("\"%s\" did not come, but \"%s\"", what, peer->received.p);
}

/* Waits until the text has come; what stands before and in it is taken off. */
static void peer_expect(struct peer *peer, const char *text)
{
    const char *at;
    while ((at = memmem(peer->received.p, peer->received.n, text, strlen(text))) == NULL) {
        if (peer->ended)
            fail_msg("the end came, not \"%s\", but \"%s\"", text, peer->received.p);
        wait_for(peer, text);
    }
    buf_drop(&peer->received, (size_t)(at - peer->received.p) + strlen(text));
}

static void peer_expect_end(struct peer *peer)
{
    while (!peer->ended)
        wait_for(peer, "the end");
}

static void request(struct peer *peer, const char *method, const char *path, const char *body)
{
    char *text = mem_printf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                            strlen(body), body);
    peer_send(peer, text);
    free(text);
}

static void get(struct peer *peer, const char *path)
{
    char *text = mem_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    peer_send(peer, text);
    free(text);
}

/* Another client comes, is served and goes: meanwhile the server has seen all that was sent before. */
static void go_round(void)
{
    for (int i = 0; i < 3; i++) {
        struct peer *other = peer_new();
        get(other, "/healthz");
        peer_expect(other, "ok\n");
        peer_free(other);
    }
}

/* What has been sent has been read; without a connection more. */
static void turn(void)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
}

/* One request on a connection of its own. */
static void assert_answer(const char *method, const char *path, const char *body, const char *status,
                          const char *detail)
{
    struct peer *peer = peer_new();
    request(peer, method, path, body);
    peer_expect(peer, "HTTP/1.1 ");
    peer_expect(peer, status);
    if (atoi(status) >= 400)
        peer_expect(peer, "Content-Type: application/problem+json\r\n");
    peer_expect(peer, detail);
    peer_free(peer);
}

/* ---- requests and answers ---- */

static void every_get_of_the_table_answers(void **state)
{
    (void)state;
    assert_answer("GET", "/v1/status", "", "200 OK", "{\"version\":\"1.0\",\"snapshot\":1");
    assert_answer("GET", "/v1/services", "", "200 OK",
                  "\r\n\r\n{\"services\":[{\"service\":\"web\",\"pools\":[]},"
                  "{\"service\":\"bare\",\"pools\":[]}]}\n");
    assert_answer("GET", "/v1/services/web", "", "200 OK", "\r\n\r\n{\"service\":\"web\",\"pools\":[]}\n");
    assert_answer("GET", "/v1/services/web/deployments", "", "200 OK", "\"limit\":20}");
    assert_answer("GET", "/v1/services/web/deployments?limit=7", "", "200 OK", "\"limit\":7}");
    assert_answer("GET", "/v1/deployments/web-1", "", "200 OK", "{\"deployment\":\"web-1\"}");
    assert_answer("GET", "/metrics", "", "200 OK", "# HELP upswap_requests_total");
    assert_answer("GET", "/healthz", "", "200 OK", "\r\n\r\nok\n");
    conductor->version = 0;
    assert_answer("GET", "/healthz", "", "503 Service Unavailable", "no snapshot has been published");
}

/* So many that their metrics are some MiB. */
static void add_services(void)
{
    fake_conductor_configure(conductor, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        struct service *service = pools_service(conductor->registry, name);
        snprintf(name, sizeof name, "s%u-1", i);
        pools_add(conductor->registry, service, name, i)->state = POOL_LIVE;
    }
}

static void others_are_answered_while_metrics_of_many_services_are_written(void **state)
{
    (void)state;
    add_services();
    struct peer *scraper = peer_new(), *other = peer_new();
    get(scraper, "/metrics");
    peer_expect(scraper, "Transfer-Encoding: chunked\r\n");
    peer_expect(scraper, "# HELP upswap_requests_total");
    get(other, "/healthz");
    peer_expect(other, "ok\n");
    assert_null(memmem(scraper->received.p, scraper->received.n, "upswap_build_info", 17));
    peer_expect(scraper, "\nupswap_build_info{version=");
    get(scraper, "/healthz");
    peer_expect(scraper, "ok\n");
    peer_free(scraper);
    peer_free(other);
}

/* The output of a server that takes the end of input for a going would end there. */
static void who_has_sent_its_end_gets_all_metrics(void **state)
{
    (void)state;
    add_services();
    struct peer *peer = peer_new();
    peer_send(peer, "GET /metrics HTTP/1.0\r\n\r\n");
    turn();
    peer_shut(peer);
    peer_expect(peer, "\nupswap_build_info{version=");
    peer_expect_end(peer);
    peer_free(peer);
}

/* Only who follows is taken for gone. */
static void who_has_sent_its_end_gets_all_events(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++)
        event_log_add(events, "gate.passed", "web", "web-1", NULL);
    event_log_add(events, "gate.failed", "web", "web-1", NULL);
    struct peer *peer = peer_new();
    bufferevent_disable(peer->stream, EV_READ);
    peer_send(peer, "GET /v1/events HTTP/1.0\r\n\r\n");
    turn();
    peer_shut(peer);
    turn();
    bufferevent_enable(peer->stream, EV_READ);
    peer_expect(peer, "gate.failed");
    peer_expect_end(peer);
    peer_free(peer);
}

/* Valgrind and ASan look at the rest. */
static void a_scraper_that_goes_or_does_not_read_holds_up_nobody(void **state)
{
    (void)state;
    add_services();
    struct peer *gone = peer_new(), *deaf = peer_new();
    bufferevent_disable(deaf->stream, EV_READ);
    get(deaf, "/metrics");
    get(gone, "/metrics");
    peer_expect(gone, "# HELP upswap_requests_total");
    peer_free(gone);
    go_round();
    bufferevent_enable(deaf->stream, EV_READ);
    peer_expect(deaf, "\nupswap_build_info{version=");
    bufferevent_disable(deaf->stream, EV_READ);
    get(deaf, "/metrics");
    go_round();
    peer_free(deaf);
    go_round();
}

/* How many services the answer without a length has, behind its head. */
static size_t listed(struct peer *peer)
{
    peer_expect(peer, "\r\n\r\n");
    peer_expect_end(peer);
    json_t *status = json_loadb(peer->received.p, peer->received.n, 0, NULL);
    assert_non_null(status);
    assert_string_equal(json_string_value(json_object_get(status, "version")), "1.0");
    size_t count = json_array_size(json_object_get(status, "services"));
    json_decref(status);
    return count;
}

static void a_status_of_many_services_is_written_in_pieces(void **state)
{
    (void)state;
    fake_conductor_configure(conductor, 2000);
    struct peer *whole = peer_new(), *cut = peer_new(), *other = peer_new();
    peer_send(whole, "GET /v1/status HTTP/1.0\r\n\r\n");
    assert_int_equal(listed(whole), 2000);
    peer_send(cut, "GET /v1/status HTTP/1.0\r\n\r\n");
    peer_send(other, "GET /healthz HTTP/1.0\r\n\r\n");
    peer_expect(other, "ok\n");
    assert_false(cut->ended);
    fake_conductor_configure(conductor, 1000); /* a reload: those that are not told yet are gone */
    size_t count = listed(cut);
    assert_true(count >= 1000 && count < 2000);
    peer_free(whole);
    peer_free(cut);
    peer_free(other);
}

/* The instances of the first pool of this service, each of which must be there once and in its place. */
static size_t count_instances(const json_t *service)
{
    size_t i;
    const json_t *instance, *pool = json_array_get(json_object_get(service, "pools"), 0);
    json_array_foreach (json_object_get(pool, "instances"), i, instance)
        assert_int_equal(json_integer_value(json_object_get(instance, "address")), i);
    return i;
}

/* While `path` is being answered, another one is; then half of the instances are gone. */
static json_t *read_cut(const char *path)
{
    struct peer *cut = peer_new(), *other = peer_new();
    char *request = mem_printf("GET %s HTTP/1.0\r\n\r\n", path);
    peer_send(cut, request);
    peer_send(other, "GET /healthz HTTP/1.0\r\n\r\n");
    peer_expect(other, "ok\n");
    assert_false(cut->ended);
    conductor->instances = 5000;
    peer_expect(cut, "\r\n\r\n");
    peer_expect_end(cut);
    json_t *json = json_loadb(cut->received.p, cut->received.n, 0, NULL);
    assert_non_null(json);
    free(request);
    peer_free(cut);
    peer_free(other);
    return json;
}

static void a_service_of_many_instances_is_written_in_pieces(void **state)
{
    (void)state;
    for (conductor->instances = 1; conductor->instances <= 1024; conductor->instances *= 2) {
        struct peer *peer = peer_new();
        peer_send(peer, "GET /v1/services/web HTTP/1.0\r\n\r\n");
        peer_expect(peer, "\r\n\r\n");
        peer_expect_end(peer);
        json_t *service = json_loadb(peer->received.p, peer->received.n, 0, NULL);
        assert_int_equal(count_instances(service), conductor->instances);
        json_decref(service);
        peer_free(peer);
    }
    conductor->instances = 10000;
    json_t *service = read_cut("/v1/services/web");
    assert_in_range(count_instances(service), 5000, 9999);
    json_decref(service);
    conductor->instances = 10000;
    json_t *status = read_cut("/v1/status");
    const json_t *services = json_object_get(status, "services");
    assert_int_equal(json_array_size(services), 2);
    assert_in_range(count_instances(json_array_get(services, 0)), 5000, 9999);
    assert_int_equal(count_instances(json_array_get(services, 1)), 5000);
    json_decref(status);
}

static void assert_head_without_body(void)
{
    struct peer *peer = peer_new();
    peer_send(peer, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_expect(peer, "version=0.0.4");
    peer_expect(peer, "\r\n\r\n");
    get(peer, "/healthz");
    while (peer->received.n < 8)
        wait_for(peer, "the next answer");
    assert_memory_equal(peer->received.p, "HTTP/1.1", 8);
    peer_free(peer);
}

static void a_head_of_the_metrics_has_no_body(void **state)
{
    (void)state;
    assert_head_without_body();
    add_services();
    assert_head_without_body();
}

static void what_is_not_there_is_a_404_that_helps(void **state)
{
    (void)state;
    assert_answer(
        "GET", "/v1/statsu", "", "404 Not Found",
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"there is no path "
        "\\\"/v1/statsu\\\"; did you mean \\\"/v1/status\\\"?\"}");
    assert_answer("POST", "/v1/services/web/promot", "", "404 Not Found",
                  "\\\"/v1/services/web/promote\\\"?");
    assert_answer("GET", "/nothing", "", "404 Not Found", "there is no path");
    assert_answer("POST", "/v1/services/web/explode", "{}", "404 Not Found", "there is no path");
    assert_answer("GET", "/v1/services/wbe", "", "404 Not Found", "no service \\\"wbe\\\"; did you mean");
    assert_answer("GET", "/v1/services/wbe/deployments", "", "404 Not Found", "no service \\\"wbe\\\"");
    assert_answer("GET", "/v1/events?service=wbe", "", "404 Not Found", "no service \\\"wbe\\\"");
    assert_answer("GET", "/v1/deployments/web-9", "", "404 Not Found", "no deployment \\\"web-9\\\"");
    assert_answer("GET", "/v1/\xff", "", "400 Bad Request", "not valid HTTP/1.1");
}

static void a_wrong_method_is_a_405_with_allow(void **state)
{
    (void)state;
    assert_answer("POST", "/v1/status", "", "405 Method Not Allowed", "Allow: GET");
    assert_answer("PUT", "/v1/services/web/promote", "", "405 Method Not Allowed", "\r\nAllow: POST\r\n");
    assert_answer("DELETE", "/v1/services/web/deployments", "", "405 Method Not Allowed",
                  "\r\nAllow: GET, HEAD, POST\r\n");
    assert_answer("OPTIONS", "*", "", "404 Not Found", "there is no path");
}

static void wrong_bodies_and_queries_are_refused_by_name_and_nothing_is_asked(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *detail;
    } wrong[] = {
        {"/v1/services/web/deployments", "{", "the body is not JSON: line 1"},
        {"/v1/services/web/deployments", "[]", "the body must be an object, not a list"},
        {"/v1/services/web/deployments", "null", "the body must be an object, not null"},
        {"/v1/services/web/deployments", "1", "the body must be an object, not a number"},
        {"/v1/services/web/deployments", "1.5", "the body must be an object, not a fraction"},
        {"/v1/services/web/deployments", "{} 1", "the body is not JSON: line 1"},
        {"/v1/services/web/deployments", "", "the key \\\"instances\\\" is missing"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"instances\":[]}", "duplicate object key"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"relaese\":\"v1\"}",
         "the key \\\"relaese\\\" is not known; did you mean \\\"release\\\"?"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"hold\":\"yes\"}",
         "the key \\\"hold\\\" must be true or false, not a text"},
        {"/v1/services/web/deployments", "{\"instances\":\"a:1\"}",
         "the key \\\"instances\\\" must be a list, not a text"},
        {"/v1/services/web/deployments", "{\"instances\":[1]}", "each of \\\"instances\\\" must be a text"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"adress\":\"a:1\"}]}", "the key \\\"adress\\\""},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"pid\":\"7\"}]}",
         "the key \\\"pid\\\" of instance a:1 must be"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"pid\":7}]}", "the key \\\"address\\\""},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"weight\":0}]}",
         "the key \\\"weight\\\" of instance a:1: the weight 0 is not from 1 to 256"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"weight\":1.5}]}",
         "the key \\\"weight\\\" of instance a:1 must be a whole number, not a fraction"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"weight\":\"3\"}]}",
         "the key \\\"weight\\\" of instance a:1 must be a whole number, not a text"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"weight\":null}]}",
         "the key \\\"weight\\\" of instance a:1 must be a whole number, not null"},
        {"/v1/services/web/deployments", "{\"instances\":[{\"address\":\"a:1\",\"wait\":1}]}",
         "these are: address, weight, pid"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[5,5]}", "rising shares in percent"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[100]}", "rising shares in percent"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[0]}", "rising shares in percent"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[\"5\"]}", "rising shares in percent"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[0.00001]}",
         "each from 0.0001 to 99.9999"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[99.99999]}",
         "each from 0.0001 to 99.9999"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[1,1.00001]}", "rising shares"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"step\":\"1s\"}", "name the shares too"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"canary\":[5],\"step\":\"0s\"}",
         "the key \\\"step\\\" must be at least 1 ms"},
        {"/v1/services/web/deployments", "{\"instances\":[],\"watch\":\"60\"}", "the key \\\"watch\\\""},
        {"/v1/services/web/promote", "{\"now\":true}",
         "the key \\\"now\\\" is not known; these are: deployment, from"},
        {"/v1/services/web/promote", "{\"from\":\"testing\"}",
         "it must be \\\"held\\\", \\\"canary\\\", \\\"canary:PERCENT\\\" or \\\"watching\\\""},
        {"/v1/services/web/promote", "{\"from\":\"canary:\"}", "the key \\\"from\\\" is \\\"canary:\\\""},
        {"/v1/services/web/promote", "{\"from\":\"canary:100\"}", "the key \\\"from\\\""},
        {"/v1/services/web/promote", "{\"from\":\"canary:1e1\"}", "the key \\\"from\\\""},
        {"/v1/services/web/promote", "{\"from\":\"canary:1.2.3\"}", "the key \\\"from\\\""},
        {"/v1/services/web/promote", "{\"from\":\"canary: 5\"}", "the key \\\"from\\\""},
        {"/v1/services/web/abort", "{\"from\":\"held\"}", "the key \\\"from\\\" is not known"},
        {"/v1/reload", "{\"now\":true}", "the key \\\"now\\\" is not known; none is taken here"},
        {"/v1/services/web/abort", "{\"reason\":null}", "the key \\\"reason\\\" must be a text, not null"},
        {"/v1/services/web/drain", "{}", "the key \\\"instance\\\" is missing"},
        {"/v1/services/web/promote?now=1", "", "a POST takes no query"},
        {"/v1/reload", "\"now\"", "the body must be an object, not a text"},
        {"/v1/services/web/uptest", "{\"instances\":[7]}", "each of \\\"instances\\\" must be a text"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_answer("POST", wrong[i].path, wrong[i].body, "400 Bad Request", wrong[i].detail);
    assert_answer("GET", "/v1/status", "{}", "400 Bad Request", "a GET takes no body");
    assert_answer("GET", "/v1/status?verbose", "", "400 Bad Request", "the parameter \\\"verbose\\\"");
    assert_answer("GET", "/v1/services/web/deployments?limit=0", "", "400 Bad Request",
                  "the parameter \\\"limit\\\" is \\\"0\\\"; it must be a number from 1 to 1000");
    assert_answer("GET", "/v1/events?sinc=1", "", "400 Bad Request", "did you mean \\\"since\\\"?");
    assert_answer("GET", "/v1/events?since=1&since=2", "", "400 Bad Request", "is there twice");
    assert_answer("GET", "/v1/events?service=%zz", "", "400 Bad Request", "two hex digits");
    assert_answer("GET", "/v1/events?service=w%6", "", "400 Bad Request", "two hex digits");
    assert_answer("GET", "/v1/events?service=w%00", "", "400 Bad Request",
                  "the parameter \\\"service\\\" has a %00, which stands in no value; take it out");
    assert_answer("GET", "/v1/events?service=w%65", "", "404 Not Found", "no service \\\"we\\\"");
    assert_string_equal(conductor->asked, "");
}

static void the_shares_of_a_canary_are_taken_to_the_nearest_millionth(void **state)
{
    (void)state;
    conductor->status = 202;
    assert_answer("POST", "/v1/services/web/deployments",
                  "{\"instances\":[],\"watch\":\"5s\",\"canary\":[0.57,99.9999]}", "202 Accepted",
                  "canary=5700,999999/");
    assert_answer("POST", "/v1/services/web/deployments",
                  "{\"instances\":[],\"watch\":\"5s\",\"canary\":[0.0001,0.00016]}", "202 Accepted",
                  "canary=1,2/");
}

static void commands_reach_the_conductor_with_who_asked(void **state)
{
    (void)state;
    conductor->status = 202;
    assert_answer(
        "POST", "/v1/services/web/deployments",
        "{\"instances\":[\"a:1\",{\"address\":\"b:2\",\"weight\":3,\"pid\":7}],\"release\":\"v2\","
        "\"hold\":true,"
        "\"allow_untested\":true,\"watch\":\"5s\",\"canary\":[0.5,10],\"step\":\"2s\"}",
        "202 Accepted",
        "{\"asked\":\"stage web release=v2 hold=1 untested=1 watch=5000 canary=5000,100000/2000 a:1/1/0 "
        "b:2/3/7\"}");
    assert_int_equal(conductor->asker.uid, getuid());
    assert_int_equal(conductor->asker.pid, getpid());
    assert_true(conductor->asker.user[0] != '\0');
    conductor->status = 200;
    assert_answer("POST", "/v1/services/web/promote", "", "200 OK", "promote web deployment=- reason=\"");
    assert_answer("POST", "/v1/services/web/promote", "{\"deployment\":\"web-2\"}", "200 OK",
                  "promote web deployment=web-2 reason=\"");
    assert_answer("POST", "/v1/services/web/promote", "{\"from\":\"held\"}", "200 OK",
                  "promote web deployment=- from=held/0 reason=\"");
    assert_answer("POST", "/v1/services/web/promote", "{\"from\":\"canary:0.5\"}", "200 OK",
                  "promote web deployment=- from=canary/5000 reason=\"");
    assert_answer("POST", "/v1/services/web/abort", "", "200 OK", "abort web deployment=- reason=\"");
    assert_answer("POST", "/v1/services/web/rollback", "{\"reason\":\"slow\",\"deployment\":\"web-2\"}",
                  "200 OK", "rollback web deployment=web-2 reason=slow");
    assert_answer("POST", "/v1/services/web/abort", "{\"reason\":\"late\",\"deployment\":\"\"}", "200 OK",
                  "abort web deployment= reason=late");
    assert_answer("POST", "/v1/services/web/drain", "{\"instance\":\"a:1\"}", "200 OK", "drain web a:1");
    assert_answer("POST", "/v1/services/web/maintenance", "{\"on\":true,\"message\":\"m\"}", "200 OK",
                  "maintenance web 1 m");
    assert_answer("POST", "/v1/services/web/pause", "", "200 OK", "pause web 30000 15000");
    assert_answer("POST", "/v1/services/web/pause", "{\"max\":\"10s\",\"wait\":\"1s\"}", "200 OK",
                  "pause web 10000 1000");
    assert_answer("POST", "/v1/services/web/resume", "", "200 OK", "resume web");
    assert_answer("POST", "/v1/services/web/maintenance", "{\"on\":false}", "200 OK", "maintenance web 0 -");
    assert_answer("POST", "/v1/services/web/enable", "{\"instance\":\"a:1\"}", "200 OK", "enable web a:1");
    assert_answer("POST", "/v1/reload", "{}", "200 OK", "reload");
    conductor->status = 409;
    assert_answer("POST", "/v1/services/web/promote", "", "409 Conflict", "\"detail\":\"because\"");
    conductor->status = 507;
    assert_answer("POST", "/v1/services/web/promote", "", "507 Insufficient Storage", "because");
}

/* ---- HTTP ---- */

static void a_head_has_the_length_of_its_get_and_no_body(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    peer_send(peer, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    get(peer, "/healthz");
    peer_expect(peer, "Content-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n");
    peer_expect(peer, "\r\n\r\nok\n");
    peer_send(peer, "HEAD /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    get(peer, "/healthz");
    peer_expect(peer, "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n");
    peer_free(peer);
}

static void pipelined_requests_are_answered_in_order_though_the_first_takes_long(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    conductor->holds = true;
    request(peer, "POST", "/v1/reload", "");
    get(peer, "/healthz");
    get(peer, "/v1/deployments/web-1");
    while (conductor->done == NULL)
        go_round();
    assert_int_equal(peer->received.n, 0);
    fake_conductor_answer(conductor);
    peer_expect(peer, "{\"asked\":\"reload\"}");
    peer_expect(peer, "\r\n\r\nok\n");
    peer_expect(peer, "{\"deployment\":\"web-1\"}");
    peer_free(peer);
}

static void an_answer_to_a_client_that_has_gone_goes_nowhere(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    conductor->holds = true;
    request(peer, "POST", "/v1/reload", "");
    while (conductor->done == NULL)
        go_round();
    peer_free(peer);
    go_round();
    fake_conductor_answer(conductor);
    go_round();
}

static void a_client_that_sends_its_end_still_gets_its_answers(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    get(peer, "/healthz");
    request(peer, "POST", "/v1/reload", "");
    peer_send(peer, "GET /healthz HTTP/1.1\r\n");
    bufferevent_flush(peer->stream, EV_WRITE, BEV_FLUSH);
    conductor->holds = true;
    peer_expect(peer, "ok\n");
    peer_shut(peer);
    while (conductor->done == NULL)
        go_round();
    fake_conductor_answer(conductor);
    peer_expect(peer, "{\"asked\":\"reload\"}");
    peer_expect_end(peer);
    peer_free(peer);
}

static bool never_answers(uid_t uid, char name[NAMES_SIZE])
{
    (void)uid;
    (void)name;
    while (pause() != 0)
        continue;
    return false;
}

/* The loop is not held up, nor is who only looks; and the number has to do for a name. */
static void a_directory_that_does_not_answer_holds_up_commands_alone_and_not_for_long(void **state)
{
    (void)state;
    struct admin_limits limits = admin_limits_usual;
    limits.name = 300;
    directory = never_answers;
    restart_with(limits);
    directory = NULL;
    struct peer *commands = peer_new(), *leaves = peer_new(), *looks = peer_new();
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)getuid());
    request(leaves, "POST", "/v1/services/web/promote", "");
    request(commands, "POST", "/v1/reload", "");
    get(looks, "/healthz");
    peer_expect(looks, "ok\n");
    assert_string_equal(conductor->asked, "");
    peer_free(leaves);
    peer_expect(commands, "{\"asked\":\"reload\"}");
    assert_string_equal(conductor->asker.user, number);
    assert_int_equal(conductor->asker.uid, getuid());
    peer_free(commands);
    peer_free(looks);
}

static void chunked_bodies_and_expect_are_understood(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    peer_send(peer, "POST /v1/services/web/abort HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                    "Expect: 100-continue\r\n\r\n");
    peer_expect(peer, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(peer->received.n, 0);
    peer_send(peer, "9\r\n{\"reason\"\r\n7\r\n:\"why\"}\r\n0\r\n\r\n");
    peer_expect(peer, "abort web deployment=- reason=why");
    peer_free(peer);
}

static void a_body_over_1_mib_is_a_413(void **state)
{
    (void)state;
    struct admin_limits patient = admin_limits_usual;
    patient.linger = 3600000; /* so the end that the client sees is not the last close */
    restart_with(patient);
    struct peer *peer = peer_new();
    peer_send(peer, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
    peer_expect(peer, "413 Content Too Large");
    peer_expect(peer, "the body has 1048577 bytes");
    peer_expect_end(peer);
    peer_free(peer);
    peer = peer_new();
    peer_send(peer, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n");
    char *bytes = mem_zero(0x200000, 1);
    memset(bytes, ' ', 0x200000);
    bufferevent_write(peer->stream, bytes, 0x200000);
    free(bytes);
    peer_expect(peer, "413 Content Too Large");
    peer_expect(peer, "more than 1 MiB");
    peer_expect_end(peer);
    peer_free(peer);
}

static void what_is_not_http_is_a_problem_and_the_end(void **state)
{
    (void)state;
    struct admin_limits patient = admin_limits_usual;
    patient.linger = 3600000; /* so the end that the client sees is not the last close */
    restart_with(patient);
    struct peer *peer = peer_new();
    peer_send(peer, "GET /healthz HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n");
    peer_expect(peer, "HTTP/1.1 400 Bad Request\r\n");
    peer_expect(peer, "Content-Type: application/problem+json\r\n");
    peer_expect(peer, "the request is not valid HTTP/1.1: ");
    peer_expect_end(peer);
    peer_free(peer);
    peer = peer_new();
    peer_send(peer, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    peer_expect(peer, "HTTP/1.1 400 Bad Request\r\n");
    peer_expect(peer, "bad-chunk");
    peer_expect_end(peer);
    peer_free(peer);
}

static void over_tcp_the_token_lets_in_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *field, *status;
    } tries[] = {
        {"", "401 Unauthorized"},
        {"Authorization: Bearer sesam\r\n", "401 Unauthorized"},
        {"Authorization: Bearer sesamo\r\n", "401 Unauthorized"},
        {"Authorization: Bearer sesamesesame\r\n", "401 Unauthorized"},
        {"Authorization: Bearer \r\n", "401 Unauthorized"},
        {"Authorization: Basic sesame\r\n", "401 Unauthorized"},
        {"Authorization: Bearer sesame\r\nSec-Fetch-Site: cross-site\r\n", "403 Forbidden"},
        {"Authorization: bearer sesame\r\n", "200 OK"},
    };
    struct peer *peer = peer_new_tcp();
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        char *text = mem_printf("GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n", tries[i].field);
        peer_send(peer, text);
        free(text);
        peer_expect(peer, "HTTP/1.1 ");
        peer_expect(peer, tries[i].status);
        if (atoi(tries[i].status) == 401)
            peer_expect(peer, "WWW-Authenticate: Bearer");
        peer_expect(peer, "\r\n\r\n");
        peer_expect(peer, "\n");
    }
    peer_send(peer, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\n\r\n");
    peer_expect(peer, "200 OK");
    assert_int_equal(conductor->asker.uid, -1);
    assert_string_equal(conductor->asker.user, "token");
    peer_free(peer);
}

#define WITH(token) " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " token "\r\n\r\n"

/* As after a reload. */
static void configure_tcp(int fd, const char *token)
{
    struct admin_options options = {
        .unix_fd = unix_fd, .owners = {geteuid(), getegid()}, .tcp_fd = fd, .token = token};
    admin_configure(admin, &options);
}

static struct peer *follow(struct peer *peer)
{
    peer_send(peer, "GET /v1/events?follow=1" WITH("sesame"));
    peer_expect(peer, "\r\n\r\n");
    return peer;
}

static void another_token_counts_from_now_on(void **state)
{
    (void)state;
    configure_tcp(tcp_fd, "other");
    struct peer *old = peer_new_tcp(), *fresh = peer_new_tcp();
    peer_send(old, "GET /healthz" WITH("sesame"));
    peer_expect(old, "401 Unauthorized");
    peer_send(fresh, "GET /healthz" WITH("other"));
    peer_expect(fresh, "200 OK");
    peer_free(old);
    peer_free(fresh);
}

/* One that follows, one between two requests, one in a head and one in a body; and one over the other socket.
 */
static void end_over_tcp(int fd, const char *token)
{
    struct peer *over_tcp[] = {follow(peer_new_tcp()), peer_new_tcp(), peer_new_tcp(), peer_new_tcp()};
    struct peer *local = follow(peer_new());
    peer_send(over_tcp[1], "GET /healthz" WITH("sesame"));
    peer_expect(over_tcp[1], "ok\n");
    peer_send(over_tcp[2], "GET /healthz HTTP/1.1\r\nHos");
    peer_send(over_tcp[3], "POST /v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\n"
                           "Content-Length: 2\r\n\r\n{");
    go_round();
    configure_tcp(fd, token);
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    for (size_t i = 0; i < sizeof over_tcp / sizeof *over_tcp; i++) {
        peer_expect_end(over_tcp[i]);
        assert_int_equal(over_tcp[i]->received.n, 0);
        peer_free(over_tcp[i]);
    }
    peer_expect(local, "gate.passed");
    assert_false(local->ended);
    assert_string_equal(conductor->asked, "");
    peer_free(local);
}

static void another_token_ends_the_connections_over_tcp_and_no_others(void **state)
{
    (void)state;
    end_over_tcp(tcp_fd, "other");
}

static void without_its_socket_the_connections_over_tcp_end_and_no_others(void **state)
{
    (void)state;
    end_over_tcp(-1, "sesame");
}

static void the_same_token_on_the_same_socket_ends_no_connection(void **state)
{
    (void)state;
    struct peer *follower = follow(peer_new_tcp()), *idle = peer_new_tcp();
    go_round();
    configure_tcp(tcp_fd, "sesame");
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    peer_expect(follower, "gate.passed");
    peer_send(idle, "GET /healthz" WITH("sesame"));
    peer_expect(idle, "ok\n");
    peer_free(follower);
    peer_free(idle);
}

static void who_asks_over_tcp_for_the_reload_that_changes_the_token_is_answered_first(void **state)
{
    (void)state;
    struct peer *peer = peer_new_tcp();
    conductor->holds = true;
    peer_send(peer, "POST /v1/reload" WITH("sesame"));
    while (conductor->asked[0] == '\0')
        turn();
    configure_tcp(tcp_fd, "other");
    fake_conductor_answer(conductor);
    peer_expect(peer, "HTTP/1.1 200 OK");
    peer_expect(peer, "Connection: close");
    peer_expect(peer, "\"reload");
    peer_expect_end(peer);
    peer_free(peer);
}

/* ---- limits ---- */

static void a_request_that_does_not_come_in_time_is_a_408(void **state)
{
    (void)state;
    struct admin_limits short_ones = admin_limits_usual;
    short_ones.head = short_ones.body = 30;
    restart_with(short_ones);
    struct peer *head = peer_new(), *body = peer_new();
    peer_send(head, "GET /healthz HTTP/1.1\r\nHos");
    peer_send(body, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{");
    peer_expect(head, "408 Request Timeout");
    peer_expect_end(head);
    peer_expect(body, "408 Request Timeout");
    peer_expect_end(body);
    peer_free(head);
    peer_free(body);
}

/* That nothing stays behind is seen by a build that looks for leaks. */
static void who_ends_in_the_middle_of_a_body_has_asked_for_nothing(void **state)
{
    (void)state;
    struct peer *peer = peer_new();
    peer_send(peer, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{");
    turn();
    peer_shut(peer);
    peer_expect_end(peer);
    assert_int_equal(peer->received.n, 0);
    assert_string_equal(conductor->asked, "");
    peer_free(peer);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    struct admin_limits short_ones = admin_limits_usual;
    short_ones.idle = 30;
    restart_with(short_ones);
    struct peer *fresh = peer_new(), *used = peer_new();
    get(used, "/healthz");
    peer_expect(used, "ok\n");
    peer_expect_end(fresh);
    peer_expect_end(used);
    assert_int_equal(fresh->received.n, 0);
    assert_int_equal(used->received.n, 0);
    peer_free(fresh);
    peer_free(used);
}

static void the_longest_idle_makes_room_and_where_none_is_idle_the_newcomer_is_told(void **state)
{
    (void)state;
    struct admin_limits few = admin_limits_usual;
    few.connections = 2;
    restart_with(few);
    struct peer *a = peer_new(), *b = peer_new();
    get(a, "/healthz");
    peer_expect(a, "ok\n");
    get(b, "/healthz");
    peer_expect(b, "ok\n");
    get(a, "/healthz");
    peer_expect(a, "ok\n"); /* so b is the longest idle */
    struct peer *c = peer_new();
    get(c, "/healthz");
    peer_expect(c, "ok\n");
    peer_expect_end(b);
    assert_false(a->ended);
    get(a, "/v1/events?follow=1");
    peer_expect(a, "\r\n\r\n");
    get(c, "/v1/events?follow=1");
    peer_expect(c, "\r\n\r\n");
    struct peer *d = peer_new();
    peer_expect(d, "503 Service Unavailable");
    peer_expect(d, "too many admin connections");
    peer_expect_end(d);
    peer_free(a);
    peer_free(b);
    peer_free(c);
    peer_free(d);
}

/* Half a head, half a body, an answer that is not read: the oldest of them goes. */
static void who_has_no_request_under_way_makes_room(void **state)
{
    (void)state;
    struct admin_limits few = admin_limits_usual;
    few.connections = 3;
    restart_with(few);
    struct peer *slow = peer_new(), *slower = peer_new(), *follower = peer_new();
    get(follower, "/v1/events?follow=1");
    peer_expect(follower, "\r\n\r\n");
    peer_send(slow, "GET /healthz HTTP/1.1\r\nHos");
    peer_send(slower, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{");
    turn();
    struct peer *more[2] = {peer_new(), NULL};
    get(more[0], "/v1/events?follow=1");
    peer_expect(more[0], "200 OK");
    peer_expect_end(slow);
    more[1] = peer_new();
    get(more[1], "/healthz");
    peer_expect(more[1], "200 OK");
    peer_expect_end(slower);
    assert_false(follower->ended || more[0]->ended);
    assert_string_equal(conductor->asked, "");
    peer_free(slow);
    peer_free(slower);
    peer_free(follower);
    peer_free(more[0]);
    peer_free(more[1]);
}

static void who_comes_by_tcp_takes_nobodys_place_on_the_socket(void **state)
{
    (void)state;
    struct admin_limits few = admin_limits_usual;
    few.connections = 2;
    restart_with(few);
    struct peer *local = peer_new();
    get(local, "/healthz");
    peer_expect(local, "ok\n");
    struct peer *first = peer_new_tcp();
    peer_send(first, "GET /healthz HTTP/1.1\r\nHos");
    turn();
    struct peer *second = peer_new_tcp();
    peer_expect_end(first);
    get(local, "/healthz");
    peer_expect(local, "ok\n"); /* and is not the longest idle any more */
    struct peer *another = peer_new();
    get(another, "/healthz");
    peer_expect(another, "ok\n");
    peer_expect_end(second);
    assert_false(local->ended);
    struct peer *third = peer_new_tcp();
    peer_expect(third, "503 Service Unavailable");
    peer_expect_end(third);
    assert_false(local->ended || another->ended);
    peer_free(local);
    peer_free(first);
    peer_free(second);
    peer_free(another);
    peer_free(third);
}

static void however_many_follow_the_events_others_are_answered(void **state)
{
    (void)state;
    enum { FOLLOWERS = 128 };
    struct peer *followers[FOLLOWERS];
    for (int i = 0; i < FOLLOWERS; i++) {
        followers[i] = peer_new();
        get(followers[i], "/v1/events?follow=1");
        peer_expect(followers[i], "200 OK");
    }
    struct peer *peer = peer_new();
    get(peer, "/v1/events?follow=1");
    peer_expect(peer, "503 Service Unavailable");
    peer_expect(peer, "128 clients follow the events already");
    get(peer, "/v1/events");
    peer_expect(peer, "200 OK");
    peer_free(followers[0]);
    go_round();
    get(peer, "/v1/events?follow=1");
    peer_expect(peer, "200 OK");
    peer_free(peer);
    for (int i = 1; i < FOLLOWERS; i++)
        peer_free(followers[i]);
}

static void answers_that_nobody_reads_hold_back_the_next_requests(void **state)
{
    (void)state;
    enum { REQUESTS = 500 }; /* of some 3 KB each: more than the socket and the server's buffer take */
    struct peer *peer = peer_new();
    bufferevent_disable(peer->stream, EV_READ);
    for (int i = 0; i < REQUESTS; i++)
        get(peer, "/metrics");
    request(peer, "POST", "/v1/reload", "");
    go_round();
    assert_string_equal(conductor->asked, "");
    bufferevent_enable(peer->stream, EV_READ);
    for (int i = 0; i < REQUESTS; i++)
        peer_expect(peer, "upswap_build_info{");
    peer_expect(peer, "{\"asked\":\"reload\"}");
    peer_free(peer);
}

static void a_client_that_never_reads_is_cut(void **state)
{
    (void)state;
    struct admin_limits short_ones = admin_limits_usual;
    short_ones.stall = 300;
    restart_with(short_ones);
    char *wide = mem_alloc(1000001);
    memset(wide, 'x', 1000000);
    wide[1000000] = '\0';
    event_log_add(events, "uptest.finished", "web", NULL, json_pack("{s:s}", "output", wide));
    free(wide);
    struct peer *peer = peer_new();
    bufferevent_setcb(peer->stream, NULL, NULL, peer_event, peer);
    bufferevent_disable(peer->stream, EV_READ);
    get(peer, "/v1/events?follow=1");
    /* The peer's socket breaks when the server closes it with bytes unread: seen by writing. */
    while (!peer->ended) {
        go_round();
        peer_send(peer, " ");
    }
    peer_free(peer);
}

/* ---- events ---- */

static void events_are_lines_above_a_number_of_a_service(void **state)
{
    (void)state;
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    event_log_add(events, "gate.passed", "bare", "bare-1", NULL);
    event_log_add(events, "gate.failed", "web", "web-2", NULL);
    struct peer *peer = peer_new();
    get(peer, "/v1/events");
    peer_expect(peer, "Content-Type: application/jsonl\r\n");
    peer_expect(peer, "{\"seq\":1,");
    peer_expect(peer, "}\n");
    peer_expect(peer, "{\"seq\":2,");
    peer_expect(peer, "{\"seq\":3,");
    peer_expect(peer, "\r\n0\r\n\r\n");
    get(peer, "/v1/events?since=1&service=web&follow=0");
    peer_expect(peer, "\r\n\r\n");
    peer_expect(peer, "\r\n{\"seq\":3,");
    peer_expect(peer, "\r\n0\r\n\r\n");
    peer_send(peer, "GET /v1/events?since=2 HTTP/1.0\r\n\r\n");
    peer_expect(peer, "Connection: close\r\n\r\n{\"seq\":3,");
    peer_expect_end(peer);
    peer_free(peer);
}

static void who_has_seen_more_than_there_is_gets_all_since_numbers_have_begun_anew(void **state)
{
    (void)state;
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    struct peer *peer = peer_new();
    get(peer, "/v1/events?since=9&follow=1");
    peer_expect(peer, "{\"seq\":1,");
    event_log_add(events, "gate.failed", "web", "web-2", NULL);
    peer_expect(peer, "{\"seq\":2,");
    peer_free(peer);
    peer = peer_new();
    peer_send(peer, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                    "Last-Event-ID: 3\r\n\r\n");
    peer_expect(peer, "id: 1\ndata: {\"seq\":1,");
    peer_free(peer);
}

static void a_follower_is_told_as_it_happens_until_it_leaves(void **state)
{
    (void)state;
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    struct peer *peer = peer_new();
    get(peer, "/v1/events?follow=1&service=web");
    peer_expect(peer, "{\"seq\":1,");
    event_log_add(events, "gate.passed", "bare", "bare-1", NULL);
    event_log_add(events, "gate.failed", "web", "web-2", NULL);
    peer_expect(peer, "{\"seq\":3,");
    peer_shut(peer);
    peer_expect_end(peer);
    assert_null(memmem(peer->received.p, peer->received.n, "\r\n0\r\n", 5)); /* cut, not ended */
    event_log_add(events, "gate.failed", "web", "web-3", NULL);
    peer_free(peer);
}

static void a_slow_follower_misses_nothing(void **state)
{
    (void)state;
    enum { EVENTS = 3000 };
    struct peer *peer = peer_new();
    char filler[1001], wanted[32];
    memset(filler, 'x', 1000);
    filler[1000] = '\0';
    get(peer, "/v1/events?follow=1");
    peer_expect(peer, "\r\n\r\n");
    bufferevent_disable(peer->stream, EV_READ);
    for (int i = 0; i < EVENTS; i++)
        event_log_add(events, "gate.passed", "web", NULL, json_pack("{s:s}", "filler", filler));
    bufferevent_enable(peer->stream, EV_READ);
    for (int i = 1; i <= EVENTS; i++) {
        snprintf(wanted, sizeof wanted, "{\"seq\":%d,", i);
        peer_expect(peer, wanted);
    }
    peer_free(peer);
}

static void server_sent_events_have_ids_and_go_on_after_the_last_one(void **state)
{
    (void)state;
    event_log_add(events, "gate.passed", "web", "web-1", NULL);
    event_log_add(events, "gate.failed", "web", "web-2", NULL);
    struct peer *peer = peer_new();
    peer_send(peer, "GET /v1/events?follow=1&since=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                    "Last-Event-ID: 1\r\n\r\n");
    peer_expect(peer, "Content-Type: text/event-stream\r\n");
    peer_expect(peer, "id: ");
    assert_memory_equal(peer->received.p, "2\ndata: {\"seq\":2,", 16);
    peer_expect(peer, "}\n\n");
    peer_free(peer);
}

/* ---- uptests by hand ---- */

static void script(const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", suite_path, name);
    FILE *file = fopen(path, "w");
    fprintf(file, "#!/bin/sh\n%s\n", text);
    fclose(file);
    assert_int_equal(chmod(path, 0755), 0);
    free(path);
}

static void uptests_by_hand_answer_with_velociraptor_s_array(void **state)
{
    (void)state;
    script("01_a", "echo $UPTEST_VHOST $UPTEST_RELEASE $UPTEST_DEPLOYMENT.");
    script("02_b", "exit 1");
    struct peer *peer = peer_new();
    request(peer, "POST", "/v1/services/web/uptest", "");
    peer_expect(peer, "200 OK");
    peer_expect(
        peer,
        "[{\"Name\":\"01_a\",\"Passed\":true,\"Output\":\"example.com live .\\n\",\"Host\":\"127.0.0.1\","
        "\"Port\":8001,\"Seconds\":");
    peer_expect(peer, "{\"Name\":\"02_b\",\"Passed\":false,\"Output\":\"\",");
    request(peer, "POST", "/v1/services/web/uptest", "{\"instances\":[\"[::1]:9\"],\"release\":\"v9\"}");
    peer_expect(peer, "\"Output\":\"example.com v9 .\\n\",\"Host\":\"::1\",\"Port\":9,");
    peer_free(peer);
}

static void uptests_by_hand_that_cannot_be_run_are_refused(void **state)
{
    (void)state;
    assert_answer("POST", "/v1/services/web/uptest", "", "422 Unprocessable Content", "has no uptests");
    assert_answer("POST", "/v1/services/bare/uptest", "", "422 Unprocessable Content",
                  "no uptests are configured");
    script("01_a", "exit 0");
    assert_answer("POST", "/v1/services/web/uptest", "{\"instances\":[\"nonsense\"]}", "422",
                  "\\\"nonsense\\\" is not an address");
    assert_answer("POST", "/v1/services/web/uptest", "{\"instances\":[]}", "422", "no instances");
    assert_answer("POST", "/v1/services/web/uptest", "{\"release\":\"a/b\"}", "422",
                  "the release \\\"a/b\\\"");
    assert_answer("POST", "/v1/services/wbe/uptest", "", "404", "no service \\\"wbe\\\"");
}

/* Nothing runs that was started. */
static void stop_when_childless(void *arg)
{
    (void)arg;
    if (child_count() == 0)
        loop_stop(loop);
}

static void a_client_that_leaves_ends_its_uptests_and_only_so_many_run_at_once(void **state)
{
    (void)state;
    struct peer *peers[4];
    script("01_a", "echo $$ >&2; exec sleep 600");
    for (size_t i = 0; i < 4; i++) {
        peers[i] = peer_new();
        request(peers[i], "POST", "/v1/services/web/uptest", "");
    }
    struct peer *fifth = peer_new();
    request(fifth, "POST", "/v1/services/web/uptest", "");
    peer_expect(fifth, "409 Conflict");
    peer_expect(fifth, "try again when one has ended");
    for (size_t i = 0; i < 4; i++)
        peer_free(peers[i]);
    loop_on_turn(loop, stop_when_childless, NULL);
    loop_run(loop);
    loop_on_turn(loop, NULL, NULL);
    script("01_a", "exit 0");
    request(fifth, "POST", "/v1/services/web/uptest", "");
    peer_expect(fifth, "200 OK");
    peer_free(fifth);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_get_of_the_table_answers),
        TEST(others_are_answered_while_metrics_of_many_services_are_written),
        TEST(who_has_sent_its_end_gets_all_metrics),
        TEST(who_has_sent_its_end_gets_all_events),
        TEST(a_scraper_that_goes_or_does_not_read_holds_up_nobody),
        TEST(a_status_of_many_services_is_written_in_pieces),
        TEST(a_service_of_many_instances_is_written_in_pieces),
        TEST(a_head_of_the_metrics_has_no_body),
        TEST(what_is_not_there_is_a_404_that_helps),
        TEST(a_wrong_method_is_a_405_with_allow),
        TEST(wrong_bodies_and_queries_are_refused_by_name_and_nothing_is_asked),
        TEST(the_shares_of_a_canary_are_taken_to_the_nearest_millionth),
        TEST(commands_reach_the_conductor_with_who_asked),
        TEST(a_head_has_the_length_of_its_get_and_no_body),
        TEST(pipelined_requests_are_answered_in_order_though_the_first_takes_long),
        TEST(an_answer_to_a_client_that_has_gone_goes_nowhere),
        TEST(a_client_that_sends_its_end_still_gets_its_answers),
        TEST(a_directory_that_does_not_answer_holds_up_commands_alone_and_not_for_long),
        TEST(chunked_bodies_and_expect_are_understood),
        TEST(a_body_over_1_mib_is_a_413),
        TEST(what_is_not_http_is_a_problem_and_the_end),
        TEST(over_tcp_the_token_lets_in_and_nothing_else),
        TEST(another_token_counts_from_now_on),
        TEST(another_token_ends_the_connections_over_tcp_and_no_others),
        TEST(without_its_socket_the_connections_over_tcp_end_and_no_others),
        TEST(the_same_token_on_the_same_socket_ends_no_connection),
        TEST(who_asks_over_tcp_for_the_reload_that_changes_the_token_is_answered_first),
        TEST(a_request_that_does_not_come_in_time_is_a_408),
        TEST(who_ends_in_the_middle_of_a_body_has_asked_for_nothing),
        TEST(an_idle_connection_is_closed_without_a_word),
        TEST(who_has_no_request_under_way_makes_room),
        TEST(who_comes_by_tcp_takes_nobodys_place_on_the_socket),
        TEST(however_many_follow_the_events_others_are_answered),
        TEST(the_longest_idle_makes_room_and_where_none_is_idle_the_newcomer_is_told),
        TEST(answers_that_nobody_reads_hold_back_the_next_requests),
        TEST(a_client_that_never_reads_is_cut),
        TEST(events_are_lines_above_a_number_of_a_service),
        TEST(who_has_seen_more_than_there_is_gets_all_since_numbers_have_begun_anew),
        TEST(a_follower_is_told_as_it_happens_until_it_leaves),
        TEST(a_slow_follower_misses_nothing),
        TEST(server_sent_events_have_ids_and_go_on_after_the_last_one),
        TEST(uptests_by_hand_answer_with_velociraptor_s_array),
        TEST(uptests_by_hand_that_cannot_be_run_are_refused),
        TEST(a_client_that_leaves_ends_its_uptests_and_only_so_many_run_at_once),
    };
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
