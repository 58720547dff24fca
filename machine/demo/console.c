/* The serial port. While no byte is there the hart sleeps in WFI until the UART's interrupt comes through the PLIC.
 * Interrupts stay globally off: WFI wakes all the same (Privileged Architecture, section 3.3.3), and no handler is
 * needed. */
#include "demo.h"

enum {
    UART_DATA = 0,
    UART_IER = 1,
    UART_LCR = 3,
    UART_LSR = 5,
    IER_RECEIVE = 1,
    LCR_8N1 = 3,
    LSR_READY = 1,
    LSR_EMPTY = 0x20,
    UART_SOURCE = 10,
    MIE_MEIE = 1 << 11,
};

static volatile uint8_t *const uart = (volatile uint8_t *)0x10000000;
static const uintptr_t PLIC = 0xc000000;
static volatile uint32_t *claim;

static volatile uint32_t *plic(uintptr_t offset)
{
    return (volatile uint32_t *)(PLIC + offset);
}

void console_init(uint64_t hart)
{
    uint64_t context = 2 * hart; /* M-mode; the next one is S-mode's */

    /* The FIFOs stay off: switching them on empties them (PC16550D, section 8.5), and with them the byte that may
     * already wait when input comes from a pipe. */
    uart[UART_LCR] = LCR_8N1;
    uart[UART_IER] = IER_RECEIVE;
    *plic(UART_SOURCE * 4) = 1;
    *plic(0x2000 + context * 0x80) = 1u << UART_SOURCE;
    *plic(0x200000 + context * 0x1000) = 0;
    claim = plic(0x200004 + context * 0x1000);
    __asm__ volatile("csrs mie, %0" : : "r"((uint64_t)MIE_MEIE));
}

char console_getc(void)
{
    uint32_t source;

    while (!(uart[UART_LSR] & LSR_READY)) {
        __asm__ volatile("wfi" : : : "memory");
        source = *claim;
        if (source)
            *claim = source;
    }
    return (char)uart[UART_DATA];
}

static void put_raw(char c)
{
    while (!(uart[UART_LSR] & LSR_EMPTY))
        ;
    uart[UART_DATA] = (uint8_t)c;
}

void put_char(char c)
{
    if (c == '\n')
        put_raw('\r');
    put_raw(c);
}

void put_text(const char *text)
{
    while (*text)
        put_char(*text++);
}

void put_number(uint64_t value)
{
    char digits[20];
    unsigned len = 0;

    do {
        digits[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (len)
        put_char(digits[--len]);
}

void put_hex(uint64_t value)
{
    put_text("0x");
    for (int shift = 60; shift >= 0; shift -= 4) {
        if (value >> shift || shift == 0)
            put_char("0123456789abcdef"[value >> shift & 15]);
    }
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}
