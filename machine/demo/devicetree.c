/* A few facts out of the flattened device tree (Devicetree Specification 0.4, chapter 5), by one walk over its tokens.
 * The walk stays inside the tree's own size. */
#include "demo.h"

enum { MAGIC = 0xd00dfeed, BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, MAX_TREE_BYTES = 1 << 20 };

struct walk {
    const uint8_t *at, *end;
    const char *strings;
    uint32_t strings_len;
    unsigned depth;
    bool in_memory; /* in /memory@... */
};

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t be64(const uint8_t *at)
{
    return (uint64_t)be32(at) << 32 | be32(at + 4);
}

static bool starts_with(const char *text, const char *start)
{
    while (*start && *text == *start) {
        text++;
        start++;
    }
    return !*start;
}

static void copy_text(char *to, uint32_t room, const uint8_t *from, uint32_t len)
{
    uint32_t i = 0;

    for (; i + 1 < room && i < len && from[i]; i++)
        to[i] = (char)from[i];
    to[i] = '\0';
}

static void property(const struct walk *walk, const char *name, const uint8_t *value, uint32_t len,
                     struct tree_facts *facts)
{
    if (walk->depth == 1 && text_equal(name, "model"))
        copy_text(facts->model, sizeof(facts->model), value, len);
    else if (text_equal(name, "device_type") && len == 4 && text_equal((const char *)value, "cpu"))
        facts->harts++;
    else if (text_equal(name, "riscv,isa") && !facts->isa[0])
        copy_text(facts->isa, sizeof(facts->isa), value, len);
    else if (walk->in_memory && text_equal(name, "reg") && len >= 16)
        facts->memory_bytes += be64(value + 8);
}

static bool node_begin(struct walk *walk)
{
    const uint8_t *name = walk->at;
    uint32_t len = 0;

    while (walk->at + len < walk->end && walk->at[len])
        len++;
    if (walk->at + len >= walk->end)
        return false;
    walk->depth++;
    walk->in_memory = walk->depth == 2 && starts_with((const char *)name, "memory@");
    walk->at += (len + 4) & ~3u; /* with its zero, padded to a word */
    return true;
}

static bool property_token(struct walk *walk, struct tree_facts *facts)
{
    uint32_t len, name;

    if (walk->end - walk->at < 8)
        return false;
    len = be32(walk->at);
    name = be32(walk->at + 4);
    walk->at += 8;
    if (name >= walk->strings_len || (uint64_t)(walk->end - walk->at) < len)
        return false;
    property(walk, walk->strings + name, walk->at, len, facts);
    walk->at += ((uint64_t)len + 3) & ~3ull;
    return true;
}

static bool token(struct walk *walk, struct tree_facts *facts)
{
    uint32_t kind = be32(walk->at);

    walk->at += 4;
    switch (kind) {
    case BEGIN_NODE:
        return node_begin(walk);
    case END_NODE:
        walk->depth--;
        walk->in_memory = false;
        return walk->depth > 0;
    case PROP:
        return property_token(walk, facts);
    case NOP:
        return true;
    default:
        return false;
    }
}

void tree_read(const void *tree, struct tree_facts *facts)
{
    const uint8_t *head = tree;
    struct walk walk = {0};
    uint32_t total;

    if (!tree || ((uintptr_t)tree & 7) || be32(head) != MAGIC)
        return;
    total = be32(head + 4);
    if (total < 40 || total > MAX_TREE_BYTES || be32(head + 8) >= total || be32(head + 12) >= total)
        return;
    walk.at = head + be32(head + 8);
    walk.end = head + total;
    walk.strings = (const char *)head + be32(head + 12);
    walk.strings_len = total - be32(head + 12);
    while (walk.end - walk.at >= 4 && token(&walk, facts))
        ;
    facts->valid = facts->harts > 0;
}
