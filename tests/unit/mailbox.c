/* SPDX-License-Identifier: MIT */
#include "preload/mailbox.h"

#include "tests/harness.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static uint32_t news; /* there are none */

static uint32_t stop; /* atomic */

static void *serve_until_stopped(void *nothing)
{
    while (!atomic_read_acquire(&stop)) {
        mailbox_serve(10, &news, 0);
    }
    return nothing;
}

static pthread_t start_server(void)
{
    pthread_t server;
    atomic_set_release(&stop, 0);
    REQUIRE(pthread_create(&server, NULL, serve_until_stopped, NULL) == 0);
    return server;
}

static void stop_server(pthread_t server)
{
    atomic_set_release(&stop, 1);
    pthread_join(server, NULL);
}

struct sum {
    uint64_t a, b, result;
    pthread_t runner;
};

static uint64_t calls; /* the server's alone: that is what is tested */

static long add(void *argument)
{
    struct sum *sum = argument;
    sum->result = sum->a + sum->b;
    sum->runner = pthread_self();
    calls++;
    return (long)sum->a;
}

TEST(a_request_runs_in_the_serving_thread_and_comes_back)
{
    pthread_t server = start_server();
    struct sum sum = {.a = 40, .b = 2};
    CHECK_EQUAL(mailbox_call(add, &sum, sizeof sum), 40);
    CHECK_EQUAL(sum.result, 42);
    CHECK(pthread_equal(sum.runner, server));
    stop_server(server);
}

TEST(a_request_that_is_too_long_is_refused)
{
    char much[MAILBOX_ARGUMENT_MAX + 1] = "";
    CHECK_EQUAL(mailbox_call(add, much, sizeof much), -EINVAL);
}

TEST(serving_nothing_ends_with_the_time)
{
    mailbox_serve(1, &news, 0);
    mailbox_serve(0, &news, 0);
}

TEST(the_caller_may_do_something_meanwhile)
{
    struct sum sum = {.a = 1, .b = 2};
    unsigned number = mailbox_post(add, &sum, sizeof sum);
    CHECK_EQUAL(sum.result, 0);
    mailbox_serve(0, &news, 0);
    CHECK_EQUAL(mailbox_wait(number, &sum, sizeof sum), 1);
    CHECK_EQUAL(sum.result, 3);
}

static struct member_table table; /* nobody lives in it */

static void *ask_once(void *result)
{
    struct sum sum = {.a = 40, .b = 2};
    *(long *)result = mailbox_call(add, &sum, sizeof sum);
    return NULL;
}

TEST(where_nobody_serves_any_more_nobody_waits)
{
    const struct membership self = {.table = &table, .index = 3, .generation = 1};
    uint32_t *life = &table.members[self.index].threads[0];
    long result = 0;
    mailbox_set_server(&self);
    CHECK(!mailbox_is_served());
    ask_once(&result);
    CHECK_EQUAL(result, -ENOMEM);

    /* dies while it is asked, or before */
    table.members[self.index].generation = 1;
    atomic_set_release(life, 1);
    CHECK(mailbox_is_served());
    pthread_t asker;
    REQUIRE(pthread_create(&asker, NULL, ask_once, &result) == 0);
    usleep(20 * 1000);
    atomic_set_release(life, 0);
    pthread_join(asker, NULL);
    CHECK_EQUAL(result, -ENOMEM);

    /* what was not answered is not in the way of others */
    mailbox_set_server(NULL);
    mailbox_fork_child();
    pthread_t server = start_server();
    ask_once(&result);
    CHECK_EQUAL(result, 40);
    stop_server(server);
}

static void *ask_often(void *start)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < 300; i++) {
        struct sum sum = {.a = (uintptr_t)start, .b = i};
        wrong += mailbox_call(add, &sum, sizeof sum) != (long)(uintptr_t)start || sum.result != sum.a + i;
    }
    CHECK_EQUAL(wrong, 0);
    return NULL;
}

#define ASKERS (2 * MAILBOX_REQUESTS)

TEST(more_threads_than_slots_all_get_their_own_answers)
{
    pthread_t server = start_server(), askers[ASKERS];
    calls = 0;
    for (uintptr_t i = 0; i < ASKERS; i++) {
        REQUIRE(pthread_create(&askers[i], NULL, ask_often, (void *)(i * 1000)) == 0);
    }
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(askers[i], NULL);
    }
    stop_server(server);
    CHECK_EQUAL(calls, ASKERS * 300);
}

static uint32_t asked_in_handler; /* atomic */

static void ask_in_handler(int number)
{
    struct sum sum = {.a = (uint64_t)number, .b = 1};
    if (mailbox_call(add, &sum, sizeof sum) == number && sum.result == (uint64_t)number + 1) {
        atomic_add_relaxed(&asked_in_handler, 1);
    }
}

TEST(signal_handlers_may_ask_while_their_thread_waits)
{
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
    pthread_t server = start_server();
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    struct sigaction action = {.sa_handler = ask_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    ualarm(1000, 1000);
    while (atomic_read_relaxed(&asked_in_handler) < 50) {
        struct sum sum = {.a = 5, .b = 6};
        CHECK_EQUAL(mailbox_call(add, &sum, sizeof sum), 5);
        CHECK_EQUAL(sum.result, 11);
    }
    ualarm(0, 0);
    signal(SIGALRM, SIG_IGN);
    stop_server(server);
}

TEST(a_forked_child_begins_with_an_empty_mailbox)
{
    struct sum sum = {.a = 1, .b = 2};
    for (int i = 0; i < MAILBOX_REQUESTS; i++) {
        mailbox_post(add, &sum, sizeof sum);
    }
    calls = 0;
    mailbox_fork_child();
    mailbox_serve(0, &news, 0);
    CHECK_EQUAL(calls, 0);
    unsigned number = mailbox_post(add, &sum, sizeof sum); /* there is room */
    mailbox_serve(0, &news, 0);
    CHECK_EQUAL(mailbox_wait(number, &sum, sizeof sum), 1);
}

int main(void)
{
    RUN(a_request_runs_in_the_serving_thread_and_comes_back);
    RUN(a_request_that_is_too_long_is_refused);
    RUN(serving_nothing_ends_with_the_time);
    RUN(the_caller_may_do_something_meanwhile);
    RUN(where_nobody_serves_any_more_nobody_waits);
    RUN(more_threads_than_slots_all_get_their_own_answers);
    RUN(signal_handlers_may_ask_while_their_thread_waits);
    RUN(a_forked_child_begins_with_an_empty_mailbox);
    return harness_finish();
}
