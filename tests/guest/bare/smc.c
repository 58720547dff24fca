/* Code that is written while it runs, mapped elsewhere, or cut in two by a page boundary.
 * Unprivileged ISA, chapter 6 (Zifencei): a FENCE.I makes a hart's own stores visible to its fetches; Privileged
 * Architecture 1.13, section 12.2.1, for mappings. Without FENCE.I anything may be fetched, so every case has one.
 */
#include "rt.h"

#define WINDOW 0x100000000ull
#define LEAF 0xcfull

static uint8_t code[4][4096] __attribute__((aligned(4096)));
static uint64_t root[512], level1[512], level0[512], other_root[512], other1[512],
    other0[512] __attribute__((aligned(4096)));

static uint64_t call(uint64_t at)
{
    return ((uint64_t (*)(void))at)();
}

/* li a0, value; ret */
static void write_function(void *at, uint32_t value)
{
    volatile uint16_t *parcel = at;
    uint32_t insn = rt_addi(10, 0, value);
    parcel[0] = (uint16_t)insn;
    parcel[1] = (uint16_t)(insn >> 16);
    parcel[2] = RT_RET;
}

/* ---- stores into code ---- */

static void rewritten(void)
{
    static const struct {
        const char *name;
        uint32_t offset, page;
    } places[] = {{"page_start", 0, 0},      {"line_end", 62, 0},       {"middle", 2048, 0},
                  {"page_end", 4096 - 6, 0}, {"across_pages", 4094, 0}, {"other_page", 128, 2}};
    for (unsigned p = 0; p < RT_COUNT(places); p++) {
        uint64_t at = (uint64_t)code[places[p].page] + places[p].offset, errors = 0;
        for (uint32_t value = 0; value < 500; value++) {
            write_function((void *)at, value);
            rt_fence_i();
            errors += call(at) != value;
            errors += call(at) != value; /* and again from whatever was cached */
        }
        rt_print("rewrite.%s: errors=%d", places[p].name, errors);
        rt_expect(!errors, "rewrite.%s", places[p].name);
    }
}

/* One byte, halfword, word or doubleword of an instruction, by each kind of store. */
static void patched_by_each_store(void)
{
    uint64_t at = (uint64_t)code[0], errors = 0;
    write_function((void *)at, 0);
    rt_fence_i();
    for (uint32_t i = 1; i < 128; i++) {
        uint32_t insn = rt_addi(10, 0, i);
        ((volatile uint8_t *)at)[2] = (uint8_t)(insn >> 16); /* sb: imm[3:0] and rs1's top */
        ((volatile uint8_t *)at)[3] = (uint8_t)(insn >> 24);
        rt_fence_i();
        errors += call(at) != i;
    }
    rt_print("patch.sb: errors=%d", errors);
    rt_expect(!errors, "patch.sb");
    for (uint32_t i = 1; i < 128; i++) {
        ((volatile uint16_t *)at)[1] = (uint16_t)(rt_addi(10, 0, i) >> 16);
        rt_fence_i();
        errors += call(at) != i;
    }
    rt_print("patch.sh: errors=%d", errors);
    for (uint32_t i = 1; i < 128; i++) {
        *(volatile uint64_t *)at = (uint64_t)RT_RET << 32 | rt_addi(10, 0, i);
        rt_fence_i();
        errors += call(at) != i;
    }
    rt_print("patch.sd: errors=%d", errors);
    for (uint32_t i = 1; i < 128; i++) {
        uint64_t insn = rt_addi(10, 0, i);
        __asm__ volatile("amoswap.w x0, %1, (%0)\n fence.i" ::"r"(at), "r"(insn) : "memory");
        errors += call(at) != i;
    }
    rt_print("patch.amo: errors=%d", errors);
    for (uint32_t i = 1; i < 128; i++) {
        uint64_t insn = rt_addi(10, 0, i), failed;
        __asm__ volatile("1: lr.w %0, (%1)\n sc.w %0, %2, (%1)\n bnez %0, 1b\n fence.i"
                         : "=&r"(failed)
                         : "r"(at), "r"(insn)
                         : "memory");
        errors += call(at) != i;
    }
    rt_print("patch.sc: errors=%d", errors);
    for (uint32_t i = 1; i < 128; i++) {
        uint64_t bits = (uint64_t)RT_RET << 32 | rt_addi(10, 0, i);
        __asm__ volatile("fmv.d.x ft0, %1\n fsd ft0, 0(%0)\n fence.i" ::"r"(at), "r"(bits) : "memory");
        errors += call(at) != i;
    }
    rt_print("patch.fsd: errors=%d", errors);
    /* Misaligned, across the line's end and across the page's. */
    static const uint32_t offsets[] = {61, 62, 63, 4093, 4094, 4095};
    for (unsigned o = 0; o < RT_COUNT(offsets); o++) {
        uint64_t from = (uint64_t)code[0] + (offsets[o] & ~1u);
        for (uint32_t i = 1; i < 64; i++) {
            write_function((void *)from, 0);
            rt_fence_i();
            errors += call(from) != 0;
            __asm__ volatile("sw %1, 0(%0)\n fence.i" ::"r"(from), "r"((uint64_t)rt_addi(10, 0, i)) : "memory");
            errors += call(from) != i;
        }
    }
    rt_print("patch.misaligned: errors=%d", errors);
    rt_expect(!errors, "patch: %d", errors);
}

/* The instruction behind FENCE.I in the same straight line was written just before it. */
static void same_block(void)
{
    uint64_t errors = 0;
    for (uint32_t i = 0; i < 200; i++) {
        static const uint32_t start[] = {0x00b52623 /* sw a1, 12(a0) */, 0x0000100f, RT_NOP, 0 /* patched */,
                                         0x00060513 /* mv a0, a2 */};
        uint32_t insns[5];
        for (unsigned k = 0; k < 5; k++)
            insns[k] = start[k];
        insns[3] = rt_addi(12, 0, 0x7ff);
        rt_code(code[1], insns, 5);
        struct outcome out = rt_probe(RT_M, (uint64_t)code[1], (uint64_t)code[1], rt_addi(12, 0, i), 0);
        errors += out.trapped || out.a0 != i;
    }
    rt_print("same_block: errors=%d", errors);
    rt_expect(!errors, "same_block");
}

/* A loop that rewrites one of its own instructions each time round. */
static void loop_rewrites_itself(void)
{
    uint32_t body[10];
    unsigned n = 0;
    body[n++] = rt_addi(12, 0, 0);
    body[n++] = rt_addi(14, 0, 100);
    /* loop at +8 */
    body[n++] = 0x00b52823; /* sw a1, 16(a0) */
    body[n++] = 0x0000100f;
    body[n++] = rt_addi(12, 12, 0x7ff); /* +16, replaced before its first run */
    body[n++] = 0x001006b7;
    body[n++] = 0x00d585bb;
    body[n++] = rt_addi(14, 14, 0xfff);
    body[n++] = 0xfe0714e3; /* bnez a4, -24 */
    body[n++] = rt_addi(10, 12, 0);
    rt_code(code[1], body, n);
    struct outcome out = rt_probe(RT_M, (uint64_t)code[1], (uint64_t)code[1], rt_addi(12, 12, 1), 0);
    rt_print("loop: %s sum=%d", rt_describe(&out, (uint64_t)code[1]), (int64_t)out.a0);
    rt_expect(!out.trapped && out.a0 == 100 * 101 / 2, "loop: %d", (int64_t)out.a0);
}

/* Data beside code: stores to other lines, and to the same line without touching the instructions, must not disturb it.
 */
static void data_beside_code(void)
{
    uint64_t errors = 0;
    write_function(code[0], 42);
    rt_fence_i();
    for (uint64_t i = 0; i < 2000; i++) {
        *(volatile uint64_t *)(code[0] + 8 + i % 4000 / 8 * 8) = i;
        errors += call((uint64_t)code[0]) != 42;
        errors += *(volatile uint64_t *)(code[0] + 8 + i % 4000 / 8 * 8) != i;
    }
    rt_print("beside: errors=%d", errors);
    rt_expect(!errors, "beside");
    /* Rewriting one of two functions on a page leaves the other as it was. */
    for (uint32_t i = 0; i < 500; i++) {
        write_function(code[0] + 64, i);
        rt_fence_i();
        errors += call((uint64_t)code[0] + 64) != i || call((uint64_t)code[0]) != 42;
    }
    rt_print("beside.two_functions: errors=%d", errors);
    rt_expect(!errors, "beside.two_functions");
}

/* ---- mappings ---- */

static uint64_t leaf(const void *frame)
{
    return (uint64_t)frame >> 2 | LEAF;
}

static void tables(void)
{
    root[2] = other_root[2] = 0x80000000ull >> 2 | LEAF;
    root[4] = (uint64_t)level1 >> 2 | 1;
    level1[0] = (uint64_t)level0 >> 2 | 1;
    other_root[4] = (uint64_t)other1 >> 2 | 1;
    other1[0] = (uint64_t)other0 >> 2 | 1;
}

static void use(const uint64_t *top, uint64_t asid)
{
    rt_csr_write(satp, 8ull << 60 | asid << 44 | (uint64_t)top >> 12);
}

static uint64_t call_s(uint64_t at)
{
    struct outcome out = rt_probe(RT_S, at, 0, 0, 0);
    return out.trapped ? 0xbad000 + out.cause : out.a0;
}

/* The same address becomes another frame with other code. */
static void remapped(void)
{
    uint64_t errors = 0, va = WINDOW + 0x5040;
    for (unsigned i = 0; i < 4; i++)
        write_function(code[i] + 64, 10 + i);
    rt_fence_i();
    use(root, 0);
    for (unsigned i = 0; i < 400; i++) {
        level0[5] = leaf(code[i % 4]);
        if (i & 1)
            rt_sfence();
        else
            __asm__ volatile("sfence.vma %0, x0" ::"r"(va) : "memory");
        errors += call_s(va) != 10 + i % 4;
    }
    rt_print("remap.sfence: errors=%d", errors);
    rt_expect(!errors, "remap.sfence");
    /* Two address spaces by satp alone, with ASIDs. */
    level0[5] = leaf(code[0]);
    other0[5] = leaf(code[1]);
    rt_sfence();
    for (unsigned i = 0; i < 400; i++) {
        use(i & 1 ? other_root : root, 1 + (i & 1));
        errors += call_s(va) != 10 + (i & 1);
    }
    rt_print("remap.satp: errors=%d", errors);
    rt_expect(!errors, "remap.satp");
    /* One frame at two addresses: code written through one alias is executed through the other. */
    use(root, 0);
    level0[6] = leaf(code[0]);
    level0[7] = leaf(code[0]);
    rt_sfence();
    for (uint32_t i = 0; i < 200; i++) {
        write_function(code[0] + 64, i);
        rt_fence_i();
        errors += call_s(WINDOW + 0x6040) != i || call_s(WINDOW + 0x7040) != i;
    }
    rt_print("remap.aliases: errors=%d", errors);
    rt_expect(!errors, "remap.aliases");
    /* Execute permission withdrawn and given back. */
    for (unsigned i = 0; i < 50; i++) {
        level0[6] = leaf(code[0]) & ~(i & 1 ? 8ull : 0);
        rt_sfence();
        uint64_t want = i & 1 ? 0xbad000 + CAUSE_FETCH_PAGE : 199;
        errors += call_s(WINDOW + 0x6040) != want;
    }
    rt_print("remap.execute_permission: errors=%d", errors);
    rt_expect(!errors, "remap.execute_permission");
}

/* A jump from one page to the next, whose frame changes: the link between the two blocks must not survive. */
static void linked_pages(void)
{
    uint64_t errors = 0;
    /* page A's last instruction: j +4 into page B's first */
    for (unsigned i = 0; i < 4; i++)
        write_function(code[i], 20 + i);
    static uint8_t jumps[4096] __attribute__((aligned(4096)));
    *(volatile uint32_t *)(jumps + 4092) = 0x0040006f;
    rt_fence_i();
    level0[10] = leaf(jumps);
    for (unsigned i = 0; i < 200; i++) {
        level0[11] = leaf(code[i % 4]);
        __asm__ volatile("sfence.vma %0, x0" ::"r"(WINDOW + 0xb000) : "memory");
        errors += call_s(WINDOW + 0xa000 + 4092) != 20 + i % 4;
    }
    level0[11] = 0;
    rt_sfence();
    struct outcome out = rt_probe(RT_S, WINDOW + 0xa000 + 4092, 0, 0, 0);
    rt_print("linked: errors=%d then %s", errors, rt_describe(&out, WINDOW + 0xb000));
    rt_expect(!errors && out.trapped && out.cause == CAUSE_FETCH_PAGE && out.tval == WINDOW + 0xb000 &&
                  out.epc == WINDOW + 0xb000,
              "linked");
    /* The same without a jump: execution runs over the boundary. */
    *(volatile uint32_t *)(jumps + 4092) = RT_NOP;
    rt_fence_i();
    for (unsigned i = 0; i < 200; i++) {
        level0[11] = leaf(code[i % 4]);
        rt_sfence();
        errors += call_s(WINDOW + 0xa000 + 4092) != 20 + i % 4;
    }
    rt_print("fallthrough: errors=%d", errors);
    rt_expect(!errors, "fallthrough");
}

/* ---- an instruction on two pages ---- */

static void split_instruction(void)
{
    uint64_t errors = 0, va = WINDOW + 0x20000 + 4094;
    /* First halves in code[0] and code[1], second halves in code[2] and code[3]: lui a0, imm has immediate bits in
     * both. */
    static const uint32_t insns[2] = {0x00001537, 0xabcde537}; /* lui a0, 1; lui a0, 0xabcde */
    for (unsigned i = 0; i < 2; i++) {
        *(volatile uint16_t *)(code[i] + 4094) = (uint16_t)insns[i];
        *(volatile uint16_t *)code[2 + i] = (uint16_t)(insns[i] >> 16);
        *(volatile uint16_t *)(code[2 + i] + 2) = RT_RET;
    }
    rt_fence_i();
    for (unsigned i = 0; i < 200; i++) {
        unsigned first = i & 1, second = i >> 1 & 1;
        level0[32] = leaf(code[first]);
        level0[33] = leaf(code[2 + second]);
        rt_sfence();
        uint32_t insn = (insns[first] & 0xffff) | (insns[second] & 0xffff0000);
        errors += call_s(va) != (uint64_t)(int64_t)(int32_t)(insn & 0xfffff000);
    }
    rt_print("split: errors=%d", errors);
    rt_expect(!errors, "split");
    /* Only the second page changes, only its address is fenced. */
    for (unsigned i = 0; i < 100; i++) {
        level0[33] = leaf(code[2 + (i & 1)]);
        __asm__ volatile("sfence.vma %0, x0" ::"r"(WINDOW + 0x21000) : "memory");
        uint32_t insn = (insns[1] & 0xffff) | (insns[i & 1] & 0xffff0000);
        errors += call_s(va) != (uint64_t)(int64_t)(int32_t)(insn & 0xfffff000);
    }
    rt_print("split.second_remapped: errors=%d", errors);
    rt_expect(!errors, "split.second_remapped");
    /* Its second half is stored to. */
    for (unsigned i = 0; i < 100; i++) {
        *(volatile uint16_t *)code[3] = (uint16_t)i;
        rt_fence_i();
        uint32_t insn = (insns[1] & 0xffff) | i << 16;
        level0[33] = leaf(code[3]);
        rt_sfence();
        errors += call_s(va) != (uint64_t)(int64_t)(int32_t)(insn & 0xfffff000);
    }
    rt_print("split.second_stored: errors=%d", errors);
    rt_expect(!errors, "split.second_stored");
    /* The second page missing: epc is the instruction, tval the page that faults. The first missing: both the
     * instruction. */
    static const struct {
        const char *name;
        uint64_t first, second;
    } faults[] = {{"second_missing", 1, 0}, {"first_missing", 0, 1}, {"both_missing", 0, 0},
                  {"second_no_x", 1, 2},    {"second_user", 1, 3},   {"second_nothing", 1, 4}};
    for (unsigned f = 0; f < RT_COUNT(faults); f++) {
        level0[32] = faults[f].first ? leaf(code[1]) : 0;
        uint64_t second = leaf(code[3]);
        static const uint64_t clear[] = {-1ull, 0, 8, 0, 0};
        level0[33] = faults[f].second == 4 ? leaf((void *)RT_HOLE)
                                           : (second & ~clear[faults[f].second]) | (faults[f].second == 3 ? 16 : 0);
        rt_sfence();
        struct outcome out = rt_probe(RT_S, va, 0, 0, 0);
        rt_print("split.%s: %s", faults[f].name, rt_describe(&out, va));
        uint64_t tval = faults[f].first ? va + 2 : va;
        rt_expect(out.trapped && out.epc == va && out.tval == tval &&
                      out.cause == (faults[f].second == 4 ? CAUSE_FETCH_ACCESS : CAUSE_FETCH_PAGE),
                  "split.%s: %s", faults[f].name, rt_describe(&out, va));
    }
    /* A 2-byte instruction in the page's last two bytes needs no second page. */
    *(volatile uint16_t *)(code[1] + 4094) = RT_RET;
    rt_fence_i();
    level0[32] = leaf(code[1]);
    level0[33] = 0;
    rt_sfence();
    struct outcome out = rt_probe(RT_S, va, 0, 0, 0);
    rt_print("split.two_bytes: %s", rt_describe(&out, va));
    rt_expect(!out.trapped, "split.two_bytes");
}

void bare_main(void)
{
    tables();
    rewritten();
    patched_by_each_store();
    same_block();
    loop_rewrites_itself();
    data_beside_code();
    remapped();
    linked_pages();
    split_instruction();
}
