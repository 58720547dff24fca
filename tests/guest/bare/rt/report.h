/* The report of a bare-metal program, for each machine: lines on a serial port, groups of cases, expectations. */
#ifndef TUFF_TESTS_GUEST_BARE_REPORT_H
#define TUFF_TESTS_GUEST_BARE_REPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Formats: %s %c %d (int64_t) %x (uint64_t, hex without 0x) and %%. */
void rt_print(const char *format, ...);
void rt_group_begin(const char *name);
void rt_group_line(const char *format, ...);
/* The same for a case that is only numbers: hashed as they are, which is cheaper by far than as text. */
void rt_group_numbers(const char *what, const uint64_t *values, size_t count);
void rt_group_end(void);
/* Prints "FAIL" with the text when `ok` is false, and the program will end with code 1. */
void rt_expect(bool ok, const char *format, ...);
_Noreturn void rt_exit(unsigned code);
/* As rt_print(), into a buffer. */
void rt_format(char *buffer, size_t size, const char *format, ...);
/* Lines of groups are printed, too: programs whose names end in -v are linked so. */
extern const bool rt_verbose;
/* Has an expectation failed? */
bool rt_failed(void);

/* The machine's: puts a byte on the serial port. */
void rt_console_char(char c);

static inline volatile uint32_t *rt_mmio32(uint64_t address)
{
    return (volatile uint32_t *)address;
}

static inline volatile uint64_t *rt_mmio64(uint64_t address)
{
    return (volatile uint64_t *)address;
}

#define RT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
