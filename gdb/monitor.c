/* `monitor` in gdb: what its own commands do not reach. */
#include "gdb/registers.h"
#include "gdb/stub_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Output is a packet with the text in hexadecimal. */
TUFF_PRINTF(2, 3) static void say(struct gdb_stub *stub, const char *format, ...)
{
    char text[2048];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0)
        return;
    size_t shown = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    struct gdb_writer *w = gdb_reply(stub);
    gdb_writer_print(w, "O");
    gdb_writer_hex(w, text, shown);
    gdb_reply_end(stub);
}

static void say_harts(struct gdb_stub *stub)
{
    for (uint32_t i = 0; i < stub->target.hart_count; i++) {
        struct vcpu_state state;
        char text[256];
        vcpu_get_state(stub->target.vcpus[i], &state);
        gdb_registers_of(&state)->summarise(&state, text, sizeof(text));
        say(stub, "%c hart %" PRIu32 ": %s, %s\n", i == stub->hart ? '*' : ' ', i,
            stub->target.hart_text(stub->target.opaque, i), text);
    }
}

static void say_translation(struct gdb_stub *stub, const char *text)
{
    uint64_t gva, gpa;

    text += strspn(text, " ");
    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    if (!gdb_parse_number(&text, &gva) || *text) {
        say(stub, "translate: give an address, in hexadecimal\n");
        return;
    }
    if (vcpu_translate(stub->target.vcpus[stub->hart], gva, &gpa) != 0)
        say(stub, "0x%" PRIx64 " is not mapped on hart %" PRIu32 "\n", gva, stub->hart);
    else
        say(stub, "0x%" PRIx64 " is physical 0x%" PRIx64 "\n", gva, gpa);
}

static void say_help(struct gdb_stub *stub)
{
    say(stub, "harts              what each hart is doing\n"
              "translate ADDRESS  the physical address behind a virtual one\n"
              "physical on|off    gdb's commands mean physical addresses of memory\n"
              "quit               end the virtual machine\n");
}

void gdb_do_monitor(struct gdb_stub *stub, const char *text)
{
    text += strspn(text, " ");
    if (strcmp(text, "harts") == 0)
        say_harts(stub);
    else if (strncmp(text, "translate ", 10) == 0)
        say_translation(stub, text + 10);
    else if (strcmp(text, "physical on") == 0)
        stub->physical = true;
    else if (strcmp(text, "physical off") == 0)
        stub->physical = false;
    else if (strcmp(text, "quit") == 0)
        stub->target.quit(stub->target.opaque);
    else
        say_help(stub);
    gdb_reply_text(stub, "OK");
}
