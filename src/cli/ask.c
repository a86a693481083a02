#include "cli/ask.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* It may quote what somebody has typed, or the daemon's peers. */
void ask_warn(const char *before, const char *sentence)
{
    struct buf clean = terminal_clean(str_of(sentence));
    fprintf(stderr, "%s%.*s\n", before, STR_ARG(buf_str(&clean)));
    buf_free(&clean);
}

int ask_fail(int status, const struct err *err)
{
    ask_warn("upswap: ", err->text);
    return status;
}

int ask_end(enum client_result result, struct client_reply *reply, struct err *err)
{
    if (result == CLIENT_INTERRUPTED || result == CLIENT_ABANDONED)
        return ask_fail(CLI_INTERRUPTED, err);
    if (result != CLIENT_ANSWERED)
        return ask_fail(CLI_UNREACHABLE, err);
    if (reply->status < 400)
        return CLI_DONE;
    client_reply_refusal(reply, err);
    client_reply_free(reply);
    return ask_fail(CLI_REFUSED, err);
}

int ask(const struct session *session, const char *method, const char *path, const json_t *body,
        uint64_t timeout_ms, struct client_reply *reply)
{
    struct err err;
    enum client_result result = client_request(session->client, method, path, body, timeout_ms, reply, &err);
    if (result == CLIENT_INTERRUPTED || result == CLIENT_ABANDONED)
        return CLI_INTERRUPTED; /* it only asks: there is nothing to tell */
    return ask_end(result, reply, &err);
}

void ask_doubt(struct err *err, const char *tells)
{
    struct err why = *err;
    err_set(err, "%s; it may have been done all the same: %s", why.text, tells);
}

int ask_change(const struct session *session, const char *path, const json_t *body, uint64_t timeout_ms,
               struct client_reply *reply)
{
    struct err err;
    client_catch_interrupt(session->client);
    enum client_result result = client_request(session->client, "POST", path, body, timeout_ms, reply, &err);
    if (result == CLIENT_UNANSWERED || result == CLIENT_ABANDONED)
        ask_doubt(&err, ASK_TELLS);
    return ask_end(result, reply, &err);
}

void ask_print(const struct client_reply *reply)
{
    fwrite(reply->text.p, 1, reply->text.n, stdout);
    if (reply->text.n > 0 && reply->text.p[reply->text.n - 1] != '\n')
        putchar('\n');
}

int ask_show(const struct session *session, char *path, ask_show_fn *show)
{
    struct client_reply reply;
    int status = ask(session, "GET", path, NULL, ASK_MS, &reply);
    free(path);
    if (status != CLI_DONE)
        return status;
    struct terminal terminal = terminal_open(stdout);
    if (session->json)
        ask_print(&reply);
    else
        show(&terminal, reply.json);
    client_reply_free(&reply);
    return CLI_DONE;
}

int ask_post(const struct session *session, char *path, json_t *body, char *sentence)
{
    struct client_reply reply;
    int status = ask_change(session, path, body, ASK_CHANGE_MS, &reply);
    if (status == CLI_DONE) {
        if (session->json)
            ask_print(&reply);
        else
            printf("%s\n", sentence);
        client_reply_free(&reply);
    }
    free(path);
    json_decref(body);
    free(sentence);
    return status;
}

int ask_verb(const struct session *session, const char *service, const char *verb, json_t *body,
             const char *words)
{
    char *path = client_path("/v1/services/", service, verb);
    return ask_post(session, path, body, mem_printf("%s: %s", service, words));
}
