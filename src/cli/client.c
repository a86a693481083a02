/* Every wait is one curl_multi_poll on the handles under way and on a signalfd, so that Ctrl-C ends any of
 * them. */
#include "cli/client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS 5000
#define POLL_MAX_MS 60000
#define LOOK_MS 20
#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un){0}.sun_path) - 1)

struct client {
    char *socket;
    CURLM *multi;     /* of requests */
    int interrupt_fd; /* signalfd; -1: Ctrl-C ends the process */
    bool interrupted;
};

struct client_stream {
    struct client *client;
    CURLM *multi;
    CURL *easy;
    struct buf text; /* what is not a whole line yet; or the refusal's body */
    client_line_fn *line;
    void *arg;
};

struct client *client_new(const char *socket)
{
    struct client *client = mem_zero(1, sizeof *client);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->socket = mem_dup(socket);
    client->multi = curl_multi_init();
    client->interrupt_fd = -1;
    if (client->multi == NULL)
        abort();
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    if (client->interrupt_fd >= 0)
        close(client->interrupt_fd);
    free(client->socket);
    free(client);
}

void client_catch_interrupt(struct client *client)
{
    sigset_t set;
    struct sigaction action;
    sigaction(SIGINT, NULL, &action);
    if (client->interrupt_fd >= 0 || action.sa_handler == SIG_IGN) /* as of a script's "upswap ... &" */
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    client->interrupt_fd = signalfd(-1, &set, SFD_CLOEXEC);
}

/* Waits for whatever is under way, at most `ms`. False: interrupted, now or before. */
static bool pause_for(struct client *client, CURLM *multi, uint64_t ms)
{
    struct curl_waitfd interrupt = {.fd = client->interrupt_fd, .events = CURL_WAIT_POLLIN};
    int ready;
    if (ms > POLL_MAX_MS)
        ms = POLL_MAX_MS;
    curl_multi_poll(multi, &interrupt, client->interrupt_fd >= 0, (int)ms, &ready);
    client->interrupted = client->interrupted || (interrupt.revents & CURL_WAIT_POLLIN) != 0;
    return !client->interrupted;
}

bool client_wait(struct client *client, uint64_t ms)
{
    uint64_t until = clock_mono_ms() + ms, now;
    while ((now = clock_mono_ms()) < until) {
        if (!pause_for(client, client->multi, until - now))
            return false;
    }
    return !client->interrupted;
}

static CURL *new_handle(struct client *client, const char *path)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        abort();
    char *url = mem_printf("http://upswap%s", path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a name may be ".." */
    free(url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    return easy;
}

/* Has the daemon, or the kernel for it, taken any of the request? */
static bool was_asked(CURL *easy)
{
    long sent = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0;
}

/* What mends it where nobody could be asked. */
static const char *remedy(long number)
{
    return number == EACCES ? "the socket, or a folder above it, is closed to you: ask as root or as the "
                              "daemon's user, or have "
                              "admin.group in its configuration name a group that you are in"
                            : "is upswapd running there (-s names another socket)?";
}

static void no_answer(const struct client *client, CURL *easy, CURLcode code, struct err *err)
{
    long number = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    const char *why =
        code == CURLE_COULDNT_CONNECT && number != 0 ? strerror((int)number) : curl_easy_strerror(code);
    char quote[UTF8_QUOTE_SIZE];
    if (strlen(client->socket) > SOCKET_PATH_MAX)
        err_set(err, "the path of a socket may have at most %zu bytes, and \"%s\" has %zu; -s names another",
                SOCKET_PATH_MAX, utf8_quote(str_of(client->socket), quote), strlen(client->socket));
    else if (was_asked(easy) && code == CURLE_OPERATION_TIMEDOUT)
        err_set(err,
                "no answer from the daemon at %s in time: its control does not start, or is held up; the "
                "daemon's log says why",
                client->socket);
    else if (was_asked(easy))
        err_set(err, "no answer from the daemon at %s: %s", client->socket, why);
    else
        err_set(err, "cannot reach the daemon at %s: %s; %s", client->socket, why, remedy(number));
}

/* Waits at most `ms` and takes what has come, in this order: whoever calls can act on it at once. True: the
 * handle has ended, and *code is how. */
static bool run(struct client *client, CURLM *multi, uint64_t ms, CURLcode *code)
{
    int running, left;
    (void)!pause_for(client, multi, ms);
    curl_multi_perform(multi, &running);
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    if (message != NULL)
        *code = message->data.result;
    return message != NULL;
}

static size_t keep(char *bytes, size_t size, size_t count, void *arg)
{
    buf_add(arg, bytes, size * count);
    return size * count;
}

/* False: interrupted. */
static bool perform(struct client *client, CURL *easy, CURLcode *code)
{
    bool ended = false;
    curl_multi_add_handle(client->multi, easy);
    while (!ended && !client->interrupted)
        ended = run(client, client->multi, POLL_MAX_MS, code);
    curl_multi_remove_handle(client->multi, easy);
    return ended;
}

/* Nobody listens there; nothing has been sent. */
static bool is_away(CURL *easy, CURLcode code)
{
    long number = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    return code == CURLE_COULDNT_CONNECT && (number == ENOENT || number == ECONNREFUSED);
}

static enum client_result interrupted(CURL *easy, struct err *err)
{
    if (was_asked(easy)) {
        err_set(err, "interrupted before the daemon had answered");
        return CLIENT_ABANDONED;
    }
    err_set(err, "interrupted before the daemon was asked for anything");
    return CLIENT_INTERRUPTED;
}

static enum client_result finish(struct client *client, CURL *easy, uint64_t timeout_ms, struct err *err)
{
    CURLcode code = CURLE_OK;
    uint64_t start = clock_mono_ms(), gone = 0;
    uint64_t patience = CLIENT_COMING_UP_MS;
    if (timeout_ms != CLIENT_FOREVER && timeout_ms < patience)
        patience = timeout_ms;
    do {
        if (timeout_ms != CLIENT_FOREVER)
            curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout_ms - gone));
        if (!perform(client, easy, &code))
            return interrupted(easy, err);
        if (code == CURLE_OK)
            return CLIENT_ANSWERED;
    } while (is_away(easy, code) && client_wait(client, LOOK_MS) &&
             (gone = clock_mono_ms() - start) < patience);
    if (client->interrupted)
        return interrupted(easy, err);
    no_answer(client, easy, code, err);
    return was_asked(easy) ? CLIENT_UNANSWERED : CLIENT_UNREACHABLE;
}

/* The text with each `old` in it replaced. */
static struct buf replaced(struct str text, struct str old, struct str new)
{
    struct buf out = BUF_EMPTY;
    const char *at;
    while ((at = memmem(text.p, text.n, old.p, old.n)) != NULL) {
        buf_add(&out, text.p, (size_t)(at - text.p));
        buf_add_str(&out, new);
        text.n -= (size_t)(at - text.p) + old.n;
        text.p = at + old.n;
    }
    buf_add_str(&out, text);
    return out;
}

/* The daemon quotes a name as it has come, in a path's escapes; a person knows it as it was typed. */
static void unescape(json_t *problem, const char *path)
{
    struct str rest = str_of(path), part;
    while (str_split(&rest, '/', &part)) {
        const char *detail = json_string_value(json_object_get(problem, "detail"));
        if (detail == NULL || part.n == 0 || memchr(part.p, '%', part.n) == NULL)
            continue;
        char *typed = curl_easy_unescape(NULL, part.p, (int)part.n, NULL);
        struct buf text = replaced(str_of(detail), part, str_of(typed));
        json_object_set_new(problem, "detail", json_stringn(text.p, text.n));
        curl_free(typed);
        buf_free(&text);
    }
}

enum client_result client_request(struct client *client, const char *method, const char *path,
                                  const json_t *body, uint64_t timeout_ms, struct client_reply *reply,
                                  struct err *err)
{
    struct client_reply got = {0};
    CURL *easy = new_handle(client, path);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *fields = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fields);
    if (text != NULL)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &got.text);
    enum client_result result = finish(client, easy, timeout_ms, err);
    if (result == CLIENT_ANSWERED) {
        long status;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        got.status = (unsigned)status;
        got.json = got.text.n > 0 ? json_loadb(got.text.p, got.text.n, 0, NULL) : NULL;
        unescape(got.json, path);
        *reply = got;
    } else {
        buf_free(&got.text);
    }
    curl_easy_cleanup(easy);
    curl_slist_free_all(fields);
    free(text);
    return result;
}

void client_reply_free(struct client_reply *reply)
{
    buf_free(&reply->text);
    json_decref(reply->json);
}

void client_reply_refusal(const struct client_reply *reply, struct err *err)
{
    const char *detail = json_string_value(json_object_get(reply->json, "detail"));
    if (detail != NULL)
        err_set(err, "%s", detail);
    else
        err_set(err, "the daemon answered with status %u and no reason", reply->status);
}

char *client_path(const char *before, const char *part, const char *after)
{
    char *escaped = curl_easy_escape(NULL, part, 0);
    char *path = mem_printf("%s%s%s", before, escaped, after);
    curl_free(escaped);
    return path;
}

static long status_of(CURL *easy)
{
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

bool client_stream_stands(const struct client_stream *stream)
{
    return status_of(stream->easy) == 200;
}

/* Hands on each whole line; a refusal's body is kept instead. */
static size_t take_lines(char *bytes, size_t size, size_t count, void *arg)
{
    struct client_stream *stream = arg;
    buf_add(&stream->text, bytes, size * count);
    const char *end;
    while (client_stream_stands(stream) && (end = memchr(stream->text.p, '\n', stream->text.n)) != NULL) {
        struct str line = {stream->text.p, (size_t)(end - stream->text.p)};
        if (line.n > 0)
            stream->line(stream->arg, line);
        buf_drop(&stream->text, line.n + 1);
    }
    return size * count;
}

struct client_stream *client_stream_open(struct client *client, const char *path, client_line_fn *line,
                                         void *arg)
{
    struct client_stream *stream = mem_zero(1, sizeof *stream);
    stream->client = client;
    stream->multi = curl_multi_init();
    stream->easy = new_handle(client, path);
    stream->line = line;
    stream->arg = arg;
    curl_easy_setopt(stream->easy, CURLOPT_WRITEFUNCTION, take_lines);
    curl_easy_setopt(stream->easy, CURLOPT_WRITEDATA, stream);
    curl_multi_add_handle(stream->multi, stream->easy);
    return stream;
}

void client_stream_close(struct client_stream *stream)
{
    if (stream == NULL)
        return;
    curl_multi_remove_handle(stream->multi, stream->easy);
    curl_easy_cleanup(stream->easy);
    curl_multi_cleanup(stream->multi);
    buf_free(&stream->text);
    free(stream);
}

static enum client_turn refused(const struct client_stream *stream, struct err *err)
{
    struct client_reply reply = {.status = (unsigned)status_of(stream->easy)};
    reply.json = stream->text.n > 0 ? json_loadb(stream->text.p, stream->text.n, 0, NULL) : NULL;
    client_reply_refusal(&reply, err);
    json_decref(reply.json);
    return reply.status == 503 ? STREAM_BUSY : STREAM_REFUSED;
}

enum client_turn client_stream_turn(struct client_stream *stream, uint64_t ms, struct err *err)
{
    CURLcode code;
    bool ended = run(stream->client, stream->multi, ms, &code);
    if (stream->client->interrupted)
        return STREAM_INTERRUPTED;
    if (!ended)
        return STREAM_OPEN;
    if (code != CURLE_OK) {
        no_answer(stream->client, stream->easy, code, err);
        return STREAM_BROKEN;
    }
    return client_stream_stands(stream) ? STREAM_ENDED : refused(stream, err);
}
