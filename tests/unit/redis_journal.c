/* SPDX-License-Identifier: MIT */
/* Which versions may be seen when: what bench/bgsave.py judges data by. */
#include "bench/redis_journal.h"

#include <unistd.h>

#include "tests/harness.h"

/* Key 1:  v0 until 30      v1 sent 20, answered 30     v2 sent 50, answered 60
 * Key 2:  v0 until 45      v1 sent 40, answered 45 */
static void fill(struct journal *j)
{
    static const struct journal_write writes[] = {{2, 1, 40, 45}, {1, 1, 20, 30}, {1, 2, 50, 60}};
    journal_create(j, 3);
    for (size_t i = 0; i < 3; i++) {
        struct journal_write *w = journal_add(j, writes[i].key, writes[i].version);
        CHECK_EQUAL(w->answered, JOURNAL_NEVER);
        *w = writes[i];
    }
    CHECK(journal_sort(j));
}

static enum journal_answer judge(const struct journal *j, uint32_t key, uint32_t version, uint64_t from,
                                 uint64_t to)
{
    struct moment asked = {from, to}, moment = asked;
    return journal_judge(j, key, version, &asked, &moment);
}

TEST(a_version_is_current_from_its_sending_to_the_next_answer)
{
    struct journal j;
    fill(&j);
    CHECK_EQUAL(judge(&j, 1, 1, 0, 19), JOURNAL_NOT_CURRENT);
    CHECK_EQUAL(judge(&j, 1, 1, 0, 20), JOURNAL_CURRENT);
    CHECK_EQUAL(judge(&j, 1, 1, 60, 99), JOURNAL_CURRENT);
    CHECK_EQUAL(judge(&j, 1, 1, 61, 99), JOURNAL_NOT_CURRENT);
    CHECK_EQUAL(judge(&j, 1, 2, 99, 99), JOURNAL_CURRENT);
    journal_destroy(&j);
}

TEST(a_key_that_is_not_written_keeps_its_first_version)
{
    struct journal j;
    fill(&j);
    CHECK_EQUAL(judge(&j, 0, 0, 0, 99), JOURNAL_CURRENT);
    CHECK_EQUAL(judge(&j, 0, 1, 0, 99), JOURNAL_NEVER_WRITTEN);
    CHECK_EQUAL(judge(&j, 1, 0, 31, 99), JOURNAL_NOT_CURRENT);
    journal_destroy(&j);
}

TEST(a_version_that_was_never_written_is_found)
{
    struct journal j;
    fill(&j);
    CHECK_EQUAL(judge(&j, 1, 3, 0, 99), JOURNAL_NEVER_WRITTEN);
    journal_destroy(&j);
}

TEST(values_of_one_moment_leave_a_moment)
{
    struct journal j;
    struct moment asked = {0, 99}, moment = asked;
    fill(&j);
    CHECK_EQUAL(journal_judge(&j, 1, 1, &asked, &moment), JOURNAL_CURRENT);
    CHECK_EQUAL(journal_judge(&j, 2, 1, &asked, &moment), JOURNAL_CURRENT);
    CHECK_EQUAL(moment.from, 40);
    CHECK_EQUAL(moment.to, 60);
    journal_destroy(&j);
}

/* Each was current at some time, but not both at one. */
TEST(values_of_two_moments_leave_none)
{
    struct journal j;
    struct moment asked = {0, 99}, moment = asked;
    fill(&j);
    CHECK_EQUAL(journal_judge(&j, 1, 2, &asked, &moment), JOURNAL_CURRENT);
    CHECK_EQUAL(journal_judge(&j, 2, 0, &asked, &moment), JOURNAL_CURRENT);
    CHECK(moment.from > moment.to);
    journal_destroy(&j);
}

TEST(a_version_that_is_left_out_is_found)
{
    struct journal j;
    journal_create(&j, 3);
    journal_add(&j, 1, 2);
    CHECK(!journal_sort(&j));
    journal_destroy(&j);
}

TEST(a_key_that_is_too_large_is_found)
{
    struct journal j;
    journal_create(&j, 3);
    journal_add(&j, 3, 1);
    CHECK(!journal_sort(&j));
    journal_destroy(&j);
}

TEST(it_is_the_same_after_the_file)
{
    struct journal j, again;
    char path[] = "/tmp/uzswap-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    fill(&j);
    j.save = (struct moment){10, 20};
    j.end = (struct moment){98, 99};
    journal_store(&j, path);
    journal_load(&again, path);
    CHECK_EQUAL(again.keys, 3);
    CHECK_EQUAL(again.count, 3);
    CHECK_EQUAL(again.save.to, 20);
    CHECK_EQUAL(again.end.from, 98);
    CHECK_EQUAL(judge(&again, 1, 1, 61, 99), JOURNAL_NOT_CURRENT);
    CHECK_EQUAL(judge(&again, 1, 1, 60, 99), JOURNAL_CURRENT);
    close(fd);
    unlink(path);
    journal_destroy(&j);
    journal_destroy(&again);
}

int main(void)
{
    RUN(a_version_is_current_from_its_sending_to_the_next_answer);
    RUN(a_key_that_is_not_written_keeps_its_first_version);
    RUN(a_version_that_was_never_written_is_found);
    RUN(values_of_one_moment_leave_a_moment);
    RUN(values_of_two_moments_leave_none);
    RUN(a_version_that_is_left_out_is_found);
    RUN(a_key_that_is_too_large_is_found);
    RUN(it_is_the_same_after_the_file);
    return harness_finish();
}
