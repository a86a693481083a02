#include "io/mailbox.h"

#include "base/mem.h"
#include "io/with_loop.h"
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, LETTERS = 5000 };

struct letter {
    struct mail mail;
    unsigned thread, number;
};

static struct mailbox *mailbox;
static unsigned delivered, next_number[THREADS];

static void count_letter(void *arg, struct mail *mail)
{
    (void)arg;
    struct letter *letter = mem_container(mail, struct letter, mail);
    assert_int_equal(letter->number, next_number[letter->thread]);
    next_number[letter->thread]++;
    free(letter);
    if (++delivered == THREADS * LETTERS)
        loop_stop(loop);
}

static void *post_letters(void *arg)
{
    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *letter = mem_zero(1, sizeof *letter);
        letter->thread = (unsigned)(uintptr_t)arg;
        letter->number = i;
        mailbox_post(mailbox, &letter->mail);
    }
    return NULL;
}

static void mail_of_many_threads_arrives_whole_and_in_each_one_s_order(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    mailbox = mailbox_new(loop, count_letter, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, post_letters, (void *)i);
    loop_run(loop);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(next_number[i], LETTERS);
    }
    mailbox_free(mailbox);
}

static unsigned round_trips;

/* Posts the next from inside the delivery of the last: the list was empty then, so the loop must be woken. */
static void post_again(void *arg, struct mail *mail)
{
    (void)arg;
    if (++round_trips < 100)
        mailbox_post(mailbox, mail);
    else
        loop_stop(loop);
}

static void mail_posted_while_mail_is_delivered_wakes_the_loop(void **state)
{
    (void)state;
    struct mail mail;
    mailbox = mailbox_new(loop, post_again, NULL);
    mailbox_post(mailbox, &mail);
    loop_run(loop);
    mailbox_free(mailbox);
    assert_int_equal(round_trips, 100);
}

static unsigned arrived;

static void free_at_the_first(void *arg, struct mail *mail)
{
    (void)arg;
    (void)mail;
    if (++arrived == 1) {
        mailbox_free(mailbox);
        loop_stop(loop);
    }
}

static void freeing_delivers_what_waits_even_from_inside_a_delivery(void **state)
{
    (void)state;
    struct mail mails[5];
    mailbox = mailbox_new(loop, free_at_the_first, NULL);
    for (size_t i = 0; i < 5; i++)
        mailbox_post(mailbox, &mails[i]);
    loop_run(loop);
    assert_int_equal(arrived, 5);

    mailbox = mailbox_new(loop, free_at_the_first, NULL);
    mailbox_post(mailbox, &mails[0]);
    mailbox_free(mailbox); /* the loop has not turned since */
    assert_int_equal(arrived, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_of_many_threads_arrives_whole_and_in_each_one_s_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mail_posted_while_mail_is_delivered_wakes_the_loop, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(freeing_delivers_what_waits_even_from_inside_a_delivery, set_up,
                                        tear_down),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
