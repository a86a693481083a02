/* One child process and a pipe from it. Invariant: it ends on its own or is killed after TRIAL_MS, and is
 * waited for; only an exit status of 0 with the greeting as its whole output is a yes. */
#include "keeper/trial.h"

#include "base/fault.h"
#include "base/mem.h"
#include "keeper/handover.h"
#include "keeper/role.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAL_MS 10000
#define SAID_MAX sizeof(struct err) /* bytes that are shown of what it says */

struct trial {
    struct trial_spec spec;
    pid_t pid;
    int output;
    bool late;
    struct deadline overdue;
};

static void on_overdue(struct deadline *deadline)
{
    struct trial *trial = mem_container(deadline, struct trial, overdue);
    trial->late = true;
    kill(trial->pid, SIGKILL);
}

static pid_t run(const struct trial_spec *spec, int output, struct err *err)
{
    const char *argv[] = {"upswapd: check", "--role=check", spec->config_path, NULL};
    struct role_spec role = {.program = spec->program,
                             .argv = argv,
                             .keeper_fd = spec->handover,
                             .peer_fd = spec->counters,
                             .input = spec->config,
                             .output = output};
    return role_start(&role, err);
}

struct trial *trial_start(const struct trial_spec *spec, struct err *err)
{
    int ends[2];
    if (FAULTY("trial.pipe", EMFILE, pipe2(ends, O_CLOEXEC | O_NONBLOCK)) != 0) {
        err_set(err, "no pipe can be had: %s", strerror(errno));
        return NULL;
    }
    pid_t pid = run(spec, ends[1], err);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return NULL;
    }
    struct trial *trial = mem_zero(1, sizeof *trial);
    *trial = (struct trial){.spec = *spec, .pid = pid, .output = ends[0]};
    deadline_init(&trial->overdue, spec->loop, on_overdue);
    deadline_set(&trial->overdue, TRIAL_MS);
    return trial;
}

static void release(struct trial *trial)
{
    deadline_clear(&trial->overdue);
    close(trial->output);
    free(trial);
}

/* The first line of what it has said. */
static void read_line(const struct trial *trial, char line[SAID_MAX])
{
    ssize_t n = read(trial->output, line, SAID_MAX - 1);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
    }
}

static void judge(const struct trial *trial, int status, const char *line, struct err *err)
{
    if (trial->late)
        err_set(err, "it has not said within %d s whether it can take over", TRIAL_MS / 1000);
    else if (WIFSIGNALED(status))
        err_set(err, "it was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (line[0] == '\0')
        err_set(err, "it ended with status %d and did not say that it can take over", WEXITSTATUS(status));
    else
        err_set(err, "%s", line);
}

static const char *greeted(int status, const char *line)
{
    const size_t n = strlen(HANDOVER_GREETING);
    bool yes = WIFEXITED(status) && WEXITSTATUS(status) == 0 && strncmp(line, HANDOVER_GREETING, n) == 0;
    return yes && line[n] != '\0' && strlen(line + n) < MESSAGE_RELEASE_MAX ? line + n : NULL;
}

pid_t trial_pid(const struct trial *trial)
{
    return trial->pid;
}

void trial_reap(struct trial *trial)
{
    char line[SAID_MAX];
    struct err err;
    int status;
    if (waitpid(trial->pid, &status, WNOHANG) != trial->pid)
        return;
    struct trial_spec spec = trial->spec;
    read_line(trial, line);
    judge(trial, status, line, &err);
    const char *version = greeted(status, line);
    release(trial);
    spec.done(spec.arg, version, err.text);
}

void trial_stop(struct trial *trial)
{
    kill(trial->pid, SIGKILL);
    waitpid(trial->pid, NULL, 0);
    release(trial);
}
