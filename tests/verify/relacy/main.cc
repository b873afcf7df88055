/* SPDX-License-Identifier: MIT */
/* Runs the scenarios; one line of tab-separated fields each:
 *   ok|FAILED  scenario  search  executions  milliseconds  what relacy found
 * and after a failure the execution that shows it, each line behind a '#'. check.py builds and starts this. */
#include "scenarios.hpp"

#include <time.h>

static const scenario *current;

template <int THREADS> struct suite : rl::test_suite<suite<THREADS>, THREADS> {
    world w;

    void before()
    {
        current->before(w);
        w.threads_run = true;
    }

    void thread(unsigned number)
    {
        current->thread[number](w);
    }

    void after()
    {
        w.finish(current->left);
        if (current->after) {
            current->after(w);
        }
    }
};

static void print_history(const rl::string &history)
{
    for (size_t from = 0; from < history.size();) {
        size_t to = history.find('\n', from);
        to = to == rl::string::npos ? history.size() : to;
        printf("# %.*s\n", (int)(to - from), history.c_str() + from);
        from = to + 1;
    }
}

static double now_ms()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool run(const scenario &s, unsigned bound)
{
    rl::ostringstream history;
    std::ostream nowhere(nullptr);
    rl::test_params params;
    params.search_type = bound == FULL ? rl::sched_full : rl::sched_bound;
    params.context_bound = bound;
    params.output_stream = &history;
    params.progress_stream = &nowhere;
    current = &s;

    double start = now_ms();
    bool good = s.threads == 2 ? rl::simulate<suite<2>>(params) : rl::simulate<suite<3>>(params);
    char search[32];
    snprintf(search, sizeof search, bound == FULL ? "full search" : "%u switches", bound);
    printf("%s\t%s\t%s\t%llu\t%.0f\t%s\n", good ? "ok" : "FAILED", s.name, search,
           (unsigned long long)params.stop_iteration, now_ms() - start,
           good ? "" : rl::test_result_str(params.test_result));
    if (!good) {
        print_history(history.str());
    }
    fflush(stdout);
    return good;
}

/* main [--short] [--bound=SWITCHES] [--until-failure] [--failed-swaps=relaxed|acquire] [scenario ...] */
int main(int argc, char **argv)
{
    bool thorough = true, until_failure = false, good = true;
    int named = 1, bound = -1;
    for (; named < argc && !strncmp(argv[named], "--", 2); named++) {
        if (!strcmp(argv[named], "--short")) {
            thorough = false;
        } else if (!strncmp(argv[named], "--bound=", 8)) {
            bound = atoi(argv[named] + 8);
        } else if (!strcmp(argv[named], "--until-failure")) {
            until_failure = true;
        } else if (!strcmp(argv[named], "--failed-swaps=relaxed")) {
            failed_swaps = FAILED_RELAXED;
        } else if (!strcmp(argv[named], "--failed-swaps=acquire")) {
            failed_swaps = FAILED_ACQUIRE;
        } else {
            fprintf(stderr, "unknown option %s\n", argv[named]);
            return 2;
        }
    }
    for (const scenario &s : scenarios) {
        bool wanted = named == argc;
        for (int i = named; i < argc; i++) {
            wanted |= !strcmp(argv[i], s.name);
        }
        unsigned of_scenario = thorough ? s.thorough_bound : s.short_bound;
        if (wanted && !run(s, bound >= 0 ? (unsigned)bound : of_scenario)) {
            good = false;
            if (until_failure) {
                break;
            }
        }
    }
    return good ? 0 : 1;
}
