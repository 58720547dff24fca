/* What --dump wants, and a compiled block as text; see dump.h. */
#include "engine/region/dump.h"

#include "base/symbols.h"
#include "engine/isa/riscv/decode.h"
#include "engine/region/region_cache.h"

#include <inttypes.h>
#include <string.h>

bool dump_wants_insn(const struct tier_config *config, uint64_t gva, unsigned len_bytes)
{
    const struct tier_dump *dump = &config->dump;
    uint64_t behind_start;

    if (gva > dump->last || gva + len_bytes - 1 < dump->first)
        return false;
    if (!dump->symbol)
        return true;
    const char *name = config->symbols ? symbols_find(config->symbols, gva, &behind_start) : NULL;
    return name && strcmp(name, dump->symbol) == 0;
}

bool dump_wants_block(const struct hart *h, const struct block *block, uint64_t pc)
{
    const struct tier_config *config = h->region_cache ? &h->region_cache->config : NULL;

    if (!config || !(config->dump.what & TIER_DUMP_BLOCK))
        return false;
    for (unsigned i = 0; i < block->insns; i++) {
        const struct op *op = &block->ops[i];
        if (dump_wants_insn(config, pc + op_offset(op), (unsigned)op_len_bytes(op)))
            return true;
    }
    return false;
}

/* The host code from `at` to `end`, offsets in the block's. */
static void print_host(const struct region_cache *cache, const uint8_t *code, size_t at, size_t end)
{
    FILE *out = cache->config.dump_to;
    char text[160];

    while (at < end) {
        size_t bytes = cache->ops->disassemble(cache->tier, code + at, end - at, text, sizeof(text));
        fprintf(out, "    %12" PRIxPTR "  %s\n", (uintptr_t)(code + at), bytes ? text : "(not an instruction)");
        at += bytes ? bytes : 1;
    }
}

void dump_block(const struct hart *h, const struct block *block, uint64_t pc, const struct baseline_map *map)
{
    const struct region_cache *cache = h->region_cache;
    FILE *out = cache->config.dump_to;
    char label[SYMBOLS_LABEL_BYTES];
    size_t bytes;
    const uint8_t *code = baseline_code(h, block, &bytes);

    flockfile(out); /* of several harts, one block at a time */
    fprintf(out, "; block at %s: %" PRIu32 " instructions, %zu bytes of host code\n",
            symbols_label(cache->config.symbols, pc, label), block->insns, bytes);
    print_host(cache, code, 0, map->op[0]);
    for (unsigned i = 0; i < block->insns; i++) {
        struct rv_insn insn;
        struct op op;
        char text[96];
        block_decode_insn(h, block, i, &insn, &op);
        (void)rv_disassemble(&insn, text, sizeof(text));
        fprintf(out, "; %" PRIx64 "  %s\n", pc + op_offset(&op), text);
        print_host(cache, code, map->op[i], map->op[i + 1]);
    }
    if (map->op[block->insns] < bytes)
        fprintf(out, "; ways out, slow paths\n");
    print_host(cache, code, map->op[block->insns], bytes);
    fprintf(out, "\n");
    funlockfile(out);
}
