/* What the test programs for a Linux guest stand on: system calls of riscv64 without a C library, so that the compiler
 * that builds Tuff is all they need. A program is `int guest_main(int argc, char **argv)`. */
#ifndef TUFF_TESTS_GUEST_PROGRAMS_GUEST_H
#define TUFF_TESTS_GUEST_PROGRAMS_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SYS_IOCTL = 29,
    SYS_OPENAT = 56,
    SYS_CLOSE = 57,
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_EXIT = 93,
    SYS_SOCKET = 198,
    SYS_BIND = 200,
    SYS_LISTEN = 201,
    SYS_ACCEPT = 202,
    SYS_CONNECT = 203,
    SYS_SETSOCKOPT = 208,
    SYS_SHUTDOWN = 210,
    SYS_SENDMSG = 211,
    SYS_CLONE = 220,
    SYS_WAIT4 = 260,
    AT_FDCWD = -100,
    SIGCHLD = 17,
};

static inline long sys(long number, long a, long b, long c, long d, long e)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
    return a0;
}

int guest_main(int argc, char **argv);

/* Ends the program with a message when a call failed. */
long must(const char *what, long result);
void say(const char *text);
void say_hex(const uint8_t *bytes, size_t len);
size_t length(const char *text);
bool same(const char *a, const char *b);
uint64_t number(const char *text);
void write_all(int fd, const void *bytes, size_t len);
/* Until the end, or until it cannot be written. */
void copy(int from, int to);

#endif
