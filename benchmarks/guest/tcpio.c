/* TCP throughput: tcpio ADDRESS PORT send|receive SECONDS. The other side (benchmarks/vm) reads the first line and then
 * receives or sends as that says. Prints "tcp-send MIB_A_SECOND" or "tcp-receive MIB_A_SECOND".
 * A static program of its own, which benchmarks/vm runs in the guest. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buf[256 << 10];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    printf("FAILED %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char answer;

    if (argc != 5 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        return fail("arguments");
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    int send = strcmp(argv[3], "send") == 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) || dprintf(fd, "%s\n", argv[3]) < 0)
        return fail("connect");
    double start = now(), end = start + atof(argv[4]);
    uint64_t total = 0;
    while (now() < end) {
        ssize_t done = send ? write(fd, buf, sizeof(buf)) : read(fd, buf, sizeof(buf));
        if (done <= 0)
            return fail(argv[3]);
        total += (uint64_t)done;
    }
    /* What was sent counts when it has arrived. */
    if (send && (shutdown(fd, SHUT_WR) || read(fd, &answer, 1) != 1))
        return fail("the end");
    printf("tcp-%s %.1f\n", argv[3], (double)total / (now() - start) / (1 << 20));
    return 0;
}
