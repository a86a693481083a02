/* What users are called, by a directory that answers when the test lets it. */
#include "control/names.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAIT_MS 300
#define NAMELESS 99

static struct loop *loop;
static struct names *names;
static sem_t directory; /* an answer of it each */
static int looked_up;   /* atomic */

struct asking {
    struct names_question question;
    char name[NAMES_SIZE]; /* "": not answered */
    unsigned place;        /* in the order of answers */
};
static unsigned answered, wanted;

static bool ask_directory(uid_t uid, char name[NAMES_SIZE])
{
    __atomic_add_fetch(&looked_up, 1, __ATOMIC_SEQ_CST);
    while (sem_wait(&directory) != 0)
        continue;
    snprintf(name, NAMES_SIZE, "user%u", (unsigned)uid);
    return uid != NAMELESS;
}

static void on_name(struct names_question *question, const char *name)
{
    struct asking *asking = mem_container(question, struct asking, question);
    assert_string_equal(asking->name, "");
    snprintf(asking->name, sizeof asking->name, "%s", name);
    asking->place = ++answered;
    if (answered == wanted)
        loop_stop(loop);
}

static void ask(struct asking *asking, uid_t uid)
{
    asking->name[0] = '\0';
    names_ask(names, uid, &asking->question, on_name);
}

static void run_until_answered(unsigned count)
{
    wanted = count;
    if (answered < count)
        loop_run(loop);
    assert_int_equal(answered, count);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    sem_init(&directory, 0, 0);
    looked_up = 0;
    answered = 0;
    names = names_new(&(struct names_options){loop, WAIT_MS, ask_directory});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (names != NULL)
        names_free(names);
    loop_free(loop);
    return 0;
}

static void a_name_is_told_later_and_then_at_once(void **state)
{
    (void)state;
    struct asking first, second;
    ask(&first, 7);
    assert_string_equal(first.name, "");
    sem_post(&directory);
    run_until_answered(1);
    assert_string_equal(first.name, "user7");
    ask(&second, 7);
    assert_string_equal(second.name, "user7");
    assert_int_equal(looked_up, 1);
}

static void all_that_ask_for_one_user_share_a_thread(void **state)
{
    (void)state;
    struct asking three[3], other;
    for (size_t i = 0; i < 3; i++)
        ask(&three[i], 7);
    ask(&other, 8);
    sem_post(&directory);
    sem_post(&directory);
    run_until_answered(4);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(three[i].name, "user7");
    assert_true(three[0].place < three[1].place && three[1].place < three[2].place);
    assert_string_equal(other.name, "user8");
    assert_int_equal(looked_up, 2);
}

static void who_has_no_name_is_told_by_number(void **state)
{
    (void)state;
    struct asking asking;
    ask(&asking, NAMELESS);
    sem_post(&directory);
    run_until_answered(1);
    assert_string_equal(asking.name, "99");
}

static void without_a_descriptor_for_the_answer_it_is_the_number(void **state)
{
    (void)state;
    struct asking asking;
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ask(&asking, 7);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_string_equal(asking.name, "7");
    assert_int_equal(looked_up, 0);
}

/* And the name comes all the same, for those that ask after it. */
static void a_directory_that_does_not_answer_holds_nobody_up(void **state)
{
    (void)state;
    struct asking first, second;
    uint64_t begun_ms = clock_mono_ms();
    ask(&first, 7);
    assert_true(clock_mono_ms() - begun_ms < WAIT_MS); /* the loop goes on */
    run_until_answered(1);
    assert_string_equal(first.name, "7");
    ask(&second, 7);
    sem_post(&directory);
    run_until_answered(2);
    assert_string_equal(second.name, "user7");
    assert_int_equal(looked_up, 1);
}

static void who_does_not_want_to_know_any_more_is_not_told(void **state)
{
    (void)state;
    struct asking first, second;
    ask(&first, 7);
    ask(&second, 7);
    names_cancel(&first.question);
    names_cancel(&first.question);
    sem_post(&directory);
    run_until_answered(1);
    assert_string_equal(first.name, "");
    assert_string_equal(second.name, "user7");
}

static void stop_loop(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void it_may_be_freed_while_a_thread_asks(void **state)
{
    (void)state;
    struct asking asking;
    struct deadline soon;
    ask(&asking, 7);
    names_cancel(&asking.question);
    names_free(names);
    names = NULL;
    sem_post(&directory);
    deadline_init(&soon, loop, stop_loop);
    deadline_set(&soon, 100); /* for its mail to be dropped */
    loop_run(loop);
    assert_int_equal(answered, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_is_told_later_and_then_at_once),
        TEST(all_that_ask_for_one_user_share_a_thread),
        TEST(who_has_no_name_is_told_by_number),
        TEST(without_a_descriptor_for_the_answer_it_is_the_number),
        TEST(a_directory_that_does_not_answer_holds_nobody_up),
        TEST(who_does_not_want_to_know_any_more_is_not_told),
        TEST(it_may_be_freed_while_a_thread_asks),
    };
    alarm(60); /* an answer that never comes fails the test instead of hanging it */
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
