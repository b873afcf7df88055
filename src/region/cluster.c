/* SPDX-License-Identifier: MIT */
#include "region/cluster.h"

#include <stdio.h>

static struct cluster *cluster_at(struct sparse *clusters, uint32_t link)
{
    return (struct cluster *)clusters->slots + (link - 1);
}

void cluster_queue_init(struct cluster_queue *queue)
{
    *queue = (struct cluster_queue){0};
    mutex_init(&queue->lock, LOCK_RANK_LEAF);
}

static void append(struct cluster_queue *queue, struct sparse *clusters, uint32_t link)
{
    mutex_assert_held(&queue->lock);
    cluster_at(clusters, link)->next = 0;
    *(queue->newest ? &cluster_at(clusters, queue->newest)->next : &queue->oldest) = link;
    queue->newest = link;
}

void cluster_queue_add(struct cluster_queue *queue, struct sparse *clusters, uint64_t number)
{
    uint32_t link = (uint32_t)number + 1;
    SCOPED_LOCK(&queue->lock);
    struct cluster *cluster = cluster_at(clusters, link);
    if (cluster->queued) {
        return;
    }
    cluster->queued = 1;
    append(queue, clusters, link);
    queue->length++;
}

static uint32_t take_first(struct cluster_queue *queue, struct sparse *clusters)
{
    mutex_assert_held(&queue->lock);
    uint32_t link = queue->oldest;
    queue->oldest = cluster_at(clusters, link)->next;
    if (!queue->oldest) {
        queue->newest = 0;
    }
    return link;
}

bool cluster_queue_take(struct cluster_queue *queue, struct sparse *clusters, uint64_t *number)
{
    SCOPED_LOCK(&queue->lock);
    for (uint64_t tries = queue->length; queue->oldest; tries--) {
        uint32_t link = take_first(queue, clusters);
        struct cluster *cluster = cluster_at(clusters, link);
        /* Relaxed: a hint. */
        if (tries && atomic_read_relaxed(&cluster->warm)) {
            atomic_set_relaxed(&cluster->warm, 0);
            append(queue, clusters, link);
            continue;
        }
        cluster->queued = 0;
        queue->length--;
        *number = link - 1;
        return true;
    }
    return false;
}

bool cluster_queue_consistent(struct cluster_queue *queue, struct sparse *clusters)
{
    SCOPED_LOCK(&queue->lock);
    uint64_t found = 0, flagged = 0;
    uint32_t last = 0;
    for (uint32_t link = queue->oldest; link && found <= queue->length;
         link = cluster_at(clusters, link)->next) {
        found++;
        last = link;
    }
    for (uint64_t i = 0; (i = sparse_next_committed(clusters, i)) < clusters->slots_total; i++) {
        flagged += cluster_at(clusters, (uint32_t)i + 1)->queued;
    }
    if (found != queue->length || flagged != queue->length || last != queue->newest) {
        fprintf(stderr,
                "region: the resident queue has %llu clusters, counts %llu, %llu are marked as queued\n",
                (unsigned long long)found, (unsigned long long)queue->length, (unsigned long long)flagged);
        return false;
    }
    return true;
}
