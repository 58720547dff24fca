/* quicksort, heapsort: unpredictable branches over an array that fits the second-level cache. The input is copied anew
 * in each iteration. */
#include "bench.h"
#include "expected.h"

#include <string.h>

enum { ELEMENTS = 16384, INSERTION_BELOW = 12 };

static uint32_t unsorted[ELEMENTS], work[ELEMENTS];

static int setup(void)
{
    uint64_t rng = 42;
    for (size_t i = 0; i < ELEMENTS; i++)
        unsorted[i] = (uint32_t)bench_random(&rng);
    return 0;
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

static void insertion_sort(uint32_t *v, ptrdiff_t n)
{
    for (ptrdiff_t i = 1; i < n; i++) {
        uint32_t value = v[i];
        ptrdiff_t at = i;
        for (; at > 0 && v[at - 1] > value; at--)
            v[at] = v[at - 1];
        v[at] = value;
    }
}

static uint32_t median(uint32_t a, uint32_t b, uint32_t c)
{
    if (a > b)
        swap(&a, &b);
    return c < a ? a : c > b ? b : c;
}

/* Hoare's partition; the larger part is left to the loop, so the stack stays logarithmic. */
static BENCH_NOINLINE void quicksort(uint32_t *v, ptrdiff_t n)
{
    while (n > INSERTION_BELOW) {
        uint32_t pivot = median(v[0], v[n / 2], v[n - 1]);
        ptrdiff_t i = 0, j = n - 1;
        for (;; i++, j--) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i >= j)
                break;
            swap(&v[i], &v[j]);
        }
        if (i < n - i) {
            quicksort(v, i);
            v += i;
            n -= i;
        } else {
            quicksort(v + i, n - i);
            n = i;
        }
    }
    insertion_sort(v, n);
}

static void sift_down(uint32_t *v, size_t root, size_t n)
{
    uint32_t value = v[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && v[child + 1] > v[child])
            child++;
        if (v[child] <= value)
            break;
        v[root] = v[child];
    }
    v[root] = value;
}

static BENCH_NOINLINE void heapsort_u32(uint32_t *v, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(v, i, n);
    for (size_t i = n; i-- > 1;) {
        swap(&v[0], &v[i]);
        sift_down(v, 0, i);
    }
}

static uint64_t fold_work(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ELEMENTS; i++)
        sum = bench_fold(sum, work[i]);
    return sum;
}

static uint64_t iterate_quicksort(void)
{
    memcpy(work, unsorted, sizeof(work));
    quicksort(work, ELEMENTS);
    return fold_work();
}

static uint64_t iterate_heapsort(void)
{
    memcpy(work, unsorted, sizeof(work));
    heapsort_u32(work, ELEMENTS);
    return fold_work();
}

const struct bench_program bench_quicksort = {
    .name = "quicksort",
    .class = BENCH_INTEGER,
    .unit = "elements",
    .units_per_iteration = ELEMENTS,
    .setup = setup,
    .iterate = iterate_quicksort,
    .expected = EXPECTED_SORT,
};

const struct bench_program bench_heapsort = {
    .name = "heapsort",
    .class = BENCH_INTEGER,
    .unit = "elements",
    .units_per_iteration = ELEMENTS,
    .setup = setup,
    .iterate = iterate_heapsort,
    .expected = EXPECTED_SORT,
};
