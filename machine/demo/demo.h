/* The bare-metal demonstration: a small shell on the virt board's serial port, without an operating system or libc. */
#ifndef TUFF_MACHINE_DEMO_DEMO_H
#define TUFF_MACHINE_DEMO_DEMO_H

#include <stdbool.h>
#include <stdint.h>

/* console.c: the 16550A at 0x10000000, with sleep instead of polling while nobody types */
void console_init(uint64_t hart);
char console_getc(void);
void put_char(char c);
void put_text(const char *text);
void put_number(uint64_t value);
void put_hex(uint64_t value);
bool text_equal(const char *a, const char *b);

/* devicetree.c */
struct tree_facts {
    bool valid;
    uint32_t harts;
    uint64_t memory_bytes;
    char model[64];
    char isa[256]; /* of the first hart */
};
void tree_read(const void *tree, struct tree_facts *facts);

/* commands.c */
struct command {
    const char *name;
    const char *help;
    void (*run)(const char *argument);
};
void commands_init(uint64_t hart, const struct tree_facts *facts);
void command_line(char *line);
_Noreturn void machine_end(uint32_t code); /* 0: powered off well */

void demo_main(uint64_t hart, const void *tree);
void demo_trap(uint64_t cause, uint64_t epc, uint64_t tval);

#endif
