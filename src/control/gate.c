/* Runs the matrix: a row an instance, a cell an uptest. A row has one child at a time; when it ends, the next
 * cell of the row begins, and after the last one the next row that waits. A gate that is given up lives on
 * until its last child is gone. */
#include "control/gate.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/mem.h"
#include "control/gate_cell.h"
#include "control/program.h"
#include "control/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Far above what an uptest needs, and below what would hurt the machine. Threads of the same user's app count
 * as processes. */
#define PROCESSES_MAX 4096
#define FILE_MAX ((uint64_t)4 * 1024 * 1024 * 1024)

/* One instance. */
struct row {
    struct gate *gate;
    char *instance; /* HOST:PORT */
    struct address address;
    char port[sizeof "65535"];
    struct gate_cell *cells;
    size_t next;                     /* of the cells: the one to begin next */
    struct environment *environment; /* while the row runs */
    struct child *child;             /* of the cell before `next`; NULL: none */
};

struct gate {
    struct loop *loop;
    uint64_t timeout_ms, total_timeout_ms, parallel; /* of uptests */
    struct gate_callbacks callbacks;
    void *arg;
    struct suite suite;
    char **files;           /* paths of the uptests */
    struct program program; /* its command is the runner; its environment what all rows share */
    char *vhost;
    struct gate_cell *cells;
    struct row *rows;
    size_t row_count, next_row; /* next_row: the one to begin next */
    uint64_t running;           /* rows that have a child */
    struct deadline total;
    bool expired;  /* the total_timeout is over */
    bool given_up; /* nothing else begins */
    char *cut;     /* NULL until either; then the words for that */
    char *fault;   /* why nothing could be run; NULL: it can */
    bool is_over;
    bool abandoned;
    struct loop_deferred deferred;
};

/* ---- getting ready ---- */

static char *file_path(const struct gate *gate, size_t uptest)
{
    const char *directory = gate->suite.directory;
    bool slash = directory[strlen(directory) - 1] == '/';
    return mem_printf("%s%s%s", directory, slash ? "" : "/", gate->suite.names[uptest]);
}

/* The directory of an uptest is that of the suite, which was listed. */
static bool prepare_program(struct gate *gate, const struct gate_plan *plan, struct err *err)
{
    const struct config_uptests *uptests = plan->uptests;
    const struct program_plan program = {.section = "uptests",
                                         .user = uptests->user,
                                         .directory =
                                             uptests->chdir != NULL ? uptests->chdir : uptests->directory,
                                         .env_file = uptests->env_file,
                                         .environment = &uptests->environment,
                                         .command = &uptests->runner,
                                         .release = plan->release};
    if (!program_prepare(&gate->program, &program, err))
        return false;
    struct environment *environment = gate->program.environment;
    environment_set(environment, "UPTEST_SERVICE", plan->service);
    environment_set(environment, "UPTEST_RELEASE", plan->release);
    environment_set(environment, "UPTEST_DEPLOYMENT", plan->deployment);
    return true;
}

static void prepare_row(struct gate *gate, struct row *row)
{
    for (size_t i = 0; i < gate->suite.count; i++) {
        struct gate_cell *cell = &row->cells[i];
        *cell = (struct gate_cell){.instance = row->instance,
                                   .uptest = gate->suite.names[i],
                                   .state = GATE_WAITING,
                                   .exit_status = -1,
                                   .argv = mem_zero(gate->program.command_count + 4, sizeof(char *))};
        memcpy(cell->argv, gate->program.command, gate->program.command_count * sizeof(char *));
        cell->argv[gate->program.command_count] = gate->files[i];
        cell->argv[gate->program.command_count + 1] = row->address.host;
        cell->argv[gate->program.command_count + 2] = row->port;
    }
}

static bool prepare_matrix(struct gate *gate, const struct gate_plan *plan, struct err *err)
{
    size_t width = gate->suite.count;
    gate->files = mem_zero(width, sizeof *gate->files);
    for (size_t i = 0; i < width; i++)
        gate->files[i] = file_path(gate, i);
    gate->cells = mem_zero(plan->instance_count * width, sizeof *gate->cells);
    gate->rows = mem_zero(plan->instance_count, sizeof *gate->rows);
    for (size_t i = 0; i < plan->instance_count; i++) {
        struct row *row = &gate->rows[i];
        if (!address_parse_instance(str_of(plan->instances[i]), &row->address, err))
            return false;
        *row = (struct row){.gate = gate,
                            .instance = mem_dup(plan->instances[i]),
                            .address = row->address,
                            .cells = gate->cells + i * width};
        snprintf(row->port, sizeof row->port, "%u", row->address.port);
        prepare_row(gate, row);
        gate->row_count++;
    }
    return plan->instance_count > 0 || err_set(err, "there are no instances to test");
}

static bool prepare(struct gate *gate, const struct gate_plan *plan, bool required, struct err *err)
{
    gate->vhost = mem_dup(plan->vhost);
    switch (suite_list(plan->uptests, plan->release, &gate->suite, err)) {
    case SUITE_FAULT:
        return false;
    case SUITE_ABSENT:
        return !required;
    case SUITE_FOUND:
        break;
    }
    return prepare_program(gate, plan, err) && prepare_matrix(gate, plan, err);
}

/* ---- the end ---- */

static void destroy(struct gate *gate)
{
    for (size_t i = 0; i < gate->row_count * gate->suite.count; i++) {
        gate_cell_clear(&gate->cells[i]);
        free(gate->cells[i].argv);
    }
    for (size_t i = 0; i < gate->row_count; i++) {
        environment_free(gate->rows[i].environment);
        free(gate->rows[i].instance);
    }
    for (size_t i = 0; gate->files != NULL && i < gate->suite.count; i++)
        free(gate->files[i]);
    program_free(&gate->program);
    suite_free(&gate->suite);
    free(gate->files);
    free(gate->rows);
    free(gate->cells);
    free(gate->vhost);
    free(gate->cut);
    free(gate->fault);
    free(gate);
}

/* The first failed cell in the order of the matrix, and how many failed besides; NULL: none failed. */
static char *verdict(const struct gate *gate)
{
    const struct gate_cell *first = NULL;
    size_t failed = 0, count = gate_cell_count(gate);
    for (size_t i = 0; i < count; i++) {
        if (gate->cells[i].state == GATE_PASSED)
            continue;
        if (failed++ == 0)
            first = &gate->cells[i];
    }
    if (first == NULL)
        return NULL;
    char *sentence = gate_cell_sentence(first);
    if (failed == 1)
        return sentence;
    char *reason = mem_printf("%s; and %zu more of %zu failed", sentence, failed - 1, count);
    free(sentence);
    return reason;
}

/* Tells of the end. The gate may be freed by that. */
static void finish(struct gate *gate)
{
    deadline_clear(&gate->total);
    gate->is_over = true;
    char *reason = gate->fault != NULL ? mem_dup(gate->fault) : verdict(gate);
    gate->callbacks.done(gate->arg, reason == NULL, reason != NULL ? reason : "");
    free(reason);
}

/* ---- the run ---- */

static void child_done(void *arg, const struct child_result *result);

/* Is there anything to be executed? A runner would take a file that is none. */
static bool check_file(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return err_set(err, "%s cannot be run: %s", path,
                       errno == ENOENT
                           ? "it has vanished since the suite was listed, or its link leads nowhere"
                           : strerror(errno));
    if (!S_ISREG(status.st_mode))
        return err_set(err, "%s cannot be run: it is not a regular file", path);
    if ((status.st_mode & 0111) == 0)
        return err_set(err, "%s is not executable: chmod +x it, or move it out of the suite", path);
    return true;
}

static bool start_child(struct row *row, const struct gate_cell *cell, struct err *err)
{
    struct gate *gate = row->gate;
    struct child_spec spec = program_spec(&gate->program, gate->timeout_ms);
    spec.argv = (const char *const *)cell->argv;
    spec.envp = environment_list(row->environment);
    spec.output_max = GATE_OUTPUT_KEPT;
    spec.output_limit = GATE_OUTPUT_LIMIT;
    spec.contained = true;
    spec.processes_max = PROCESSES_MAX;
    spec.file_max = FILE_MAX;
    if (!check_file(cell->argv[gate->program.command_count], err))
        return false;
    row->child = child_start(gate->loop, &spec, child_done, row, err);
    return row->child != NULL;
}

/* Begins cells of the row until one runs. False: the row is over, or the gate was given up. */
static bool advance(struct row *row)
{
    struct gate *gate = row->gate;
    while (row->next < gate->suite.count && !gate->given_up) {
        struct gate_cell *cell = &row->cells[row->next++];
        struct err err;
        if (gate->expired) {
            cell->timed_out = true;
            gate_cell_fail(cell, "was not run", gate->cut);
        } else {
            cell->state = GATE_RUNNING;
            gate->callbacks.started(gate->arg, cell);
            if (gate->abandoned)
                return false;
            if (start_child(row, cell, &err))
                return true;
            gate_cell_fail(cell, "could not be started", err.text);
        }
        gate->callbacks.finished(gate->arg, cell);
        if (gate->abandoned)
            return false;
    }
    environment_free(row->environment);
    row->environment = NULL;
    return false;
}

static void open_row(struct row *row)
{
    struct gate *gate = row->gate;
    row->environment = environment_copy(gate->program.environment);
    environment_set(row->environment, "UPTEST_HOST", row->address.host);
    environment_set(row->environment, "UPTEST_PORT", row->port);
    bool is_unix = row->address.kind == ADDRESS_UNIX;
    if (is_unix)
        environment_set(row->environment, "UPTEST_SOCKET", address_path(&row->address));
    const char *own = is_unix ? "localhost" : row->instance;
    environment_set(row->environment, "UPTEST_VHOST", gate->vhost[0] != '\0' ? gate->vhost : own);
}

/* Begins rows while there is room for one. The gate may be freed by its end. */
static void fill(struct gate *gate)
{
    while (gate->running < gate->parallel && gate->next_row < gate->row_count && !gate->given_up) {
        struct row *row = &gate->rows[gate->next_row++];
        open_row(row);
        if (advance(row))
            gate->running++;
        if (gate->abandoned)
            return;
    }
    if (gate->running == 0)
        finish(gate);
}

static void run_destroy(struct loop_deferred *deferred)
{
    destroy(mem_container(deferred, struct gate, deferred));
}

static void destroy_when_quiet(struct gate *gate)
{
    if (gate->running > 0)
        return;
    gate->deferred.run = run_destroy;
    loop_defer(gate->loop, &gate->deferred);
}

static void child_done(void *arg, const struct child_result *result)
{
    struct row *row = arg;
    struct gate *gate = row->gate;
    struct gate_cell *cell = &row->cells[row->next - 1];
    row->child = NULL;
    gate->running--;
    if (gate->abandoned) {
        destroy_when_quiet(gate);
        return;
    }
    gate_cell_settle(cell, result, gate->cut);
    cell->timed_out |= gate->expired;
    gate->callbacks.finished(gate->arg, cell);
    if (!gate->abandoned && advance(row))
        gate->running++;
    if (!gate->abandoned)
        fill(gate);
}

static void stop_children(struct gate *gate)
{
    for (size_t i = 0; i < gate->next_row; i++) {
        if (gate->rows[i].child != NULL)
            child_stop(gate->rows[i].child);
    }
}

static void total_is_over(struct deadline *deadline)
{
    struct gate *gate = mem_container(deadline, struct gate, total);
    gate->expired = true;
    gate->cut =
        mem_printf("the gate's total_timeout of %g s was over", (double)gate->total_timeout_ms / 1000);
    stop_children(gate);
}

static void begin(struct loop_deferred *deferred)
{
    struct gate *gate = mem_container(deferred, struct gate, deferred);
    gate->deferred.run = NULL;
    if (gate->abandoned) {
        destroy(gate);
        return;
    }
    deadline_set(&gate->total, gate->total_timeout_ms);
    if (gate->fault != NULL)
        finish(gate);
    else
        fill(gate);
}

/* ---- the outside ---- */

bool gate_check_suite(const struct config_uptests *uptests, const char *release, size_t *count,
                      struct err *err)
{
    struct suite suite;
    if (suite_list(uptests, release, &suite, err) != SUITE_FOUND)
        return false;
    *count = suite.count;
    suite_free(&suite);
    return true;
}

const char *gate_vhost(const struct config_service *service)
{
    for (size_t i = 0; i < service->hosts.count; i++) {
        if (service->hosts.items[i][0] != '*')
            return service->hosts.items[i];
    }
    return "";
}

struct gate *gate_start(struct loop *loop, const struct gate_plan *plan, bool required,
                        const struct gate_callbacks *callbacks, void *arg)
{
    struct err err;
    struct gate *gate = mem_zero(1, sizeof *gate);
    gate->loop = loop;
    gate->timeout_ms = plan->uptests->timeout_ms;
    gate->total_timeout_ms = plan->uptests->total_timeout_ms;
    gate->parallel = plan->uptests->parallel;
    gate->callbacks = *callbacks;
    gate->arg = arg;
    deadline_init(&gate->total, loop, total_is_over);
    if (!prepare(gate, plan, required, &err))
        gate->fault = mem_dup(err.text);
    gate->deferred.run = begin;
    loop_defer(loop, &gate->deferred);
    return gate;
}

size_t gate_cell_count(const struct gate *gate)
{
    return gate->row_count * gate->suite.count;
}

const struct gate_cell *gate_cell_at(const struct gate *gate, size_t index)
{
    return &gate->cells[index];
}

bool gate_is_over(const struct gate *gate)
{
    return gate->is_over;
}

void gate_give_up(struct gate *gate, const char *words, const struct gate_callbacks *callbacks, void *arg)
{
    gate->callbacks = *callbacks;
    gate->arg = arg;
    gate->given_up = true;
    if (gate->cut == NULL)
        gate->cut = mem_dup(words);
    deadline_clear(&gate->total);
    stop_children(gate);
}

void gate_free(struct gate *gate)
{
    if (gate == NULL)
        return;
    gate->abandoned = true;
    deadline_clear(&gate->total);
    stop_children(gate);
    if (gate->deferred.run == NULL)
        destroy_when_quiet(gate);
}
