#include "link/channel.h"

#include "descriptors.h"
#include "unit.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_MOST 10 /* more than a channel has to spare */

/* What one end of a channel has seen. The loop is stopped when `wanted` messages, or the end, have come. */
struct end {
    struct loop *loop;
    struct channel *channel;
    unsigned received, wanted;
    enum message_type type; /* of the last one */
    char payload[1024];
    size_t size;
    int fd;
    bool keeps; /* all descriptors that come, in `kept` */
    int kept[KEPT_MOST];
    unsigned kept_count;
    unsigned closed;
    char why[600];
    bool close_at_once; /* from inside the callback */
    bool in_call;       /* a channel_ function is running */
};

static void received(void *arg, const struct message *message)
{
    struct end *end = arg;
    assert_false(end->in_call);
    end->received++;
    end->type = message->type;
    end->size = message->size;
    memcpy(end->payload, message->payload, message->size);
    if (end->keeps && message->fd >= 0) {
        end->kept[end->kept_count++] = message->fd;
    } else {
        if (end->fd >= 0)
            close(end->fd);
        end->fd = message->fd;
    }
    if (end->close_at_once) {
        channel_close(end->channel);
        end->channel = NULL;
        assert_int_equal(message->size, end->size); /* still readable */
    }
    if (end->received == end->wanted)
        loop_stop(end->loop);
}

static void closed(void *arg, const char *why)
{
    struct end *end = arg;
    assert_false(end->in_call);
    end->closed++;
    snprintf(end->why, sizeof end->why, "%s", why);
    if (end->close_at_once) {
        channel_close(end->channel);
        end->channel = NULL;
    }
    loop_stop(end->loop);
}

static void end_open(struct end *end, struct loop *loop, int fd)
{
    static const struct channel_callbacks callbacks = {received, closed};
    *end = (struct end){.loop = loop, .fd = -1};
    end->channel = channel_open(loop, fd, &callbacks, end);
}

static void end_close(struct end *end)
{
    channel_close(end->channel);
    if (end->fd >= 0)
        close(end->fd);
    while (end->kept_count > 0)
        close(end->kept[--end->kept_count]);
}

static void run_until(struct end *end, unsigned wanted)
{
    end->wanted = wanted;
    if (end->received < wanted && end->closed == 0)
        loop_run(end->loop);
}

/* A channel on one end, a bare socket on the other. */
struct bench {
    struct loop *loop;
    struct end end;
    int peer; /* -1 once closed */
};

static unsigned descriptors_before;

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    int fds[2];
    struct err err;
    descriptors_before = open_descriptors();
    bench->loop = loop_new();
    assert_true(channel_pair(fds, &err));
    end_open(&bench->end, bench->loop, fds[0]);
    bench->peer = fds[1];
    *state = bench;
    return 0;
}

/* Every test must have closed every descriptor that came or was queued. */
static int bench_close(void **state)
{
    struct bench *bench = *state;
    end_close(&bench->end);
    if (bench->peer >= 0)
        close(bench->peer);
    loop_free(bench->loop);
    free(bench);
    assert_int_equal(open_descriptors(), descriptors_before);
    return 0;
}

static void send_raw(int socket, const void *bytes, size_t size, const int *fds, size_t fd_count)
{
    struct iovec part = {(void *)bytes, size};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.head = (struct cmsghdr){CMSG_LEN(fd_count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, fd_count * sizeof(int));
    }
    assert_int_equal(sendmsg(socket, &header, 0), size);
}

struct wire {
    uint32_t magic, protocol, type, size;
    char payload[2048];
};

#define WIRE_HEAD 16
#define WIRE_MAGIC 0x61777075U

static void send_wire(int socket, uint32_t protocol, uint32_t type, size_t size, const int *fds,
                      size_t fd_count)
{
    struct wire wire = {WIRE_MAGIC, protocol, type, (uint32_t)size, {0}};
    send_raw(socket, &wire, WIRE_HEAD + size, fds, fd_count);
}

static void a_message_arrives_whole_with_its_descriptor(void **state)
{
    struct bench *bench = *state;
    struct end other;
    int pipes[2], back;
    end_open(&other, bench->loop, bench->peer);
    bench->peer = -1;
    assert_int_equal(pipe(pipes), 0);
    struct message_world world = {12, 34, 56};
    channel_send(bench->end.channel, MESSAGE_WORLD, &world, sizeof world, pipes[1]);
    channel_send(bench->end.channel, MESSAGE_STOP, NULL, 0, -1);
    run_until(&other, 1);
    assert_int_equal(other.type, MESSAGE_WORLD);
    assert_int_equal(other.size, sizeof world);
    assert_memory_equal(other.payload, &world, sizeof world);
    assert_true(other.fd >= 0 && other.fd != pipes[1]);
    assert_true((fcntl(other.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(write(other.fd, &pipes[0], sizeof(int)), sizeof(int));
    assert_int_equal(read(pipes[0], &back, sizeof back), sizeof back);
    assert_int_equal(back, pipes[0]);
    run_until(&other, 2);
    assert_int_equal(other.type, MESSAGE_STOP);
    assert_int_equal(other.fd, -1);
    close(pipes[0]);
    close(pipes[1]);
    end_close(&other);
}

#define MANY 3000

/* More than any socket buffer takes; the sender's descriptor may be closed at once. */
static void what_the_kernel_does_not_take_is_queued_and_arrives_in_order(void **state)
{
    struct bench *bench = *state;
    bench->end.in_call = true;
    for (uint32_t i = 0; i < MANY; i++) {
        struct message_listener listener = {i, 0};
        struct message_hello hello = {(int32_t)i, 0, 0};
        if (i % 10 != 0) {
            channel_send(bench->end.channel, MESSAGE_HELLO, &hello, sizeof hello, -1);
            continue;
        }
        int fd = dup(STDERR_FILENO);
        assert_true(fd >= 0);
        channel_send(bench->end.channel, MESSAGE_LISTENER, &listener, sizeof listener, fd);
        close(fd);
    }
    bench->end.in_call = false;
    struct end other;
    end_open(&other, bench->loop, bench->peer);
    bench->peer = -1;
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t number;
        run_until(&other, i + 1);
        memcpy(&number, other.payload, sizeof number);
        assert_int_equal(number, i);
        assert_int_equal(other.type, i % 10 == 0 ? MESSAGE_LISTENER : MESSAGE_HELLO);
        assert_true((other.fd >= 0) == (i % 10 == 0));
    }
    end_close(&other);
}

static uint32_t read_number(int socket)
{
    struct wire wire;
    uint32_t number;
    assert_in_range(recv(socket, &wire, sizeof wire, 0), WIRE_HEAD + sizeof number, sizeof wire);
    memcpy(&number, wire.payload, sizeof number);
    return number;
}

static void a_message_does_not_overtake_those_that_are_queued(void **state)
{
    struct bench *bench = *state;
    for (int32_t i = 0; i < MANY; i++)
        channel_send(bench->end.channel, MESSAGE_HELLO, &(struct message_hello){i, 0, 0},
                     sizeof(struct message_hello), -1);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(read_number(bench->peer), i);
    channel_send(bench->end.channel, MESSAGE_HELLO, &(struct message_hello){MANY, 0, 0},
                 sizeof(struct message_hello), -1);
    for (uint32_t i = 100; i <= MANY; i++) {
        event_base_loop(loop_base(bench->loop), EVLOOP_NONBLOCK);
        assert_int_equal(read_number(bench->peer), i);
    }
}

static void fill(struct end *end, unsigned count)
{
    static const struct message_name name = {"x"};
    for (unsigned i = 0; i < count; i++)
        channel_send(end->channel, MESSAGE_STORE, &name, sizeof name, STDERR_FILENO);
}

static void a_channel_closed_with_a_full_queue_leaks_no_descriptor(void **state)
{
    struct bench *bench = *state;
    fill(&bench->end, 500);
    assert_true(open_descriptors() > descriptors_before + 10); /* duplicates wait in the queue */
}

static void a_flush_gives_up_after_its_time_where_nobody_reads(void **state)
{
    struct bench *bench = *state;
    assert_true(channel_flush(bench->end.channel, 0));
    fill(&bench->end, 500);
    assert_false(channel_flush(bench->end.channel, 1));
}

/* From another process, since the flush blocks this one. */
static void read_all(int socket)
{
    char bytes[2048];
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
    struct pollfd ready = {socket, POLLIN, 0};
    while (poll(&ready, 1, -1) == 1 && recv(socket, bytes, sizeof bytes, 0) > 0)
        continue;
    _exit(0);
}

static void a_flush_sends_all_that_is_queued(void **state)
{
    struct bench *bench = *state;
    fill(&bench->end, 500);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_all(bench->peer);
    assert_true(channel_flush(bench->end.channel, 10000));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void the_end_of_the_other_side_is_told_once_after_its_last_message(void **state)
{
    struct bench *bench = *state;
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
    close(bench->peer);
    bench->peer = -1;
    bench->end.in_call = true; /* to send into it calls nothing back */
    channel_send(bench->end.channel, MESSAGE_STOP, NULL, 0, -1);
    channel_send(bench->end.channel, MESSAGE_STOP, NULL, 0, -1);
    assert_false(channel_flush(bench->end.channel, 10));
    bench->end.in_call = false;
    run_until(&bench->end, 1);
    assert_int_equal(bench->end.type, MESSAGE_RELOAD);
    run_until(&bench->end, 2);
    assert_int_equal(bench->end.received, 1);
    assert_int_equal(bench->end.closed, 1);
    assert_non_null(strstr(bench->end.why, "has closed it"));
    event_base_loop(loop_base(bench->loop), EVLOOP_NONBLOCK);
    assert_int_equal(bench->end.closed, 1);
}

static void a_channel_may_be_closed_from_its_callbacks(void **state)
{
    struct bench *bench = *state;
    bench->end.close_at_once = true;
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
    run_until(&bench->end, 1);
    assert_null(bench->end.channel);
    assert_int_equal(bench->end.received, 1);
}

static void a_channel_may_be_closed_when_it_is_told_the_end(void **state)
{
    struct bench *bench = *state;
    bench->end.close_at_once = true;
    close(bench->peer);
    bench->peer = -1;
    run_until(&bench->end, 1);
    assert_null(bench->end.channel);
    assert_int_equal(bench->end.closed, 1);
}

static void nonsense_closes_the_channel_with_a_sentence_and_leaks_nothing(void **state)
{
    static const struct {
        uint32_t magic, protocol, type, claimed;
        size_t size, fds;
        const char *why;
    } rows[] = {
        {1, 1, MESSAGE_RELOAD, 0, 0, 0, "16 bytes that are no message"},
        {1, 1, MESSAGE_RELOAD, 0, 0, 1, "16 bytes that are no message"},
        {WIRE_MAGIC, 1, MESSAGE_RELOAD, 1, 0, 0, "16 bytes that are no message"},
        {WIRE_MAGIC, 1, 0, 0, 0, 0, "unknown type 0"},
        {WIRE_MAGIC, 1, MESSAGE_TYPES, 0, 0, 1, "of the unknown type"},
        {WIRE_MAGIC, 1, UINT32_MAX, 0, 0, 0, "unknown type"},
        {WIRE_MAGIC, 1, MESSAGE_RELOAD, 8, 8, 0, "\"reload\" of 8 bytes instead of 0"},
        {WIRE_MAGIC, 1, MESSAGE_HELLO, 8, 8, 0, "\"hello\" of 8 bytes instead of 16"},
        {WIRE_MAGIC, 1, MESSAGE_WORLD, 24, 24, 0, "\"world\" without a descriptor"},
        {WIRE_MAGIC, 1, MESSAGE_RELOAD, 0, 0, 1, "\"reload\" with a descriptor"},
        {WIRE_MAGIC, 1, MESSAGE_WORLD, 24, 24, 2, "more than one descriptor"},
        {WIRE_MAGIC, 1, MESSAGE_WORLD, 24, 24, 3, "more than one descriptor"},
        {WIRE_MAGIC, 1, MESSAGE_WORLD, 2000, 2000, 1, "too long"},
        {WIRE_MAGIC, 2, MESSAGE_VERSION, 8, 8, 0, "\"version\" of 8 bytes instead of 4"},
    };
    static const int fds[] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void *inner;
        bench_open(&inner);
        struct bench *bench = inner;
        struct wire wire = {rows[i].magic, rows[i].protocol, rows[i].type, rows[i].claimed, {0}};
        send_raw(bench->peer, &wire, WIRE_HEAD + rows[i].size, fds, rows[i].fds);
        send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
        run_until(&bench->end, 1);
        assert_int_equal(bench->end.received, 0);
        assert_int_equal(bench->end.closed, 1);
        if (strstr(bench->end.why, rows[i].why) == NULL)
            fail_msg("%s is not in: %s", rows[i].why, bench->end.why);
        bench_close(&inner);
    }
}

static void packets_shorter_than_a_head_are_nonsense(void **state)
{
    (void)state;
    for (size_t size = 1; size < WIRE_HEAD; size++) {
        void *inner;
        bench_open(&inner);
        struct bench *bench = inner;
        struct wire wire = {WIRE_MAGIC, 1, MESSAGE_RELOAD, 0, {0}};
        send_raw(bench->peer, &wire, size, NULL, 0);
        run_until(&bench->end, 1);
        assert_int_equal(bench->end.closed, 1);
        assert_non_null(strstr(bench->end.why, "are no message"));
        bench_close(&inner);
    }
}

static void an_empty_packet_with_a_descriptor_leaks_nothing(void **state)
{
    struct bench *bench = *state;
    static const int fd = STDERR_FILENO;
    send_raw(bench->peer, "", 0, &fd, 1);
    run_until(&bench->end, 1);
    assert_int_equal(bench->end.closed, 1);
}

static void a_text_without_an_end_is_nonsense(void **state)
{
    struct bench *bench = *state;
    struct wire wire = {WIRE_MAGIC, 1, MESSAGE_DROP, MESSAGE_NAME_MAX, {0}};
    memset(wire.payload, 'x', MESSAGE_NAME_MAX);
    send_raw(bench->peer, &wire, WIRE_HEAD + MESSAGE_NAME_MAX, NULL, 0);
    run_until(&bench->end, 1);
    assert_non_null(strstr(bench->end.why, "text has no end"));
}

static void another_protocol_is_answered_with_the_version_and_dropped(void **state)
{
    struct bench *bench = *state;
    struct wire answer;
    static const int fd = STDERR_FILENO;
    send_wire(bench->peer, MESSAGE_PROTOCOL + 1, MESSAGE_WORLD, 99, &fd, 1);
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
    run_until(&bench->end, 1);
    assert_int_equal(bench->end.type, MESSAGE_RELOAD);
    assert_int_equal(recv(bench->peer, &answer, sizeof answer, 0), WIRE_HEAD + 4);
    assert_int_equal(answer.protocol, MESSAGE_PROTOCOL);
    assert_int_equal(answer.type, MESSAGE_VERSION);
    uint32_t protocol;
    memcpy(&protocol, answer.payload, sizeof protocol);
    assert_int_equal(protocol, MESSAGE_PROTOCOL);
}

/* Else two versions would answer each other for ever. */
static void the_version_of_another_protocol_is_received_not_answered(void **state)
{
    struct bench *bench = *state;
    char bytes[64];
    send_wire(bench->peer, MESSAGE_PROTOCOL + 1, MESSAGE_VERSION, 4, NULL, 0);
    run_until(&bench->end, 1);
    assert_int_equal(bench->end.type, MESSAGE_VERSION);
    assert_int_equal(recv(bench->peer, bytes, sizeof bytes, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* The keeper holds both ends, so what was sent to a process that died is read by the one after it. */
static void a_successor_takes_up_the_same_end(void **state)
{
    struct bench *bench = *state;
    struct end first, second;
    end_open(&first, bench->loop, dup(bench->peer));
    channel_send(bench->end.channel, MESSAGE_RELOAD, NULL, 0, -1);
    run_until(&first, 1);
    end_close(&first);
    channel_send(bench->end.channel, MESSAGE_REOPEN, NULL, 0, -1);
    assert_int_equal(bench->end.closed, 0);
    end_open(&second, bench->loop, dup(bench->peer));
    run_until(&second, 1);
    assert_int_equal(second.type, MESSAGE_REOPEN);
    end_close(&second);
}

/* ---- without a descriptor to be had ---- */

static struct rlimit limit_before;

/* Only numbers that are in use are left. */
static void use_up_descriptors(void)
{
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    struct rlimit few = limit_before;
    few.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void restore_descriptors(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static void send_listener(struct bench *bench)
{
    static const int fd = STDERR_FILENO;
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_LISTENER, sizeof(struct message_listener), &fd, 1);
}

static void stop_loop(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

/* Longer than the channel waits before it looks again. */
static void let_it_look_again(struct bench *bench)
{
    struct deadline deadline;
    deadline_init(&deadline, bench->loop, stop_loop);
    deadline_set(&deadline, 50);
    bench->end.wanted = 0;
    loop_run(bench->loop);
    deadline_clear(&deadline);
}

static bool is_any_left(void)
{
    int fd = dup(STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void a_descriptor_is_taken_though_none_is_free_again_and_again(void **state)
{
    struct bench *bench = *state;
    use_up_descriptors();
    for (unsigned i = 1; i <= 100; i++) {
        send_listener(bench);
        run_until(&bench->end, i);
        assert_true(bench->end.fd >= 0);
        channel_done_with(bench->end.channel, bench->end.fd);
        bench->end.fd = -1;
        assert_false(is_any_left());
    }
    restore_descriptors();
    assert_int_equal(bench->end.closed, 0);
}

/* As where the callee keeps it. */
static void what_is_freed_is_spare_again_soon(void **state)
{
    struct bench *bench = *state;
    use_up_descriptors();
    send_listener(bench);
    run_until(&bench->end, 1);
    close(bench->end.fd);
    bench->end.fd = -1;
    assert_true(is_any_left());
    while (is_any_left())
        let_it_look_again(bench);
    restore_descriptors();
}

static void what_there_is_no_room_for_waits_in_its_place_and_is_not_lost(void **state)
{
    struct bench *bench = *state;
    bench->end.keeps = true;
    use_up_descriptors();
    for (int i = 0; i < KEPT_MOST; i++)
        send_listener(bench);
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_RELOAD, 0, NULL, 0);
    let_it_look_again(bench);
    assert_in_range(bench->end.received, 1, KEPT_MOST - 1);
    assert_int_equal(bench->end.closed, 0);
    restore_descriptors();
    run_until(&bench->end, KEPT_MOST + 1);
    assert_int_equal(bench->end.type, MESSAGE_RELOAD);
    assert_int_equal(bench->end.kept_count, KEPT_MOST);
}

static void a_channel_that_waits_for_room_may_be_closed(void **state)
{
    struct bench *bench = *state;
    bench->end.keeps = true;
    use_up_descriptors();
    for (int i = 0; i < KEPT_MOST; i++)
        send_listener(bench);
    let_it_look_again(bench);
    restore_descriptors();
}

static void too_many_descriptors_are_nonsense_without_room_too(void **state)
{
    static const int fds[] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    struct bench *bench = *state;
    use_up_descriptors();
    send_wire(bench->peer, MESSAGE_PROTOCOL, MESSAGE_LISTENER, sizeof(struct message_listener), fds, 3);
    run_until(&bench->end, 1);
    restore_descriptors();
    assert_int_equal(bench->end.closed, 1);
    assert_non_null(strstr(bench->end.why, "more than one descriptor"));
}

static void every_type_has_a_name(void **state)
{
    (void)state;
    for (uint32_t type = 1; type < MESSAGE_TYPES; type++)
        assert_string_not_equal(message_type_name(type), "unknown");
    assert_string_equal(message_type_name(0), "unknown");
    assert_string_equal(message_type_name(MESSAGE_TYPES), "unknown");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_arrives_whole_with_its_descriptor),
        TEST(what_the_kernel_does_not_take_is_queued_and_arrives_in_order),
        TEST(a_message_does_not_overtake_those_that_are_queued),
        TEST(a_channel_closed_with_a_full_queue_leaks_no_descriptor),
        TEST(a_flush_gives_up_after_its_time_where_nobody_reads),
        TEST(a_flush_sends_all_that_is_queued),
        TEST(the_end_of_the_other_side_is_told_once_after_its_last_message),
        TEST(a_channel_may_be_closed_from_its_callbacks),
        TEST(a_channel_may_be_closed_when_it_is_told_the_end),
        cmocka_unit_test(nonsense_closes_the_channel_with_a_sentence_and_leaks_nothing),
        cmocka_unit_test(packets_shorter_than_a_head_are_nonsense),
        TEST(an_empty_packet_with_a_descriptor_leaks_nothing),
        TEST(a_text_without_an_end_is_nonsense),
        TEST(another_protocol_is_answered_with_the_version_and_dropped),
        TEST(the_version_of_another_protocol_is_received_not_answered),
        TEST(a_successor_takes_up_the_same_end),
        TEST(a_descriptor_is_taken_though_none_is_free_again_and_again),
        TEST(what_is_freed_is_spare_again_soon),
        TEST(what_there_is_no_room_for_waits_in_its_place_and_is_not_lost),
        TEST(a_channel_that_waits_for_room_may_be_closed),
        TEST(too_many_descriptors_are_nonsense_without_room_too),
        cmocka_unit_test(every_type_has_a_name),
    };
    alarm(60); /* a message that never comes fails the test instead of hanging it */
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
