/* The command `tuff`. Everything is in the library beside it, where tests reach it. */
#include "base/tsan_guest.h"
#include "cli/command.h"

#include <openssl/crypto.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A standard descriptor that whoever started us has closed would be given to the next file opened here, and the guest's
 * output or a message would go into that. /dev/null takes its place, opened the wrong way round: what cannot be read or
 * written still is an error. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); // NOLINT(android-cloexec-open)
    }
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    /* Digests and the guest's ciphers need nothing that the system's openssl.cnf sets up, which takes 0.7 ms. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    return command_main(argc, (const char *const *)argv);
}
