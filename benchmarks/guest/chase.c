/* chase_1m, chase_64m: one dependent load after another, in random order over 1 MiB and 64 MiB. What is measured is
 * latency: of the caches, of the host's TLB and of the virtual machine's. One node a cache line, linked to
 * one cycle by Sattolo's shuffle, so that a walk visits every node before it comes back. */
#include "bench.h"
#include "expected.h"

#include <errno.h>
#include <stdlib.h>

enum { NODE_BYTES = 64, NODES_1M = (1 << 20) / NODE_BYTES, NODES_64M = (64 << 20) / NODE_BYTES };
/* A walk is some whole rounds less a few steps: it ends at a node that only the right order leads to. */
enum { SHORT_OF_ROUND = 1000, STEPS_1M = 16 * NODES_1M - SHORT_OF_ROUND, STEPS_64M = NODES_64M - SHORT_OF_ROUND };

struct node {
    struct node *next;
    uint8_t rest[NODE_BYTES - sizeof(struct node *)];
};

static struct node *nodes;

static int build(uint32_t count)
{
    uint64_t rng = count;
    uint32_t *order = malloc(count * sizeof(*order));
    nodes = aligned_alloc(4096, (size_t)count * sizeof(*nodes));
    if (!order || !nodes) {
        free(order);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(bench_random(&rng) % i);
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (uint32_t i = 0; i < count; i++)
        nodes[i].next = &nodes[order[i]];
    free(order);
    return 0;
}

static int setup_1m(void)
{
    return build(NODES_1M);
}

static int setup_64m(void)
{
    return build(NODES_64M);
}

static BENCH_NOINLINE uint64_t walk(uint32_t steps)
{
    const struct node *at = nodes;
    for (uint32_t i = 0; i < steps; i++)
        at = at->next;
    return (uint64_t)(at - nodes);
}

static uint64_t iterate_1m(void)
{
    return walk(STEPS_1M);
}

static uint64_t iterate_64m(void)
{
    return walk(STEPS_64M);
}

const struct bench_program bench_chase_1m = {
    .name = "chase_1m",
    .class = BENCH_INTEGER,
    .unit = "loads",
    .units_per_iteration = STEPS_1M,
    .setup = setup_1m,
    .iterate = iterate_1m,
    .expected = EXPECTED_CHASE_1M,
};

const struct bench_program bench_chase_64m = {
    .name = "chase_64m",
    .class = BENCH_INTEGER,
    .unit = "loads",
    .units_per_iteration = STEPS_64M,
    .setup = setup_64m,
    .iterate = iterate_64m,
    .expected = EXPECTED_CHASE_64M,
};
