/* handshakes: asks a server for TLS 1.3 handshakes, one behind the other on each of a number of threads, for
 * some seconds. Invariant: what is counted has ended on both sides, and was full or resumed as was asked for:
 * a ticket, which a server sends only behind a good handshake, has been read. usage: handshakes PORT SECONDS
 * THREADS full|resumed      prints how many there were, and how many went wrong */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server = {.sin_family = AF_INET};
static bool resumes;
static double until; /* seconds on the monotonic clock */

struct asker {
    pthread_t thread;
    SSL_CTX *context;
    SSL_SESSION *ticket;
    bool told; /* a ticket has come on the connection of now */
    unsigned long done, wrong;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The newest ticket is kept, and used once (RFC 8446 appendix C.4). */
static int take_ticket(SSL *ssl, SSL_SESSION *ticket)
{
    struct asker *asker = SSL_get_app_data(ssl);
    SSL_SESSION_free(asker->ticket);
    asker->ticket = ticket;
    asker->told = true;
    return 1;
}

/* A reset frees the port at once: orderly ends would run out of ports. */
static int open_socket(void)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0 ||
        connect(fd, (struct sockaddr *)&server, sizeof server) != 0) {
        perror("handshakes: connect");
        exit(1);
    }
    return fd;
}

/* True: a whole handshake, resumed where a session was offered and not where none was. */
static bool shake_hands(struct asker *asker, bool offer)
{
    char byte;
    int fd = open_socket();
    SSL *ssl = SSL_new(asker->context);
    SSL_set_app_data(ssl, asker);
    SSL_set_fd(ssl, fd);
    SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY); /* a ticket ends a read in vain */
    if (offer)
        SSL_set_session(ssl, asker->ticket);
    asker->told = false;
    bool good = SSL_connect(ssl) == 1 && SSL_session_reused(ssl) == offer;
    if (good && !asker->told)
        good = SSL_read(ssl, &byte, 1) < 0 && asker->told;
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    return good;
}

static void *run(void *arg)
{
    struct asker *asker = arg;
    if (resumes && !shake_hands(asker, false))
        asker->wrong++;
    while (asker->wrong == 0 && now() < until) {
        if (shake_hands(asker, resumes))
            asker->done++;
        else
            asker->wrong++;
    }
    return NULL;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, take_ticket);
    return context;
}

int main(int argc, char **argv)
{
    if (argc != 5 || (strcmp(argv[4], "full") != 0 && strcmp(argv[4], "resumed") != 0)) {
        fputs("usage: handshakes PORT SECONDS THREADS full|resumed\n", stderr);
        return 2;
    }
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    until = now() + atof(argv[2]);
    resumes = strcmp(argv[4], "resumed") == 0;
    signal(SIGPIPE, SIG_IGN);
    unsigned long count = strtoul(argv[3], NULL, 10), done = 0, wrong = 0;
    struct asker *askers = calloc(count, sizeof *askers);
    if (askers == NULL)
        return 1;
    for (unsigned long i = 0; i < count; i++) {
        askers[i].context = make_context();
        if (pthread_create(&askers[i].thread, NULL, run, &askers[i]) != 0)
            return 1;
    }
    for (unsigned long i = 0; i < count; i++) {
        pthread_join(askers[i].thread, NULL);
        done += askers[i].done;
        wrong += askers[i].wrong;
        SSL_SESSION_free(askers[i].ticket);
        SSL_CTX_free(askers[i].context);
    }
    free(askers);
    printf("%lu handshakes, %lu wrong\n", done, wrong);
    return wrong > 0;
}
