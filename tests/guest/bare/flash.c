/* The board's flash (bank 1, erased and writable): the command set, and code that runs in it. */
#include "rt.h"

enum { BLOCK = 256 << 10 };
#define BANK1 0x22000000ull

static volatile uint32_t *at(uint64_t offset)
{
    return rt_mmio32(BANK1 + offset);
}

static void command(uint64_t offset, uint32_t byte)
{
    *at(offset) = byte << 16 | byte;
}

static void program(uint64_t offset, uint32_t value)
{
    command(offset, 0x40);
    *at(offset) = value;
    command(offset, 0xff);
}

static uint32_t status(void)
{
    command(0, 0x70);
    uint32_t value = *at(0);
    command(0, 0x50);
    command(0, 0xff);
    return value;
}

/* Bytes 0x1f to 0x26 are times, which have no meaning where nothing takes any. */
static void query(void)
{
    command(0x55 * 4, 0x98);
    for (uint32_t i = 0x10; i < 0x36; i++)
        if (i < 0x1f || i > 0x26)
            rt_print("cfi.%x: %x", i, (uint64_t)*at(i * 4));
    rt_print("cfi.byte: %x %x", (uint64_t)*(volatile uint8_t *)(BANK1 + 0x40),
             (uint64_t)*(volatile uint16_t *)(BANK1 + 0x42));
    command(0, 0x90);
    rt_print("id: %x %x", (uint64_t)*at(0), (uint64_t)*at(4));
    command(0, 0xff);
}

static void change(void)
{
    command(BLOCK, 0x20);
    command(BLOCK, 0xd0);
    rt_print("erase.status: %x", (uint64_t)status());
    rt_print("erase.word: %x", (uint64_t)*at(BLOCK + 0x100));
    program(BLOCK + 0x100, 0x12345678);
    rt_print("program.status: %x", (uint64_t)status());
    rt_print("program.word: %x %x", (uint64_t)*at(BLOCK + 0x100), (uint64_t)*at(BLOCK + 0x104));
    rt_print("program.double: %x", *rt_mmio64(BANK1 + BLOCK + 0x100));
    rt_print("program.misaligned: %x", (uint64_t)*(volatile uint32_t *)(BANK1 + BLOCK + 0x102));
    command(BLOCK + 0x800, 0xe8);
    command(BLOCK + 0x800, 3);
    for (uint32_t i = 0; i < 4; i++)
        *at(BLOCK + 0x800 + 4 * i) = 0x1111 * (i + 1);
    command(BLOCK + 0x800, 0xd0);
    rt_print("buffer.status: %x", (uint64_t)status());
    for (uint32_t i = 0; i < 5; i++)
        rt_print("buffer.word%d: %x", (int64_t)i, (uint64_t)*at(BLOCK + 0x800 + 4 * i));
    rt_expect(*at(BLOCK + 0x80c) == 0x4444, "the last word of the buffer is %x", (uint64_t)*at(BLOCK + 0x80c));
}

/* Code in flash, from the array; then other code in its place. The second crosses a page. */
static void execute(void)
{
    static const uint32_t first[] = {0x00150513, 0x00008067};  /* addi a0, a0, 1; ret */
    static const uint32_t second[] = {0x00250513, 0x00008067}; /* addi a0, a0, 2; ret */

    for (uint32_t round = 0; round < 2; round++) {
        const uint32_t *code = round ? second : first;
        command(2 * BLOCK, 0x20);
        command(2 * BLOCK, 0xd0);
        for (uint32_t i = 0; i < 2; i++) {
            program(2 * BLOCK + 4 * i, code[i]);
            program(2 * BLOCK + 0xffc + 4 * i, code[i]);
        }
        rt_fence_i();
        for (uint32_t turn = 0; turn < 300; turn++) {
            struct outcome low = rt_probe(RT_M, BANK1 + 2 * BLOCK, 10, 0, 0);
            struct outcome high = rt_probe(RT_M, BANK1 + 2 * BLOCK + 0xffc, 20, 0, 0);
            /* That code runs which is in the array now: QEMU goes on with what was there. */
            if (round == 0 && turn == 0)
                rt_print("execute.round%d.%d: %d %d %s", (int64_t)round, (int64_t)turn, (int64_t)low.a0,
                         (int64_t)high.a0, rt_describe(&low, BANK1));
            rt_expect(low.a0 == 11 + round && high.a0 == 21 + round, "round %d: %d, %d", (int64_t)round,
                      (int64_t)low.a0, (int64_t)high.a0);
        }
    }
}

static void atomics(void)
{
    /* amoadd.w a0, a1, (a0) */
    struct outcome amo = rt_run1(RT_M, 0x00b5252f, BANK1, 0, 0);

    rt_print("amo: %s", rt_describe(&amo, (uint64_t)rt_code_buffer));
}

void bare_main(void)
{
    query();
    change();
    execute();
    atomics();
}
