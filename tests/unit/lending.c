/* SPDX-License-Identifier: MIT */
/* Simulated processes that fork, write, drop and die: whatever they do, together they pay for what is there. */
#include "base/lending.h"

#include "base/budget.h"
#include "base/inherited.h"
#include "tests/harness.h"

#define MEMBERS 8
#define PAGES 24 /* of each process */
#define FRAMES 4096

static struct session *session;
static struct lending lendings[MEMBERS];
static bool alive[MEMBERS];
static int frames[MEMBERS][PAGES]; /* which frame each has there, 0 = none */
static bool lent[MEMBERS][PAGES], borrowed[MEMBERS][PAGES];
static int next_frame;

static bool lives(const struct session *s, uint32_t place)
{
    (void)s;
    return alive[place];
}

static struct account *account_of(int i)
{
    return &session->processes[i].account;
}

static int64_t pages_used(int i)
{
    return (int64_t)(lending_used(session, &session->processes[i], lives) / PAGE_BYTES);
}

static void begin(void)
{
    REQUIRE(session_create_private(&session) == 0);
    memset(alive, 0, sizeof alive);
    memset(frames, 0, sizeof frames);
    memset(lent, 0, sizeof lent);
    session->places = MEMBERS;
    next_frame = 1;
}

static void end(void)
{
    session_close(session);
}

/* A process starts in place `i`, forked by `parent` unless that is negative; as another generation. */
static void start_one(int i, int parent)
{
    struct member *member = &session->members.members[i];
    memset(&session->processes[i], 0, sizeof session->processes[i]);
    member->generation++;
    lendings[i] = (struct lending){.lives = lives};
    lending_join(&lendings[i], session, (uint32_t)i, parent < 0 ? 0 : (uint32_t)parent + 1,
                 parent < 0 ? 0 : lendings[parent].generation);
    for (int page = 0; page < PAGES; page++) {
        frames[i][page] = parent < 0 ? 0 : frames[parent][page];
        lent[i][page] = borrowed[i][page] = false;
        if (frames[i][page]) {
            lent[i][page] = lent[parent][page] = borrowed[i][page] = true;
            account_charge(account_of(i), ACCOUNT_RESIDENT, PAGE_BYTES);
            account_give_credit(account_of(i), PAGE_BYTES);
        }
    }
    alive[i] = true;
}

static void fork_one(int parent, int child)
{
    atomic_set_relaxed(&lendings[parent].lends, 1);
    start_one(child, parent);
}

static bool is_alone(int i, int page)
{
    for (int j = 0; j < MEMBERS; j++) {
        if (j != i && alive[j] && frames[j][page] == frames[i][page]) {
            return false;
        }
    }
    return true;
}

/* As region/lent.c: the page ends being lent. `asks`: the kernel is asked first. */
static void end_lent(int i, int page, bool asks)
{
    if (lent[i][page] && lending_is_active(&lendings[i])) {
        if (asks && is_alone(i, page)) {
            lending_settle(&lendings[i], borrowed[i][page] ? PAGE_BYTES : 0);
        } else {
            lending_end(&lendings[i], PAGE_BYTES, borrowed[i][page] ? PAGE_BYTES : 0);
        }
    }
    lent[i][page] = borrowed[i][page] = false;
}

static void write_page(int i, int page)
{
    if (!frames[i][page]) {
        account_charge(account_of(i), ACCOUNT_RESIDENT, PAGE_BYTES);
        frames[i][page] = next_frame++;
        return;
    }
    end_lent(i, page, true);
    if (!is_alone(i, page)) {
        frames[i][page] = next_frame++;
    }
}

static void drop_page(int i, int page, bool asks)
{
    if (frames[i][page]) {
        end_lent(i, page, asks);
        account_uncharge(account_of(i), ACCOUNT_RESIDENT, PAGE_BYTES);
        frames[i][page] = 0;
    }
}

static int64_t paid(void)
{
    int64_t sum = 0;
    for (int i = 0; i < MEMBERS; i++) {
        sum += alive[i] ? pages_used(i) : 0;
    }
    return sum;
}

static int64_t there(void)
{
    static bool seen[FRAMES];
    int64_t n = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < MEMBERS; i++) {
        for (int page = 0; page < PAGES; page++) {
            int frame = alive[i] ? frames[i][page] : 0;
            n += frame && !seen[frame];
            seen[frame] = true;
        }
    }
    return n;
}

static void start_family(void)
{
    begin();
    start_one(0, -1);
    for (int page = 0; page < PAGES; page++) {
        write_page(0, page);
    }
    fork_one(0, 1);
}

TEST(what_is_shared_is_paid_for_once)
{
    start_family();
    CHECK_EQUAL(pages_used(0), PAGES);
    CHECK_EQUAL(pages_used(1), 0);
    end();
}

TEST(who_writes_pays_for_the_copy)
{
    start_family();
    write_page(1, 0);
    CHECK_EQUAL(pages_used(1), 1);
    write_page(0, 1);
    CHECK_EQUAL(pages_used(0), PAGES + 1);
    CHECK_EQUAL(paid(), there());
    end();
}

TEST(a_page_that_one_has_copied_is_no_copy_for_the_other)
{
    start_family();
    for (int page = 0; page < PAGES; page++) {
        write_page(page % 2, page);
        write_page(!(page % 2), page);
    }
    CHECK_EQUAL(paid(), 2 * PAGES);
    CHECK_EQUAL(pages_used(0), PAGES);
    CHECK_EQUAL(account_of(0)->debt, 0);
    CHECK_EQUAL(account_of(1)->credit, 0);
    end();
}

TEST(what_the_lender_drops_it_pays_for_until_the_borrower_drops_it)
{
    start_family();
    drop_page(0, 0, true);
    CHECK_EQUAL(paid(), PAGES);
    CHECK_EQUAL(there(), PAGES);
    drop_page(1, 0, true);
    CHECK_EQUAL(paid(), PAGES - 1);
    end();
}

TEST(the_borrower_pays_as_soon_as_its_lender_is_dead)
{
    start_family();
    alive[0] = false;
    CHECK_EQUAL(pages_used(1), PAGES);
    CHECK_EQUAL(account_total(account_of(1)), 0);
    lending_update(&lendings[1]);
    CHECK_EQUAL(account_total(account_of(1)), PAGES * PAGE_BYTES);
    CHECK(!lending_is_active(&lendings[1]));
    end();
}

TEST(a_new_owner_of_the_lenders_place_is_no_lender)
{
    start_family();
    start_one(0, -1);
    CHECK_EQUAL(pages_used(1), PAGES);
    write_page(1, 0);
    CHECK_EQUAL(account_of(0)->debt, 0);
    end();
}

TEST(debt_ends_with_the_last_borrower)
{
    start_family();
    fork_one(0, 2);
    write_page(0, 3);
    alive[1] = false;
    lending_update(&lendings[0]);
    CHECK_EQUAL(pages_used(0), PAGES + 1);
    alive[2] = false;
    lending_update(&lendings[0]);
    CHECK_EQUAL(pages_used(0), PAGES);
    CHECK(!lending_is_active(&lendings[0]));
    end();
}

/* Entered by a thread that had seen the lending go on. */
TEST(late_debt_ends)
{
    start_family();
    alive[1] = false;
    lending_update(&lendings[0]);
    account_add_debt(account_of(0), PAGE_BYTES);
    lending_update(&lendings[0]);
    CHECK_EQUAL(account_of(0)->debt, 0);
    end();
}

TEST(debt_is_no_more_than_what_is_borrowed)
{
    start_family();
    for (int page = 0; page < PAGES; page++) {
        end_lent(0, page, false);
        end_lent(1, page, false);
    }
    write_page(1, 0);
    CHECK_EQUAL(account_of(0)->debt, PAGES * PAGE_BYTES);
    lending_update(&lendings[0]);
    CHECK_EQUAL(account_of(0)->debt, 0);
    CHECK_EQUAL(paid(), 2 * PAGES);
    end();
}

TEST(credit_is_never_less_than_nothing)
{
    start_family();
    lending_end(&lendings[1], PAGE_BYTES, 100 * PAGES * PAGE_BYTES);
    CHECK_EQUAL(account_of(1)->credit, 0);
    CHECK_EQUAL(pages_used(1), PAGES);
    end();
}

TEST(whatever_happens_they_pay_for_what_is_there)
{
    uint64_t seed = 4711;
    for (int round = 0; round < 400; round++) {
        begin();
        start_one(0, -1);
        int64_t most = 0;
        for (int step = 0; step < 300; step++) {
            int i = (int)(harness_random(&seed) % MEMBERS), j = (int)(harness_random(&seed) % MEMBERS);
            int page = (int)(harness_random(&seed) % PAGES);
            unsigned deed = harness_random(&seed) % 32;
            if (!alive[i]) {
                continue;
            }
            if (deed < 2 && !alive[j]) {
                fork_one(i, j);
            } else if (deed == 2) {
                alive[i] = i == 0 && step < 150;
            } else if (deed < 8) {
                drop_page(i, page, deed < 6);
            } else if (deed < 12) {
                lending_update(&lendings[i]);
            } else {
                write_page(i, page);
            }
            CHECK(paid() >= there());
            most = paid() - there() > most ? paid() - there() : most;
        }
        CHECK(most <= MEMBERS * PAGES);
        end();
    }
}

/* ---- inherited.h */

static struct account account;
static struct lending lending;
static struct memory memory = {.account = &account, .lending = &lending};

static size_t credit_after(struct inherited *i, const char *at, size_t bytes)
{
    inherited_end(i, at, bytes);
    return (size_t)account.credit / PAGE_BYTES;
}

TEST(inherited_pages_are_counted_once)
{
    struct inherited i;
    const char *base = (const char *)0x10000000;
    const struct inherited_extent all = {base, 1000 * PAGE_BYTES};
    account = (struct account){0};
    lending = (struct lending){.account = &account};
    CHECK_EQUAL(inherited_init(&i, &memory, base, 1000 * PAGE_BYTES), 0);
    inherited_end(&i, base, PAGE_BYTES); /* nothing is shared */
    inherited_begin(&i, &all, 1);
    account_give_credit(&account, 500 * PAGE_BYTES);
    CHECK_EQUAL(credit_after(&i, base + 100, 8), 499);
    CHECK_EQUAL(credit_after(&i, base, PAGE_BYTES), 499);
    CHECK_EQUAL(credit_after(&i, base + PAGE_BYTES - 1, 2), 498);
    CHECK_EQUAL(credit_after(&i, base + 60 * PAGE_BYTES, 70 * PAGE_BYTES), 428);
    inherited_fresh(&i, base + 900 * PAGE_BYTES, PAGE_BYTES);
    CHECK_EQUAL(credit_after(&i, base + 899 * PAGE_BYTES, 2 * PAGE_BYTES), 427);
    inherited_begin(&i, &all, 1);
    CHECK_EQUAL(credit_after(&i, base, 3 * PAGE_BYTES), 424);
    account_end_credit(&account, SIZE_MAX / 2);
    inherited_destroy(&i);
    CHECK_EQUAL(account.total, 0);
}

static const char *looked_at;
static unsigned looks;

static uint64_t first_is_alone(const void *at, unsigned n)
{
    CHECK_EQUAL(n, 64);
    looks++;
    looked_at = at;
    return ~1ull;
}

TEST(who_settles_looks_only_where_memory_was)
{
    struct inherited i;
    const char *base = (const char *)0x10000000;
    const struct inherited_extent extents[] = {{base + 64 * PAGE_BYTES, PAGE_BYTES},
                                               {base + 300 * PAGE_BYTES, 0},
                                               {base + 640 * PAGE_BYTES, 65 * PAGE_BYTES}};
    account = (struct account){0};
    lending = (struct lending){.account = &account, .shared = first_is_alone};
    CHECK_EQUAL(inherited_init(&i, &memory, base, 1000 * PAGE_BYTES), 0);
    inherited_begin(&i, extents, 3);
    looks = 0;
    inherited_settle(&i); /* who has lent has nothing to settle */
    CHECK_EQUAL(looks, 0);
    inherited_fork_child(&i);
    account_give_credit(&account, 10 * PAGE_BYTES);
    inherited_settle(&i);
    CHECK_EQUAL(account.credit, 7 * PAGE_BYTES);
    CHECK_EQUAL(looks, 3);
    CHECK(looked_at == base + 704 * PAGE_BYTES);
    inherited_begin(&i, NULL, 0);
    inherited_fork_child(&i);
    looks = 0;
    inherited_settle(&i);
    CHECK_EQUAL(looks, 0);
    account_end_credit(&account, SIZE_MAX / 2);
    inherited_destroy(&i);
    CHECK_EQUAL(account.total, 0);
}

int main(void)
{
    RUN(what_is_shared_is_paid_for_once);
    RUN(who_writes_pays_for_the_copy);
    RUN(a_page_that_one_has_copied_is_no_copy_for_the_other);
    RUN(what_the_lender_drops_it_pays_for_until_the_borrower_drops_it);
    RUN(the_borrower_pays_as_soon_as_its_lender_is_dead);
    RUN(a_new_owner_of_the_lenders_place_is_no_lender);
    RUN(debt_ends_with_the_last_borrower);
    RUN(late_debt_ends);
    RUN(debt_is_no_more_than_what_is_borrowed);
    RUN(credit_is_never_less_than_nothing);
    RUN(whatever_happens_they_pay_for_what_is_there);
    RUN(inherited_pages_are_counted_once);
    RUN(who_settles_looks_only_where_memory_was);
    return harness_finish();
}
