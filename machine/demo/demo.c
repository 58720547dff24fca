/* The demonstration's main loop: a banner, then lines from the serial port to commands. */
#include "demo.h"

enum { LINE_BYTES = 80 };

static void read_line(char line[LINE_BYTES])
{
    unsigned len = 0;

    for (;;) {
        char c = console_getc();
        if (c == '\r' || c == '\n') {
            put_char('\n');
            line[len] = '\0';
            return;
        }
        if ((c == 0x7f || c == '\b') && len) {
            put_text("\b \b");
            len--;
        } else if (c >= ' ' && c < 0x7f && len < LINE_BYTES - 1) {
            put_char(c);
            line[len++] = c;
        }
    }
}

void demo_trap(uint64_t cause, uint64_t epc, uint64_t tval)
{
    put_text("\nunexpected trap: mcause ");
    put_hex(cause);
    put_text(" mepc ");
    put_hex(epc);
    put_text(" mtval ");
    put_hex(tval);
    put_text("\n");
    machine_end(1);
}

void demo_main(uint64_t hart, const void *tree)
{
    static struct tree_facts facts;
    char line[LINE_BYTES];

    console_init(hart);
    tree_read(tree, &facts);
    commands_init(hart, &facts);
    put_text("\nHello from bare metal: no kernel, no firmware, riscv64 in M-mode.\n");
    if (facts.valid) {
        put_number(facts.harts);
        put_text(facts.harts == 1 ? " hart, " : " harts, ");
        put_number(facts.memory_bytes >> 20);
        put_text(" MiB of memory. ");
    }
    put_text("Type help.\n");
    for (;;) {
        put_text("demo> ");
        read_line(line);
        command_line(line);
    }
}
