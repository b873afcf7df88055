/* SPDX-License-Identifier: MIT */
#include "bench/redis_journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/program.h"

struct head {
    char magic[8];
    uint64_t keys, count;
    struct moment save, end;
};

static const char magic[8] = "journal1";

void journal_create(struct journal *j, uint32_t keys)
{
    *j = (struct journal){.keys = keys};
}

void journal_destroy(struct journal *j)
{
    free(j->writes);
    free(j->first);
}

static void make_room(struct journal *j, size_t count)
{
    if (count <= j->room) {
        return;
    }
    j->room = max_size(2 * j->room, max_size(count, 1024));
    j->writes = realloc(j->writes, j->room * sizeof j->writes[0]);
    if (!j->writes) {
        die("no memory for %zu writes", j->room);
    }
}

struct journal_write *journal_add(struct journal *j, uint32_t key, uint32_t version)
{
    make_room(j, j->count + 1);
    struct journal_write *w = &j->writes[j->count++];
    *w = (struct journal_write){.key = key, .version = version, .answered = JOURNAL_NEVER};
    return w;
}

void journal_append(struct journal *j, const struct journal *from)
{
    make_room(j, j->count + from->count);
    memcpy(j->writes + j->count, from->writes, from->count * sizeof from->writes[0]);
    j->count += from->count;
}

/* ---- file */

void journal_store(const struct journal *j, const char *path)
{
    struct head head = {.keys = j->keys, .count = j->count, .save = j->save, .end = j->end};
    memcpy(head.magic, magic, sizeof magic);
    FILE *file = fopen(path, "w");
    if (!file || fwrite(&head, sizeof head, 1, file) != 1 ||
        fwrite(j->writes, sizeof j->writes[0], j->count, file) != j->count || fclose(file)) {
        die("%s: %s", path, strerror(errno));
    }
}

void journal_load(struct journal *j, const char *path)
{
    struct head head;
    FILE *file = fopen(path, "r");
    if (!file) {
        die("%s: %s", path, strerror(errno));
    }
    if (fread(&head, sizeof head, 1, file) != 1 || memcmp(head.magic, magic, sizeof magic) ||
        head.keys > UINT32_MAX) {
        die("%s: not a journal", path);
    }
    journal_create(j, (uint32_t)head.keys);
    j->save = head.save;
    j->end = head.end;
    make_room(j, head.count);
    j->count = fread(j->writes, sizeof j->writes[0], head.count, file);
    fclose(file);
    if (j->count != head.count || !journal_sort(j)) {
        die("%s: damaged", path);
    }
}

/* ---- judgement */

static int compare(const void *a, const void *b)
{
    const struct journal_write *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->version < y->version ? -1 : x->version > y->version;
}

bool journal_sort(struct journal *j)
{
    free(j->first);
    j->first = calloc((size_t)j->keys + 1, sizeof j->first[0]);
    if (!j->first) {
        die("no memory for %u keys", j->keys);
    }
    if (j->count) {
        qsort(j->writes, j->count, sizeof j->writes[0], compare);
    }
    size_t i = 0;
    for (uint32_t key = 0; key < j->keys; key++) {
        j->first[key] = i;
        for (uint32_t version = 1; i < j->count && j->writes[i].key == key; i++, version++) {
            if (j->writes[i].version != version) {
                return false;
            }
        }
    }
    j->first[j->keys] = i;
    return i == j->count;
}

enum journal_answer journal_judge(const struct journal *j, uint32_t key, uint32_t version,
                                  const struct moment *asked, struct moment *moment)
{
    const struct journal_write *of_key = j->writes + j->first[key];
    size_t last = j->first[key + 1] - j->first[key];
    if (version > last) {
        return JOURNAL_NEVER_WRITTEN;
    }
    uint64_t from = version ? of_key[version - 1].sent : 0;
    uint64_t to = version < last ? of_key[version].answered : JOURNAL_NEVER;
    if (from > asked->to || to < asked->from) {
        return JOURNAL_NOT_CURRENT;
    }
    moment->from = from > moment->from ? from : moment->from;
    moment->to = to < moment->to ? to : moment->to;
    return JOURNAL_CURRENT;
}
