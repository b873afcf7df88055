/* SPDX-License-Identifier: MIT */
/* Mutexes and rwlocks: what they keep out, whom they let in. The rank checker is in lock_ranks.c. */
#include "base/lock.h"

#include <pthread.h>
#include <time.h>

#include "tests/harness.h"

#define THREADS 4
#define ROUNDS 20000

static struct mutex mutex = MUTEX_INIT(LOCK_RANK_LEAF);
static struct rwlock rwlock;

/* Plain fields: a lock that lets two in loses counts, and ThreadSanitizer sees it. */
static uint64_t counter, twin;

static void run_threads(unsigned n, void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < n; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i) == 0);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void *count_under_mutex(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        SCOPED_LOCK(&mutex);
        counter++;
    }
    return NULL;
}

TEST(mutex_lets_one_in_at_a_time)
{
    counter = 0;
    run_threads(THREADS, count_under_mutex);
    CHECK_EQUAL(counter, THREADS * ROUNDS);
}

static void *try_to_count(void *unused)
{
    (void)unused;
    for (int done = 0; done < ROUNDS;) {
        if (mutex_try_lock(&mutex)) {
            counter++;
            done++;
            mutex_unlock(&mutex);
        }
    }
    return NULL;
}

TEST(try_lock_lets_one_in_at_a_time)
{
    counter = 0;
    run_threads(2, try_to_count);
    CHECK_EQUAL(counter, 2 * ROUNDS);
}

static void *lock_and_count(void *unused)
{
    (void)unused;
    mutex_lock(&mutex);
    counter++;
    mutex_unlock(&mutex);
    return NULL;
}

TEST(try_lock_fails_while_the_mutex_is_held)
{
    mutex_lock(&mutex);
    CHECK(!mutex_try_lock(&mutex));
    mutex_unlock(&mutex);
    CHECK(mutex_try_lock(&mutex));
    mutex_unlock(&mutex);
}

TEST(sleeper_on_a_mutex_is_woken)
{
    pthread_t threads[3];
    counter = 0;
    mutex_lock(&mutex);
    for (int i = 0; i < 3; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, lock_and_count, NULL) == 0);
    }
    sleep_ms(20); /* all three are past spinning by now, most likely */
    CHECK_EQUAL(counter, 0);
    mutex_unlock(&mutex);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(counter, 3);
}

static void *read_or_write(void *number)
{
    for (int i = 0; i < ROUNDS / 2; i++) {
        if ((i + (int)(uintptr_t)number) % 4) {
            rwlock_read_lock(&rwlock);
            CHECK_EQUAL(counter, twin);
            rwlock_read_unlock(&rwlock);
        } else {
            rwlock_write_lock(&rwlock);
            counter++;
            twin++;
            rwlock_write_unlock(&rwlock);
        }
    }
    return NULL;
}

TEST(rwlock_writer_is_alone)
{
    counter = twin = 0;
    run_threads(THREADS, read_or_write);
    CHECK_EQUAL(counter, THREADS * ROUNDS / 2 / 4);
}

static uint32_t inside, stage; /* atomic */

static void wait_for(const uint32_t *word, uint32_t value)
{
    for (int ms = 0; ms < 5000 && atomic_read_acquire(word) != value; ms++) {
        sleep_ms(1);
    }
    CHECK_EQUAL(atomic_read_acquire(word), value);
}

static void *read_until_all_are_inside(void *unused)
{
    (void)unused;
    rwlock_read_lock(&rwlock);
    atomic_add_acq_rel(&inside, 1);
    wait_for(&inside, 2);
    rwlock_read_unlock(&rwlock);
    return NULL;
}

TEST(readers_are_inside_together)
{
    inside = 0;
    run_threads(2, read_until_all_are_inside);
}

static void *write_once(void *unused)
{
    (void)unused;
    rwlock_write_lock(&rwlock);
    atomic_set_release(&stage, 1);
    sleep_ms(5);
    CHECK_EQUAL(atomic_read_acquire(&stage), 1);
    rwlock_write_unlock(&rwlock);
    return NULL;
}

static void *read_once(void *unused)
{
    (void)unused;
    rwlock_read_lock(&rwlock);
    CHECK_EQUAL(atomic_read_acquire(&stage), 1);
    atomic_set_release(&stage, 2);
    rwlock_read_unlock(&rwlock);
    return NULL;
}

/* A reader is inside, a writer waits: a reader that comes now gets in only after the writer. */
TEST(waiting_writer_goes_before_new_readers)
{
    pthread_t writer, reader;
    atomic_set_release(&stage, 0);
    rwlock_read_lock(&rwlock);
    REQUIRE(pthread_create(&writer, NULL, write_once, NULL) == 0);
    wait_for(&rwlock.writer, 1);
    REQUIRE(pthread_create(&reader, NULL, read_once, NULL) == 0);
    sleep_ms(20);
    CHECK_EQUAL(atomic_read_acquire(&stage), 0);
    rwlock_read_unlock(&rwlock);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    CHECK_EQUAL(atomic_read_acquire(&stage), 2);
}

int main(void)
{
    rwlock_init(&rwlock, LOCK_RANK_LAYOUT);
    RUN(mutex_lets_one_in_at_a_time);
    RUN(try_lock_lets_one_in_at_a_time);
    RUN(try_lock_fails_while_the_mutex_is_held);
    RUN(sleeper_on_a_mutex_is_woken);
    RUN(rwlock_writer_is_alone);
    RUN(readers_are_inside_together);
    RUN(waiting_writer_goes_before_new_readers);
    return harness_finish();
}
