/* core: the mix that small-processor benchmarks use, in the spirit of CoreMark: a linked list (search, reverse, merge
 * sort), small integer matrices, a state machine over text and a bitwise CRC that ties the results together. Each
 * round's seed is the CRC of the round before, so that no round can be skipped. */
#include "bench.h"
#include "expected.h"

#include <string.h>

enum { ROUNDS = 16, LIST_NODES = 256, MATRIX = 24, TEXT_BYTES = 1024, SEARCHES = 32 };

struct node {
    struct node *next;
    int16_t key;
    uint16_t index;
};

static struct node nodes[LIST_NODES];
static int16_t matrix_a[MATRIX][MATRIX], matrix_b[MATRIX][MATRIX];
static int32_t matrix_c[MATRIX][MATRIX];
static char text[TEXT_BYTES + 1];

/* CRC-16/ARC, one bit at a time: polynomial 0x8005 reflected. */
static BENCH_NOINLINE uint16_t crc16(uint16_t crc, uint16_t value)
{
    for (int bit = 0; bit < 16; bit++) {
        bool carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry)
            crc ^= 0xA001;
    }
    return crc;
}

static struct node *list_build(uint64_t *rng)
{
    for (int i = 0; i < LIST_NODES; i++) {
        nodes[i].key = (int16_t)bench_random(rng);
        nodes[i].index = (uint16_t)i;
        nodes[i].next = i + 1 < LIST_NODES ? &nodes[i + 1] : NULL;
    }
    return nodes;
}

static BENCH_NOINLINE struct node *list_reverse(struct node *list)
{
    struct node *reversed = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
    }
    return reversed;
}

static BENCH_NOINLINE const struct node *list_find(const struct node *list, uint16_t index)
{
    while (list && list->index != index)
        list = list->next;
    return list;
}

typedef int (*compare_fn)(const struct node *a, const struct node *b);

static int compare_keys(const struct node *a, const struct node *b)
{
    return a->key != b->key ? a->key - b->key : a->index - b->index;
}

static int compare_indices(const struct node *a, const struct node *b)
{
    return a->index - b->index;
}

static struct node *list_merge(struct node *a, struct node *b, compare_fn compare)
{
    struct node *head = NULL, **tail = &head;
    while (a && b) {
        struct node **from = compare(a, b) <= 0 ? &a : &b;
        *tail = *from;
        tail = &(*from)->next;
        *from = *tail;
    }
    *tail = a ? a : b;
    return head;
}

static BENCH_NOINLINE struct node *list_sort(struct node *list, compare_fn compare)
{
    if (!list || !list->next)
        return list;
    struct node *slow = list;
    for (struct node *fast = list->next; fast && fast->next; fast = fast->next->next)
        slow = slow->next;
    struct node *half = slow->next;
    slow->next = NULL;
    return list_merge(list_sort(list, compare), list_sort(half, compare), compare);
}

static uint16_t list_crc(uint16_t crc, const struct node *list)
{
    for (; list; list = list->next)
        crc = crc16(crc, (uint16_t)list->key);
    return crc;
}

static BENCH_NOINLINE uint16_t run_list(uint16_t crc, uint64_t *rng)
{
    struct node *list = list_build(rng);
    for (int i = 0; i < SEARCHES; i++) {
        const struct node *found = list_find(list, (uint16_t)(bench_random(rng) % (LIST_NODES + LIST_NODES / 4)));
        crc = crc16(crc, found ? (uint16_t)found->key : 0xFFFF);
    }
    list = list_sort(list_reverse(list), compare_keys);
    crc = list_crc(crc, list);
    return list_crc(crc, list_sort(list, compare_indices));
}

static BENCH_NOINLINE void matrix_multiply(void)
{
    for (int i = 0; i < MATRIX; i++)
        for (int j = 0; j < MATRIX; j++) {
            int32_t sum = 0;
            for (int k = 0; k < MATRIX; k++)
                sum += matrix_a[i][k] * matrix_b[k][j];
            matrix_c[i][j] = sum;
        }
}

/* Products of bit fields, as a codec or a filter does them. */
static BENCH_NOINLINE void matrix_multiply_fields(void)
{
    for (int i = 0; i < MATRIX; i++)
        for (int j = 0; j < MATRIX; j++) {
            int32_t sum = 0;
            for (int k = 0; k < MATRIX; k++) {
                int32_t product = matrix_a[i][k] * matrix_b[k][j];
                sum += ((product >> 2) & 0xF) * ((product >> 5) & 0x7F);
            }
            matrix_c[i][j] += sum;
        }
}

static BENCH_NOINLINE uint16_t run_matrix(uint16_t crc, uint64_t *rng)
{
    for (int i = 0; i < MATRIX; i++)
        for (int j = 0; j < MATRIX; j++) {
            matrix_a[i][j] = (int16_t)(bench_random(rng) % 4096 - 2048);
            matrix_b[i][j] = (int16_t)(bench_random(rng) % 4096 - 2048);
        }
    matrix_multiply();
    matrix_multiply_fields();
    for (int i = 0; i < MATRIX; i++)
        for (int j = 0; j < MATRIX; j++)
            crc = crc16(crc, (uint16_t)(matrix_c[i][j] ^ (matrix_c[i][j] >> 16)));
    return crc;
}

enum state { STATE_START, STATE_SIGN, STATE_INTEGER, STATE_POINT, STATE_EXPONENT, STATE_WORD, STATE_BAD, STATE_COUNT };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Which kind of token the text up to the next comma is, one character at a time. */
static BENCH_NOINLINE enum state next_state(enum state state, char c)
{
    switch (state) {
    case STATE_START:
        if (is_digit(c))
            return STATE_INTEGER;
        if (c == '+' || c == '-')
            return STATE_SIGN;
        return c >= 'a' && c <= 'z' ? STATE_WORD : STATE_BAD;
    case STATE_SIGN:
        return is_digit(c) ? STATE_INTEGER : STATE_BAD;
    case STATE_INTEGER:
        if (c == '.')
            return STATE_POINT;
        /* fall through */
    case STATE_POINT:
        if (is_digit(c))
            return state;
        return c == 'e' ? STATE_EXPONENT : STATE_BAD;
    case STATE_EXPONENT:
        return is_digit(c) ? state : STATE_BAD;
    case STATE_WORD:
        return c >= 'a' && c <= 'z' ? state : STATE_BAD;
    default:
        return STATE_BAD;
    }
}

static BENCH_NOINLINE uint16_t run_text(uint16_t crc, uint64_t *rng)
{
    static const char alphabet[] = "0123456789012345,,,,+-..eeab";
    uint16_t ends[STATE_COUNT] = {0}, visits[STATE_COUNT] = {0};
    enum state state = STATE_START;
    for (int i = 0; i < TEXT_BYTES; i++)
        text[i] = alphabet[bench_random(rng) % (sizeof(alphabet) - 1)];
    for (const char *c = text; *c; c++) {
        if (*c == ',') {
            ends[state]++;
            state = STATE_START;
        } else {
            state = next_state(state, *c);
            visits[state]++;
        }
    }
    for (int i = 0; i < STATE_COUNT; i++)
        crc = crc16(crc16(crc, ends[i]), visits[i]);
    return crc;
}

static uint64_t iterate(void)
{
    uint64_t sum = 0;
    uint16_t crc = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t rng = crc;
        crc = run_list(crc, &rng);
        crc = run_matrix(crc, &rng);
        crc = run_text(crc, &rng);
        sum = bench_fold(sum, crc);
    }
    return sum;
}

const struct bench_program bench_core = {
    .name = "core",
    .class = BENCH_INTEGER,
    .unit = "rounds",
    .units_per_iteration = ROUNDS,
    .iterate = iterate,
    .expected = EXPECTED_CORE,
};
