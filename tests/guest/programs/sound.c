/* sound play | sound record FRAMES: samples of 16 bits, 48 kHz, from standard input to the first card, or from it to
 * standard output; two channels when played, one when recorded. Through the kernel's own interface. */
#include "guest.h"

enum { O_RDWR = 2, ACCESS_INTERLEAVED = 3, FORMAT_S16 = 2, RATE = 48000, FRAMES = 1024, MASKS = 8, INTERVALS = 21 };
enum { CHANNELS = 2, RATES = 3, PERIOD_SIZE = 5, PERIODS = 7, FIRST_INTERVAL = 0 };

struct interval {
    uint32_t min, max, bits;
};

struct hw_params {
    uint32_t flags;
    uint32_t masks[MASKS][8];
    struct interval intervals[INTERVALS];
    uint32_t rmask, cmask, info, msbits, rate_num, rate_den;
    uint64_t fifo_size;
    uint8_t reserved[64];
};

struct transfer {
    int64_t result;
    void *buffer;
    uint64_t frames;
};

_Static_assert(sizeof(struct hw_params) == 608, "as the kernel has it");

#define IOCTL(direction, number, bytes) ((long)(direction) << 30 | (long)(bytes) << 16 | 'A' << 8 | (number))

static void set_interval(struct hw_params *params, unsigned which, uint32_t value)
{
    params->intervals[which] = (struct interval){.min = value, .max = value, .bits = 4};
}

static struct hw_params params;
static uint8_t samples[FRAMES * 4];

int guest_main(int argc, char **argv)
{
    bool play = argc == 2 && same(argv[1], "play");
    const char *path = play ? "/dev/snd/pcmC0D0p" : "/dev/snd/pcmC0D0c";
    uint64_t left = play ? UINT64_MAX : number(argv[2]);
    size_t frame = play ? 4 : 2;
    int fd = (int)must("open", sys(SYS_OPENAT, AT_FDCWD, (long)path, O_RDWR, 0, 0));

    for (unsigned i = 0; i < MASKS; i++) {
        for (unsigned word = 0; word < 8; word++)
            params.masks[i][word] = UINT32_MAX;
    }
    for (unsigned i = 0; i < INTERVALS; i++)
        params.intervals[i].max = UINT32_MAX;
    for (unsigned word = 0; word < 8; word++)
        params.masks[0][word] = params.masks[1][word] = 0;
    params.masks[0][0] = 1u << ACCESS_INTERLEAVED;
    params.masks[1][0] = 1u << FORMAT_S16;
    set_interval(&params, CHANNELS, play ? 2 : 1);
    set_interval(&params, RATES, RATE);
    set_interval(&params, PERIOD_SIZE, FRAMES);
    set_interval(&params, PERIODS, 4);
    params.rmask = UINT32_MAX;
    must("parameters", sys(SYS_IOCTL, fd, IOCTL(3, 0x11, sizeof(params)), (long)&params, 0, 0));
    must("prepare", sys(SYS_IOCTL, fd, IOCTL(0, 0x40, 0), 0, 0, 0));
    while (left) {
        struct transfer transfer = {.buffer = samples, .frames = left < FRAMES ? left : FRAMES};
        if (play) {
            size_t len = 0;
            for (long got = 1; got > 0 && len < sizeof(samples); len += (size_t)got)
                got = must("read", sys(SYS_READ, 0, (long)samples + (long)len, (long)(sizeof(samples) - len), 0, 0));
            transfer.frames = len / frame;
            if (!transfer.frames)
                break;
        }
        must("transfer",
             sys(SYS_IOCTL, fd, IOCTL(play ? 1 : 2, play ? 0x50 : 0x51, sizeof(transfer)), (long)&transfer, 0, 0));
        if (!play)
            write_all(1, samples, transfer.frames * frame);
        left -= transfer.frames;
    }
    if (play)
        must("drain", sys(SYS_IOCTL, fd, IOCTL(0, 0x44, 0), 0, 0, 0));
    return 0;
}
