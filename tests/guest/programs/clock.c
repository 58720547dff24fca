/* clock PORT: answers questions of the host about time over a connection to it (vsock). A question is a number of
 * nanoseconds, 8 bytes; for 0 the answer comes at once, else when CLOCK_MONOTONIC has gone on by so much, which a timer
 * tells the sleeping program; UINT64_MAX keeps the hart busy for a second instead. An answer is three numbers: `time`
 * by the instruction rdtime, in the board's ticks of 100 ns, CLOCK_MONOTONIC in nanoseconds, and by how much the timer
 * was late. */
#include "guest.h"

enum { AF_VSOCK = 40, SOCK_STREAM = 1, HOST = 2 };
enum { SYS_CLOCK_GETTIME = 113, SYS_CLOCK_NANOSLEEP = 115, CLOCK_MONOTONIC = 1, TIMER_ABSTIME = 1 };

struct sockaddr_vm {
    uint16_t family, reserved;
    uint32_t port, cid;
    uint8_t flags, zero[3];
};

struct timespec {
    int64_t s, ns;
};

static uint64_t monotonic(void)
{
    struct timespec now;

    must("clock_gettime", sys(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, (long)&now, 0, 0, 0));
    return (uint64_t)now.s * 1000000000 + (uint64_t)now.ns;
}

static uint64_t ticks(void)
{
    uint64_t value;

    __asm__ volatile("rdtime %0" : "=r"(value));
    return value;
}

int guest_main(int argc, char **argv)
{
    uint64_t question;

    if (argc != 2)
        return 2;
    const struct sockaddr_vm address = {.family = AF_VSOCK, .port = (uint32_t)number(argv[1]), .cid = HOST};
    int fd = (int)must("socket", sys(SYS_SOCKET, AF_VSOCK, SOCK_STREAM, 0, 0, 0));
    must("connect", sys(SYS_CONNECT, fd, (long)&address, sizeof(address), 0, 0));
    while (sys(SYS_READ, fd, (long)&question, sizeof(question), 0, 0) == sizeof(question)) {
        uint64_t answer[3] = {0};
        uint64_t end = monotonic();
        if (question == UINT64_MAX) {
            for (end += 1000000000; monotonic() < end;)
                ;
        } else if (question) {
            end += question;
            const struct timespec until = {(int64_t)(end / 1000000000), (int64_t)(end % 1000000000)};
            must("clock_nanosleep", sys(SYS_CLOCK_NANOSLEEP, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0, 0));
            answer[2] = monotonic() - end;
        }
        answer[0] = ticks();
        answer[1] = monotonic();
        write_all(fd, answer, sizeof(answer));
    }
    return 0;
}
