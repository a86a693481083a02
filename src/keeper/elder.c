/* elder: the proxies of earlier programs. Invariant: one that is told to finish has ended by the time that
 * control has said a proxy needs at the most, and control is told of each end. */
#include "keeper/keep.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_overdue(struct deadline *deadline)
{
    struct elder *elder = mem_container(deadline, struct elder, overdue);
    log_error("proxy %d of an earlier program has not finished in time; it is killed", (int)elder->pid);
    kill(elder->pid, SIGKILL);
}

static void received(void *arg, const struct message *message)
{
    (void)arg;
    log_error("a proxy of an earlier program sent message %d; it is ignored", message->type);
    if (message->fd >= 0)
        close(message->fd);
}

static void closed(void *arg, const char *why)
{
    struct elder *elder = arg;
    log_debug("the channel to proxy %d is closed: %s", (int)elder->pid, why);
    channel_close(elder->channel);
    elder->channel = NULL;
    elder->channel_fd = -1;
}

struct elder *elder_add(struct keeper *keeper, const struct handover_role *from)
{
    static const struct channel_callbacks callbacks = {received, closed};
    struct elder *elder = mem_zero(1, sizeof *elder);
    *elder = (struct elder){.keeper = keeper,
                            .pid = from->pid,
                            .channel_fd = from->channel,
                            .starts = from->starts,
                            .pair = {from->control_end, from->proxy_end},
                            .generation = from->generation,
                            .finishes = from->finishes};
    if (from->channel >= 0)
        elder->channel = channel_open(keeper->loop, from->channel, &callbacks, elder);
    deadline_init(&elder->overdue, keeper->loop, on_overdue);
    uint64_t now_ms = clock_mono_ms();
    if (from->finishes)
        deadline_set(&elder->overdue, from->finished_ms > now_ms ? from->finished_ms - now_ms : 0);
    LIST_INSERT_HEAD(&keeper->elders, elder, link);
    return elder;
}

static void tell(struct elder *elder, enum message_type type)
{
    if (elder->channel != NULL)
        channel_send(elder->channel, type, NULL, 0, -1);
}

void elders_tell(struct keeper *keeper, enum message_type type)
{
    struct elder *elder;
    LIST_FOREACH (elder, &keeper->elders, link)
        tell(elder, type);
}

void elders_finish(struct keeper *keeper)
{
    struct elder *elder;
    LIST_FOREACH (elder, &keeper->elders, link) {
        if (elder->finishes)
            continue;
        elder->finishes = true;
        tell(elder, MESSAGE_FINISH);
        deadline_set(&elder->overdue, keeper->ready.finish_ms);
    }
}

void elders_introduce(struct keeper *keeper)
{
    const struct elder *elder;
    LIST_FOREACH (elder, &keeper->elders, link) {
        const struct message_finishing finishing = {elder->pid, elder->generation};
        keeper_tell_control(keeper, MESSAGE_FINISHING, &finishing, sizeof finishing, elder->pair.control_end);
    }
}

uint32_t elders_generations(const struct keeper *keeper)
{
    const struct elder *elder;
    uint32_t generations = 0;
    LIST_FOREACH (elder, &keeper->elders, link)
        generations |= 1U << elder->generation;
    return generations;
}

static void release(struct elder *elder)
{
    LIST_REMOVE(elder, link);
    channel_close(elder->channel);
    deadline_clear(&elder->overdue);
    close(elder->pair.control_end);
    close(elder->pair.proxy_end);
    free(elder);
}

static void ended(struct elder *elder, int status)
{
    struct keeper *keeper = elder->keeper;
    const struct message_finishing finished = {elder->pid, elder->generation};
    char how[KEEPER_HOW_MAX];
    keeper_describe(status, how);
    if (status == 0)
        log_info("proxy %d of an earlier program has finished", (int)elder->pid);
    else
        log_error("proxy %d of an earlier program %s", (int)elder->pid, how);
    release(elder);
    keeper_tell_control(keeper, MESSAGE_FINISHED, &finished, sizeof finished, -1);
    if (keeper->stopping)
        keeper_proxy_gone(keeper);
}

bool elders_have(const struct keeper *keeper, pid_t pid)
{
    const struct elder *elder;
    LIST_FOREACH (elder, &keeper->elders, link) {
        if (elder->pid == pid)
            return true;
    }
    return false;
}

void elders_reap(struct keeper *keeper)
{
    struct elder *elder, *next;
    for (elder = LIST_FIRST(&keeper->elders); elder != NULL; elder = next) {
        int status;
        next = LIST_NEXT(elder, link);
        if (waitpid(elder->pid, &status, WNOHANG) == elder->pid)
            ended(elder, status);
    }
}

void elders_kill(struct keeper *keeper)
{
    const struct elder *elder;
    LIST_FOREACH (elder, &keeper->elders, link)
        kill(elder->pid, SIGKILL);
}

void elders_close(struct keeper *keeper)
{
    while (!LIST_EMPTY(&keeper->elders))
        release(LIST_FIRST(&keeper->elders));
}
