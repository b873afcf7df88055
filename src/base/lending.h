/* SPDX-License-Identifier: MIT */
/*
 * Who pays for pages that a fork has left to two processes.
 *
 * A fork copies no page: parent and child map the same ones, and have them in both accounts. The child is the *borrower*
 * of them, and the parent, its *lender*, pays.
 *
 *     use = all kinds - credit + debt
 *
 *   credit   a borrower's: what it still has from its lender
 *   debt     a lender's: what it has copied or dropped since, and a borrower perhaps still has
 *
 *   what happens                                         books
 *   fork                                                 child: credit for all that is shared
 *   one writes a shared page, and thereby copies it      credit - 1 if it borrows, debt + 1 if it lends (lending_end)
 *   one drops a shared page, which the other keeps       the same
 *   a shared page turns out to be nobody else's          credit - 1, the lender's debt - 1 (lending_settle)
 *   the lender dies, or execs                            credit counts no more, for whoever looks, from that moment on
 *   the last borrower dies, or execs                     debt is 0 (lending_update)
 *
 * All that is entered before it happens: a shared page is write-protected, or written by the runtime only.
 *
 * Together they never pay for less than is there. For a page with a holder that has no credit for it: he pays. Else all
 * holders have credit for it, and there is one whose lender is no holder, since lenders do not go round in a circle. That
 * lender is dead, and so the credit does not count; or it has ended the lending of this page after that fork, and
 * its debt has one more. That unit goes only when a holder settles, which pays from then on, or when nobody
 * borrows. Debt need not be more than all credit of those who borrow from this process. What they pay too much, until
 * the last borrower dies: a page that a lender has copied, and of which then one of several borrowers dies; one that both
 * have copied at the same moment, or that a child copied before it could ask.
 */
#ifndef UZSWAP_BASE_LENDING_H
#define UZSWAP_BASE_LENDING_H

#include "base/session.h"

struct lending {
    struct account *account; /* this process's. Changed only while no other thread uses it */
    struct session *session; /* the same, likewise; NULL: no member yet */
    uint32_t place, generation;
    uint32_t lends; /* 1 while anybody may borrow; atomic */
    bool (*lives)(const struct session *session, uint32_t place);
    /* What the kernel says: of the `n` <= 64 pages from `at` on, those that are not there, or another process's, too; one bit
     * each. NULL: it cannot be asked. */
    uint64_t (*shared)(const void *at, unsigned n);
    /* Likewise, those that are there and write-protected by userfaultfd. NULL: it cannot be asked. */
    uint64_t (*write_protected)(const void *at, unsigned n);
};

/* Is there anything to keep books on? Relaxed: it begins at a fork, with all threads at rest. */
static inline bool lending_is_active(const struct lending *l)
{
    return l && (atomic_read_relaxed(&l->lends) || atomic_read_relaxed(&l->account->credit) > 0);
}

static inline uint64_t lending_shared(const struct lending *l, const void *at, unsigned n)
{
    return l->shared ? l->shared(at, n) : ~0ull;
}

/* This process is member `place` of that generation, and `lender` and its generation are of who forked it (place + 1; 0:
 * nobody did). */
void lending_join(struct lending *l, struct session *session, uint32_t place, uint32_t lender,
                  uint32_t lender_generation);

/* Of what is shared, `bytes` are about to be copied, or are dropped. Of them, `borrowed` are from this process's lender, or
 * may be. */
void lending_end(struct lending *l, size_t bytes, size_t borrowed);

/* Of what is borrowed, for certain, `bytes` are this process's alone. */
void lending_settle(struct lending *l, size_t bytes);

/* The debt of this process's lender: it pays for so many bytes that it may not have. 0: there is nothing to settle. */
int64_t lending_owed(const struct lending *l);

/* Looks who has died. In the root thread, now and then. */
void lending_update(struct lending *l);

/* What the process has that another one pays for. */
int64_t lending_borrowed(const struct session *session, const struct session_process *p,
                         bool (*lives)(const struct session *, uint32_t));

/* What the process uses: its account's total, and its credit if the lender is dead. */
size_t lending_used(const struct session *session, const struct session_process *p,
                    bool (*lives)(const struct session *, uint32_t));

#endif
