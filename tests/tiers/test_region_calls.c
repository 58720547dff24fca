/* What compiled regions call (engine/region/slow.c) keeps every vector register whole: regions hold values of 256 bits
 * across these calls. */
#include "engine/region/region.h"
#include "run_suite.h"

#include <check.h>

enum { PAGE = 0x5000, BASE_REGISTER = 7, READ_8 = 8 | BASE_REGISTER << 16, VECTORS = 16, WORDS = 4 };

static struct hart hart;
static struct tlb_bank bank;

static void start(void)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        bank.entries[i].tag_read = bank.entries[i].tag_write = TLB_TAG_NONE;
    hart.bank = &bank;
}

/* Calls as a region does, with a number of its own in each word of each vector. The stack is moved out of the way of
 * what this function keeps below it. */
static bool call(const void *function, uint64_t gva, uint64_t what)
{
    uint64_t before[VECTORS][WORDS], after[VECTORS][WORDS], result = 0;

    for (unsigned i = 0; i < VECTORS * WORDS; i++)
        before[i / WORDS][i % WORDS] = 0x0101010101010101ull * (i + 1);
    __asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                     "vmovups 32 * \\n(%[before]), %%ymm\\n\n.endr\n"
                     "mov %%rsp, %%rbx\n sub $128, %%rsp\n and $-32, %%rsp\n call *%[function]\n mov %%rbx, %%rsp\n"
                     ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                     "vmovups %%ymm\\n, 32 * \\n(%[after])\n.endr\n"
                     "vzeroupper\n"
                     : "+a"(result)
                     : [function] "r"(function), [before] "r"(before), [after] "r"(after), "D"(&hart), "S"(gva),
                       "d"(what)
                     : "memory", "cc", "rbx", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    for (unsigned i = 0; i < VECTORS * WORDS; i++)
        ck_assert_msg(before[i / WORDS][i % WORDS] == after[i / WORDS][i % WORDS], "word %u of vector %u", i % WORDS,
                      i / WORDS);
    return result & 1;
}

START_TEST(reaching_a_page_keeps_vectors)
{
    start();
    ck_assert(!call((const void *)region_reach, PAGE + 8, READ_8));
    bank.entries[tlb_index(PAGE)].tag_read = PAGE;
    ck_assert(call((const void *)region_reach, PAGE + 8, READ_8));
    ck_assert_uint_eq(hart.base_page[BASE_REGISTER].tag_read, PAGE);
}
END_TEST

START_TEST(forgetting_pages_keeps_vectors)
{
    start();
    hart.base_page[BASE_REGISTER].tag_read = PAGE;
    bank.stamp = 5;
    (void)call((const void *)region_forget_pages, 0, 0);
    ck_assert_uint_eq(hart.base_page[BASE_REGISTER].tag_read, TLB_TAG_NONE);
    ck_assert_uint_eq(hart.base_page_stamp, 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region_calls");
    TCase *vectors = tcase_create("vectors");

    tcase_add_test(vectors, reaching_a_page_keeps_vectors);
    tcase_add_test(vectors, forgetting_pages_keeps_vectors);
    suite_add_tcase(suite, vectors);
    return run_suite(suite);
}
