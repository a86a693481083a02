/* A person for each user that was asked for. Invariant: a person is looked up by one job at most, whose
 * thread touches nothing but the job, which outlives it. */
#include "control/names.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/mailbox.h"
#include "io/thread.h"

#include <assert.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#define HOLDS_MS 60000

struct person {
    uid_t uid;
    char name[NAMES_SIZE];
    uint64_t known_ms; /* loop_ms at which it was told; 0: never */
    struct job *job;   /* NULL: it is not looked up */
    UT_hash_handle hh;
};

struct names {
    struct names_options options;
    struct person *persons;
    TAILQ_HEAD(, names_question) questions; /* that wait, oldest first */
};

struct job {
    struct mail mail;
    struct mailbox *mailbox;
    struct names *names; /* NULL: freed; the loop's alone */
    names_look_up *look_up;
    uid_t uid;
    char name[NAMES_SIZE];
};

static void write_number(uid_t uid, char name[NAMES_SIZE])
{
    snprintf(name, NAMES_SIZE, "%u", (unsigned)uid);
}

static bool ask_system(uid_t uid, char name[NAMES_SIZE])
{
    struct passwd entry, *found = NULL;
    char room[4096];
    if (getpwuid_r(uid, &entry, room, sizeof room, &found) != 0 || found == NULL)
        return false;
    snprintf(name, NAMES_SIZE, "%s", found->pw_name);
    return true;
}

/* ---- the thread ---- */

static void *look_up(void *arg)
{
    struct job *job = arg;
    if (!job->look_up(job->uid, job->name))
        write_number(job->uid, job->name);
    mailbox_post(job->mailbox, &job->mail);
    return NULL;
}

static bool start_thread(struct job *job)
{
    int error = job->mailbox == NULL || fault_fails("names.thread", EAGAIN)
                    ? errno
                    : thread_begin(NULL, look_up, job);
    if (error != 0)
        log_warn("the name of user %u is not looked up, since no thread can be started: %s",
                 (unsigned)job->uid, strerror(error));
    return error == 0;
}

/* ---- answers ---- */

static void answer(struct names_question *question, const char *name)
{
    names_cancel(question);
    question->answered(question, name);
}

static void is_late(struct deadline *deadline)
{
    struct names_question *question = mem_container(deadline, struct names_question, late);
    char number[NAMES_SIZE];
    write_number(question->uid, number);
    answer(question, number);
}

static struct person *person_of(struct names *names, uid_t uid)
{
    struct person *person;
    HASH_FIND(hh, names->persons, &uid, sizeof uid, person);
    if (person != NULL)
        return person;
    person = mem_zero(1, sizeof *person);
    person->uid = uid;
    HASH_ADD(hh, names->persons, uid, sizeof person->uid, person);
    return person;
}

/* Who is answered may ask again, so the list is begun anew each time. */
static struct names_question *next_about(const struct names *names, uid_t uid)
{
    struct names_question *question;
    TAILQ_FOREACH (question, &names->questions, entry) {
        if (question->uid == uid)
            return question;
    }
    return NULL;
}

static void end_job(struct job *job)
{
    if (job->mailbox != NULL)
        mailbox_free(job->mailbox);
    free(job);
}

static void told(void *arg, struct mail *mail)
{
    struct job *job = arg;
    struct names *names = job->names;
    struct names_question *question;
    (void)mail;
    if (names == NULL) {
        end_job(job);
        return;
    }
    struct person *person = person_of(names, job->uid);
    memcpy(person->name, job->name, sizeof person->name);
    person->known_ms = loop_ms(names->options.loop);
    person->job = NULL;
    end_job(job);
    while ((question = next_about(names, person->uid)) != NULL)
        answer(question, person->name);
}

/* ---- the outside ---- */

static bool is_known(const struct names *names, const struct person *person)
{
    return person->known_ms != 0 && loop_ms(names->options.loop) - person->known_ms < HOLDS_MS;
}

/* False: nobody will tell. */
static bool find_out(struct names *names, struct person *person)
{
    if (person->job != NULL)
        return true;
    struct job *job = mem_zero(1, sizeof *job);
    job->mailbox = mailbox_try(names->options.loop, told, job);
    job->names = names;
    job->look_up = names->options.look_up;
    job->uid = person->uid;
    if (start_thread(job))
        person->job = job;
    else
        end_job(job);
    return person->job != NULL;
}

void names_ask(struct names *names, uid_t uid, struct names_question *question,
               void (*answered)(struct names_question *question, const char *name))
{
    struct person *person = person_of(names, uid);
    *question = (struct names_question){.names = names, .uid = uid, .answered = answered};
    deadline_init(&question->late, names->options.loop, is_late);
    TAILQ_INSERT_TAIL(&names->questions, question, entry);
    if (is_known(names, person))
        answer(question, person->name);
    else if (find_out(names, person))
        deadline_set(&question->late, names->options.wait_ms);
    else
        is_late(&question->late);
}

void names_cancel(struct names_question *question)
{
    if (question->names == NULL)
        return;
    TAILQ_REMOVE(&question->names->questions, question, entry);
    deadline_clear(&question->late);
    question->names = NULL;
}

struct names *names_new(const struct names_options *options)
{
    struct names *names = mem_zero(1, sizeof *names);
    names->options = *options;
    if (names->options.look_up == NULL)
        names->options.look_up = ask_system;
    TAILQ_INIT(&names->questions);
    return names;
}

void names_free(struct names *names)
{
    struct person *person, *next;
    assert(TAILQ_EMPTY(&names->questions));
    HASH_ITER(hh, names->persons, person, next)
    {
        HASH_DEL(names->persons, person);
        if (person->job != NULL)
            person->job->names = NULL;
        free(person);
    }
    free(names);
}
