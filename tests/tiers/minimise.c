/* Minimising failing blocks: see minimise.h. */
#include "minimise.h"
#include "engine/isa/riscv/isa.h"

#include <string.h>

/* A try costs one start of the emulator, some tens of milliseconds; a block has about a hundred items. */

struct search {
    struct rand_prog *prog;
    uint32_t block, record;
    minimise_fails_fn fails;
    void *opaque;
};

static bool still_fails(const struct search *search)
{
    struct program program;
    rand_prog_single(&program, search->prog, search->block, search->record);
    bool fails = search->fails(search->opaque, &program);
    program_free(&program);
    return fails;
}

static void keep_first(struct rand_block *block, uint32_t count)
{
    for (uint32_t i = 0; i < block->count; i++)
        block->items[i].dropped = i >= count;
}

/* The least number of leading items that fail. `low` of them pass, `high` fail. */
static uint32_t shortest_prefix(const struct search *search, struct rand_block *block)
{
    uint32_t low = 0, high = block->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        keep_first(block, middle);
        if (still_fails(search))
            high = middle;
        else
            low = middle;
    }
    keep_first(block, high);
    return high;
}

bool minimise_block(struct rand_prog *prog, uint32_t block, uint32_t record, minimise_fails_fn fails, void *opaque)
{
    struct search search = {prog, block, record, fails, opaque};
    struct rand_block *code = &prog->blocks[block];
    if (!still_fails(&search))
        return false;
    uint32_t count = shortest_prefix(&search, code);
    for (uint32_t i = 0; i < count; i++) {
        code->items[i].dropped = true;
        if (!still_fails(&search))
            code->items[i].dropped = false;
    }
    return true;
}

struct register_use {
    uint32_t x, f; /* bit n: register n is named */
};

static void note_registers(struct register_use *use, const struct rv_insn *insn)
{
    uint32_t named = 1u << insn->rs1 | 1u << insn->rs2 | 1u << insn->rs3;
    if (insn->effects & RV_FP)
        use->f |= named;
    use->x |= named;
}

static void print_inputs(FILE *out, const struct rand_record *record, const struct register_use *use)
{
    for (unsigned i = 1; i < 32; i++) {
        if (use->x >> i & 1)
            fprintf(out, "    x%-2u = 0x%016llx\n", i, (unsigned long long)record->x[i]);
    }
    for (unsigned i = 0; i < 32; i++) {
        if (use->f >> i & 1)
            fprintf(out, "    f%-2u = 0x%016llx\n", i, (unsigned long long)record->f[i]);
    }
    fprintf(out, "    fcsr = 0x%02llx\n", (unsigned long long)record->fcsr);
}

void minimise_print(FILE *out, const struct rand_prog *prog, uint32_t block, uint32_t record)
{
    struct program body;
    struct register_use use = {0};
    program_init(&body, 8);
    rand_block_emit(&prog->blocks[block], &body);
    for (size_t at = 0; at < body.code_bytes;) {
        uint32_t bits = 0;
        char text[128];
        struct rv_insn insn;
        memcpy(&bits, body.code + at, body.code_bytes - at < 4 ? body.code_bytes - at : 4);
        rv_decode(bits, ISA_ALL, &insn);
        rv_disassemble(&insn, text, sizeof(text));
        fprintf(out, "    %4zx: %0*x  %s\n", at, insn.len_bytes * 2, insn.raw, text);
        note_registers(&use, &insn);
        at += insn.len_bytes;
    }
    program_free(&body);
    fprintf(out, "  inputs:\n");
    print_inputs(out, (const struct rand_record *)prog->program.data + record, &use);
}
