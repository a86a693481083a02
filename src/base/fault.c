/* Counts passings and strikes where the plan says so. Invariant: counts are in memory that forked children
 * share, so that between fork and exec a point is the same one in every child; nothing here allocates.
 */
#include "base/fault.h"

#ifdef FAULT_POINTS

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLAN_VARIABLE "UPSWAP_FAULTS"
#define LIFE_VARIABLE "UPSWAP_FAULT_LIFE_" /* and the role */
#define NAME_MAX_SIZE 96
#define POINTS_MAX 2048

struct point {
    char name[NAME_MAX_SIZE]; /* "": the rest of the table is free */
    unsigned passings;
};

static struct faults {
    pid_t owner;
    atomic_int holder; /* of a spin lock, its pid; 0: nobody. Whoever holds it does nothing that waits */
    struct point points[POINTS_MAX];
    char left[4096]; /* what a forked child, whose stderr is another, had to say; the owner says it */
} * faults;

static char role_and_life[32];
static const char *plan; /* NULL: none, all this is idle */

static unsigned life_of(const char *variable)
{
    const char *text = getenv(variable);
    return text == NULL ? 0 : (unsigned)atoi(text);
}

void fault_birth(const char *role)
{
    char variable[64], life[16];
    snprintf(variable, sizeof variable, LIFE_VARIABLE "%s", role);
    snprintf(life, sizeof life, "%u", life_of(variable) + 1);
    setenv(variable, life, 1);
}

void fault_role(const char *role)
{
    char variable[64];
    plan = getenv(PLAN_VARIABLE);
    if (plan == NULL)
        return;
    snprintf(variable, sizeof variable, LIFE_VARIABLE "%s", role);
    snprintf(role_and_life, sizeof role_and_life, "%s.%u", role, life_of(variable));
    faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (faults == MAP_FAILED)
        abort();
    faults->owner = getpid();
}

/* A child that was killed between fork and exec may have taken it along. */
static bool is_dead(pid_t pid)
{
    return pid != 0 && pid != getpid() && kill(pid, 0) != 0 && errno == ESRCH;
}

static void lock(void)
{
    int holder = 0;
    while (!atomic_compare_exchange_weak(&faults->holder, &holder, getpid())) {
        if (!is_dead(holder))
            holder = 0;
    }
}

static void unlock(void)
{
    atomic_store(&faults->holder, 0);
}

/* How often it has been passed, with this time. */
static unsigned count(const char *name)
{
    struct point *point = faults->points;
    lock();
    while (point->name[0] != '\0' && strcmp(point->name, name) != 0) {
        if (++point == faults->points + POINTS_MAX)
            abort();
    }
    snprintf(point->name, sizeof point->name, "%s", name);
    unsigned passings = ++point->passings;
    unlock();
    return passings;
}

static bool has_word(const char *word)
{
    size_t n = strlen(word);
    for (const char *at = plan; (at = strstr(at, word)) != NULL; at += n) {
        if ((at == plan || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
            return true;
    }
    return false;
}

static void put(const char *text)
{
    if (text[0] != '\0' && write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

static void say(const char *what, const char *word)
{
    char line[256];
    snprintf(line, sizeof line, "fault: %s %s\n", what, word);
    lock();
    size_t n = strlen(faults->left);
    if (getpid() == faults->owner) {
        put(faults->left);
        put(line);
        faults->left[0] = '\0';
    } else {
        snprintf(faults->left + n, sizeof faults->left - n, "%s", line);
    }
    unlock();
}

/* Counts a passing; does it strike? */
static bool pass(const char *point, const char *detail)
{
    char name[NAME_MAX_SIZE], word[sizeof role_and_life + NAME_MAX_SIZE + 16];
    int error = errno;
    if (plan == NULL)
        return false;
    snprintf(name, sizeof name, "%s%s%s", point, detail == NULL ? "" : ".", detail == NULL ? "" : detail);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == ' ')
            *c = '-';
    }
    snprintf(word, sizeof word, "%s/%s:%u", role_and_life, name, count(name));
    bool strikes = has_word(word);
    if (strikes)
        say("strikes", word);
    else if (has_word("log"))
        say("passes", word);
    else if (faults->left[0] != '\0')
        say("goes on at", word);
    errno = error;
    return strikes;
}

/* raise() is tgkill to itself, which the confined proxy may call; kill() is what its filter kills for. */
void fault_die(const char *point, const char *detail)
{
    if (pass(point, detail))
        raise(SIGKILL);
}

bool fault_fails(const char *point, int error)
{
    bool fails = pass(point, NULL);
    if (fails)
        errno = error;
    return fails;
}

bool fault_starves(const char *function)
{
    return pass("mem", function);
}

#endif
