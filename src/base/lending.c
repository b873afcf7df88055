/* SPDX-License-Identifier: MIT */
/* All words are figures: relaxed order is enough, but for where who lives is looked at, which has an order of its own. */
#include "base/lending.h"

static bool lender_lives(const struct session *s, const struct session_process *p,
                         bool (*lives)(const struct session *, uint32_t))
{
    uint32_t lender = atomic_read_relaxed(&p->lender);
    return lender &&
           atomic_read_acquire(&s->members.members[lender - 1].generation) ==
               atomic_read_relaxed(&p->lender_generation) &&
           lives(s, lender - 1);
}

void lending_join(struct lending *l, struct session *session, uint32_t place, uint32_t lender,
                  uint32_t lender_generation)
{
    struct session_process *self = &session->processes[place];
    l->session = session;
    l->place = place;
    l->generation = atomic_read_relaxed(&session->members.members[place].generation);
    l->account = &self->account;
    atomic_set_relaxed(&self->lender_generation, lender_generation);
    atomic_set_relaxed(&self->lender, lender);
}

void lending_end(struct lending *l, size_t bytes, size_t borrowed)
{
    account_end_credit(l->account, borrowed);
    if (atomic_read_relaxed(&l->lends)) {
        account_add_debt(l->account, bytes);
    }
}

static struct account *lender_of(const struct lending *l)
{
    if (!l->session) {
        return NULL;
    }
    const struct session_process *self = &l->session->processes[l->place];
    return lender_lives(l->session, self, l->lives) ? &l->session->processes[self->lender - 1].account : NULL;
}

void lending_settle(struct lending *l, size_t bytes)
{
    size_t settled = account_end_credit(l->account, bytes);
    struct account *lender = settled ? lender_of(l) : NULL;
    if (lender) {
        account_end_debt(lender, settled);
    }
}

int64_t lending_owed(const struct lending *l)
{
    const struct account *lender = atomic_read_relaxed(&l->account->credit) > 0 ? lender_of(l) : NULL;
    int64_t debt = lender ? atomic_read_relaxed(&lender->debt) : 0;
    return debt > 0 ? debt : 0;
}

/* Of all who borrow from this process. It only becomes less, but by a fork of this thread's. */
static int64_t credit_given(const struct lending *l)
{
    uint32_t places = atomic_read_relaxed(&l->session->places);
    int64_t sum = 0;
    for (uint32_t i = 0; i < places; i++) {
        const struct session_process *p = &l->session->processes[i];
        int64_t credit = atomic_read_relaxed(&p->account.credit);
        if (credit > 0 && atomic_read_relaxed(&p->lender) == l->place + 1 &&
            atomic_read_relaxed(&p->lender_generation) == l->generation && l->lives(l->session, i)) {
            sum += credit;
        }
    }
    return sum;
}

/* What is entered meanwhile stays: the debt was read before. */
static void limit_debt(struct lending *l)
{
    int64_t debt = atomic_read_relaxed(&l->account->debt), credit = credit_given(l);
    if (debt > credit) {
        account_end_debt(l->account, (size_t)(debt - credit));
    }
    if (!credit) {
        atomic_set_relaxed(&l->lends, 0);
        account_end_debt(l->account, SIZE_MAX / 2);
    }
}

void lending_update(struct lending *l)
{
    if (atomic_read_relaxed(&l->account->credit) > 0 &&
        !lender_lives(l->session, &l->session->processes[l->place], l->lives)) {
        account_end_credit(l->account, SIZE_MAX / 2);
    }
    /* Debt may have been entered by a thread that saw the lending just before its end. */
    if (atomic_read_relaxed(&l->lends) || atomic_read_relaxed(&l->account->debt) > 0) {
        limit_debt(l);
    }
}

int64_t lending_borrowed(const struct session *s, const struct session_process *p,
                         bool (*lives)(const struct session *, uint32_t))
{
    int64_t credit = atomic_read_relaxed(&p->account.credit);
    return credit > 0 && lender_lives(s, p, lives) ? credit : 0;
}

size_t lending_used(const struct session *s, const struct session_process *p,
                    bool (*lives)(const struct session *, uint32_t))
{
    int64_t credit = atomic_read_relaxed(&p->account.credit);
    size_t used = account_total(&p->account);
    return credit > 0 && !lender_lives(s, p, lives) ? used + (size_t)credit : used;
}
