/* vsock connect PORT | vsock listen PORT: standard input and output through a connection to the host, or through the
 * first one that comes in. */
#include "guest.h"

enum { AF_VSOCK = 40, SOCK_STREAM = 1, HOST = 2, SHUT_WR = 1 };

struct sockaddr_vm {
    uint16_t family, reserved;
    uint32_t port, cid;
    uint8_t flags, zero[3];
};

static int open_connection(bool listens, uint32_t port)
{
    const struct sockaddr_vm address = {.family = AF_VSOCK, .port = port, .cid = listens ? UINT32_MAX : HOST};
    int fd = (int)must("socket", sys(SYS_SOCKET, AF_VSOCK, SOCK_STREAM, 0, 0, 0));

    if (!listens) {
        must("connect", sys(SYS_CONNECT, fd, (long)&address, sizeof(address), 0, 0));
        return fd;
    }
    must("bind", sys(SYS_BIND, fd, (long)&address, sizeof(address), 0, 0));
    must("listen", sys(SYS_LISTEN, fd, 1, 0, 0, 0));
    return (int)must("accept", sys(SYS_ACCEPT, fd, 0, 0, 0, 0));
}

int guest_main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int fd = open_connection(same(argv[1], "listen"), (uint32_t)number(argv[2]));
    if (must("clone", sys(SYS_CLONE, SIGCHLD, 0, 0, 0, 0)) == 0) {
        copy(0, fd);
        sys(SYS_SHUTDOWN, fd, SHUT_WR, 0, 0, 0);
        return 0;
    }
    copy(fd, 1);
    sys(SYS_WAIT4, -1, 0, 0, 0, 0);
    return 0;
}
