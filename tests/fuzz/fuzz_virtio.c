/* Fuzz target: requests to one of several virtio devices, which the first byte chooses. The rest is requests that begin
 * as their driver makes them and are spoilt in places, descriptors and bytes anywhere, register and configuration
 * accesses, saved states, and what the host does meanwhile. Besides not crashing:
 *
 *   - a device that is reset works: it gives back a right request
 *
 * Loops do not run: a device's turns are operations of the input.
 */
#include "base/loop.h"
#include "dev/block/block_image.h"
#include "dev/device_state.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_crypto.h"
#include "dev/virtio/virtio_input.h"
#include "dev/virtio/virtio_scsi.h"
#include "dev/virtio/virtio_sound.h"
#include "dev/virtio/virtio_vsock.h"
#include "fuzz_device.h"
#include "mem/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    RAM_GPA = 0x80000000,
    RAM_BYTES = 0x40000,
    QUEUES_MAX = 8,
    RING_STEP = 0x3000,
    RING_SIZE = 16,
    DATA_GPA = RAM_GPA + QUEUES_MAX * RING_STEP, /* requests, one behind the other, round and round */
    DATA_BYTES = RAM_GPA + RAM_BYTES - DATA_GPA,
    REQUEST_BYTES = 256,
    OPERATIONS_MAX = 250,
};

/* A device as this target sees it. */
struct kind {
    int (*create)(struct mem *mem, struct virtio_device **out);
    /* Writes the part of a request for `queue` that the device reads, up to REQUEST_BYTES, and returns its length; with
     * `r` NULL one that is right, for queue `works`. */
    size_t (*request)(uint8_t *bytes, unsigned queue, struct reader *r);
    void (*host)(struct virtio_device *dev, struct reader *r); /* NULL: it does nothing */
    unsigned queues;
    unsigned works;    /* the queue of the request that shows that the device works */
    uint32_t writable; /* that request's other part */
};

static struct loop *loop;
static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Reads all of it. */
static unsigned sum_of(const uint8_t *bytes, size_t len)
{
    unsigned sum = 0;

    while (len--)
        sum += *bytes++;
    return sum;
}

static void put(uint8_t *bytes, size_t at, uint64_t value, size_t len)
{
    memcpy(bytes + at, &value, len);
}

/* ---- sockets ---- */

static int make_vsock(struct mem *mem, struct virtio_device **out)
{
    const struct virtio_vsock_config config = {.mem = mem, .loop = loop, .cid = 3, .path = in_folder("v")};

    return virtio_vsock_create(&config, out, NULL);
}

static size_t vsock_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    size_t len = r ? take(r, 1) % 200 : 0;

    put(bytes, 0, 3, 8);
    put(bytes, 8, 2, 8);
    put(bytes, 16, r ? take(r, 1) % 4 : 1, 4);
    put(bytes, 20, r ? take(r, 1) % 3 : 1, 4); /* to port 1 of the host somebody listens */
    put(bytes, 24, len, 4);
    put(bytes, 28, 1, 2);
    put(bytes, 30, r ? take(r, 1) % 9 : 1, 2);
    put(bytes, 32, r ? take(r, 1) : 0, 4);
    put(bytes, 36, r ? take(r, 2) : 65536, 4);
    put(bytes, 40, r ? take(r, 1) : 0, 4);
    return 44 + len;
}

/* ---- console ---- */

static int make_console(struct mem *mem, struct virtio_device **out)
{
    static const struct virtio_console_port_config ports[] = {{0}, {.name = "channel"}};
    const struct virtio_console_config config = {
        .mem = mem, .loop = loop, .ports = ports, .port_count = 2, .columns = 80, .rows = 25};

    return virtio_console_create(&config, out);
}

static size_t console_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    if (queue != 3)
        return r ? take(r, 1) : 5;
    put(bytes, 0, take(r, 1) % 3, 4);
    put(bytes, 4, take(r, 1) % 8, 2);
    put(bytes, 6, take(r, 1) % 3, 2);
    return 8;
}

static void console_host(struct virtio_device *dev, struct reader *r)
{
    static const uint8_t bytes[256];

    switch (take(r, 1) % 3) {
    case 0:
        require(virtio_console_receive(dev, (unsigned)take(r, 1) % 2, bytes, take(r, 1)) <= sizeof(bytes));
        break;
    case 1:
        virtio_console_resize(dev, (uint16_t)take(r, 1), (uint16_t)take(r, 1));
        break;
    default:
        virtio_console_stop(dev); /* takes all that waits */
        break;
    }
}

/* ---- disk ---- */

static struct block_image *open_disk(void)
{
    const struct block_image_options options = {.snapshot = true};
    struct block_image *image;

    require(block_image_open(in_folder("disk"), &options, loop, &image, NULL) == 0);
    return image;
}

static int make_blk(struct mem *mem, struct virtio_device **out)
{
    const struct virtio_blk_config config = {.mem = mem, .loop = loop, .queues = 2, .image = open_disk()};

    return virtio_blk_create(&config, out);
}

static size_t blk_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    static const uint8_t types[] = {0, 1, 4, 8, 11, 13, 99};
    uint8_t type = r ? types[take(r, 1) % sizeof(types)] : 8;

    put(bytes, 0, type, 8);
    put(bytes, 8, r ? take(r, 1) : 0, 8);
    if (type < 11)
        return 16 + (type == 1 ? 128 : 0);
    put(bytes, 16, take(r, 1), 8);
    put(bytes, 24, take(r, 1), 4);
    put(bytes, 28, take(r, 1) % 3, 4);
    return 32;
}

static int make_scsi(struct mem *mem, struct virtio_device **out)
{
    const struct virtio_scsi_unit_config unit = {.image = open_disk()};
    const struct virtio_scsi_config config = {.mem = mem, .loop = loop, .units = &unit, .unit_count = 1, .queues = 2};

    return virtio_scsi_create(&config, out);
}

static size_t scsi_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    static const uint8_t commands[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x2f, 0x35,
                                       0x41, 0x42, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xff};
    uint8_t *cdb = bytes + 19;

    memset(bytes, 0, 51);
    if (queue < 2) {
        put(bytes, 0, take(r, 1) % 4, 4);
        put(bytes, 4, take(r, 1) % 9, 4);
        put(bytes, 8, take(r, 1) % 2 ? 1 : take(r, 4), 4);
        return 24;
    }
    bytes[0] = 1;
    if (!r) {
        cdb[0] = 0x12;
        cdb[4] = 36;
        return 51;
    }
    bytes[3] = take(r, 1) == 1;
    cdb[0] = commands[take(r, 1) % sizeof(commands)];
    cdb[1] = (uint8_t)take(r, 1) & 0x1f;
    cdb[2] = take(r, 1) % 4 ? 0 : 0x3f;
    for (unsigned i = 3; i < 14; i++) {
        uint8_t value = (uint8_t)take(r, 1);
        cdb[i] = value < 0xa0 ? 0 : value & 0x3f;
    }
    cdb[8] = cdb[8] ? cdb[8] : 24;
    put(bytes, 51 + 3, take(r, 1) % 64, 1); /* the length of an UNMAP's list */
    put(bytes, 51 + 15, take(r, 1), 1);
    put(bytes, 51 + 19, take(r, 1), 1);
    return 51 + take(r, 1) % 200;
}

/* ---- crypto ---- */

static int make_crypto(struct mem *mem, struct virtio_device **out)
{
    const struct virtio_crypto_config config = {.mem = mem, .loop = loop};

    return virtio_crypto_create(&config, out);
}

static size_t crypto_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    static const uint8_t lengths[] = {0, 16, 24, 32, 64, 12, 8, 1};
    unsigned service = r ? take(r, 1) % 5 : 1;

    memset(bytes, 0, REQUEST_BYTES);
    if (queue == 1) {
        uint32_t algo = r ? (uint32_t)take(r, 1) % 28 : 4;
        put(bytes, 0, service << 8 | (r && take(r, 1) % 4 == 0 ? 3 : 2), 4);
        put(bytes, 16, r && bytes[0] == 3 ? take(r, 1) % 8 : algo, 4);
        put(bytes, 20, r ? lengths[take(r, 1) % 8] : 32, 4);
        put(bytes, 24, r ? lengths[take(r, 1) % 8] : 0, 4);
        put(bytes, 64, 1, 4);
        return 72 + 64;
    }
    put(bytes, 0, service << 8 | (take(r, 1) & 1), 4);
    put(bytes, 8, take(r, 1) % 8, 8);
    for (unsigned i = 0; i < 4; i++)
        put(bytes, 24 + 4 * (size_t)i, lengths[take(r, 1) % 8], 4);
    put(bytes, 64, 1, 4);
    return 72 + take(r, 1) % 128;
}

/* ---- input, sound ---- */

static int make_input(struct mem *mem, struct virtio_device **out)
{
    const struct virtio_input_config config = {
        .mem = mem, .loop = loop, .kind = VIRTIO_INPUT_KEYBOARD, .path = in_folder("fifo")};

    return virtio_input_create(&config, out, NULL);
}

static size_t input_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    put(bytes, 0, r ? take(r, 8) : 17, 8);
    return r ? take(r, 1) % 9 : 8;
}

static void silence(struct sound_end *end, uint8_t *bytes, size_t len)
{
    memset(bytes, 0, len);
}

static void listen_to(struct sound_end *end, const uint8_t *bytes, size_t len)
{
    require(len % (end->channels * SOUND_SAMPLE_BYTES) == 0);
    (void)sum_of(bytes, len);
}

static void leave_end(struct sound_end *end)
{
}

static int make_sound(struct mem *mem, struct virtio_device **out)
{
    static const struct sound_end_ops plays = {.write = listen_to, .destroy = leave_end};
    static const struct sound_end_ops records = {.read = silence, .destroy = leave_end};
    static struct sound_end output = {&plays, SOUND_RATE, SOUND_CHANNELS}, input = {&records, 8000, 1};
    const struct virtio_sound_config config = {.mem = mem, .loop = loop, .output = &output, .input = &input};

    return virtio_sound_create(&config, out);
}

static size_t sound_request(uint8_t *bytes, unsigned queue, struct reader *r)
{
    if (!r) {
        put(bytes, 0, 0x100, 4);
        put(bytes, 4, 0, 4);
        put(bytes, 8, 2, 4);
        put(bytes, 12, 32, 4);
        return 16;
    }
    if (queue >= 2) {
        put(bytes, 0, take(r, 1) % 3, 4);
        return 4 + take(r, 1) % 200;
    }
    put(bytes, 0, 0x100 + take(r, 1) % 7, 4);
    put(bytes, 4, take(r, 1) % 3, 4);
    put(bytes, 8, 64, 4);
    put(bytes, 12, 32, 4);
    put(bytes, 16, 0, 4);
    put(bytes, 20, bytes[4] ? 0x010501 : 0x070502, 4);
    return 24;
}

static const struct kind kinds[] = {
    {make_vsock, vsock_request, NULL, 3, 1, 0},    {make_console, console_request, console_host, 6, 1, 0},
    {make_blk, blk_request, NULL, 2, 0, 21},       {make_scsi, scsi_request, NULL, 4, 2, 200},
    {make_crypto, crypto_request, NULL, 2, 1, 16}, {make_input, input_request, NULL, 2, 1, 0},
    {make_sound, sound_request, NULL, 4, 0, 68},
};

/* ---- the driver ---- */

struct driver {
    const struct kind *kind;
    struct mem *mem;
    uint8_t *ram;
    struct virtio_device *dev;
    unsigned data; /* where in the data area the next request goes */
};

static uint8_t *at_gpa(struct driver *d, uint64_t gpa)
{
    return d->ram + (gpa - RAM_GPA);
}

static uint64_t part_gpa(unsigned queue, unsigned part)
{
    return RAM_GPA + queue * (uint64_t)RING_STEP + part * (uint64_t)(RING_STEP / 3);
}

static void start(struct driver *d, uint64_t features)
{
    struct virtio_device *dev = d->dev;

    virtio_set_status(dev, 0);
    virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    features = (features | VIRTIO_F_VERSION_1) & dev->offered & ~VIRTIO_F_RING_PACKED;
    virtio_set_driver_features(dev, 0, (uint32_t)features);
    virtio_set_driver_features(dev, 1, (uint32_t)(features >> 32));
    virtio_set_status(dev, VIRTIO_STATUS_FEATURES_OK);
    memset(d->ram, 0, DATA_GPA - RAM_GPA);
    for (uint32_t queue = 0; queue < d->kind->queues; queue++) {
        virtio_queue_set_size(dev, queue, RING_SIZE);
        for (unsigned part = 0; part < 3; part++) {
            virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, false, (uint32_t)part_gpa(queue, part));
            virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, true, 0);
        }
        virtio_queue_set_ready(dev, queue, true);
    }
    virtio_set_status(dev, virtio_status(dev) | VIRTIO_STATUS_DRIVER_OK);
}

static void put_descriptor(struct driver *d, unsigned queue, unsigned index, uint64_t gpa, uint32_t len, uint16_t flags,
                           uint16_t next)
{
    uint8_t *desc = at_gpa(d, part_gpa(queue, 0)) + 16 * (size_t)index;

    put(desc, 0, gpa, 8);
    put(desc, 8, len, 4);
    put(desc, 12, flags, 2);
    put(desc, 14, next, 2);
}

static void make_available(struct driver *d, unsigned queue, unsigned head)
{
    uint8_t *avail = at_gpa(d, part_gpa(queue, 1));
    uint16_t index;

    memcpy(&index, avail + 2, 2);
    put(avail, 4 + index % RING_SIZE * 2u, head, 2);
    put(avail, 2, index + 1u, 2);
}

/* A request of up to three descriptors: what the device reads, perhaps cut in two, and what it writes. */
static void add_request(struct driver *d, struct reader *r)
{
    unsigned queue = (unsigned)take(r, 1) % d->kind->queues, index = (unsigned)take(r, 1) % RING_SIZE, how;
    uint64_t gpa = DATA_GPA + d->data;
    uint8_t *bytes = at_gpa(d, gpa);
    uint32_t len = (uint32_t)d->kind->request(bytes, queue, r), writable, cut;

    require(len <= REQUEST_BYTES);
    d->data = (d->data + REQUEST_BYTES) % (DATA_BYTES / 2 / REQUEST_BYTES * REQUEST_BYTES);
    how = (unsigned)take(r, 1);
    if (how % 8 == 7 && len)
        bytes[take(r, 1) % len] = (uint8_t)take(r, 1);
    writable = (uint32_t)take(r, 2) % (DATA_BYTES / 2);
    if (!len || how % 4 == 3) { /* for the device to write only */
        put_descriptor(d, queue, index, DATA_GPA + DATA_BYTES / 2, writable, 2, 0);
        make_available(d, queue, index);
        return;
    }
    cut = how & 0x10 && len > 1 ? 1 + (uint32_t)take(r, 1) % (len - 1) : len;
    put_descriptor(d, queue, index, gpa, cut, cut < len || writable ? 1 : 0, (uint16_t)((index + 1) % RING_SIZE));
    if (cut < len)
        put_descriptor(d, queue, (index + 1) % RING_SIZE, gpa + cut, len - cut, writable ? 1 : 0,
                       (uint16_t)((index + 2) % RING_SIZE));
    if (writable)
        put_descriptor(d, queue, (index + 1 + (cut < len)) % RING_SIZE, DATA_GPA + DATA_BYTES / 2, writable, 2, 0);
    make_available(d, queue, index);
}

static void turn(struct driver *d)
{
    d->dev->work.fn(d->dev->work.opaque);
}

/* Completes what the host is doing, which the loop would. */
static void drain(struct driver *d)
{
    if (d->dev->ops->drain)
        d->dev->ops->drain(d->dev, UINT_MAX);
}

static void access_config(struct driver *d, struct reader *r)
{
    uint64_t value = take(r, 4);
    uint32_t offset = (uint32_t)take(r, 1) % 80;
    unsigned len = 1u << take(r, 1) % 4;

    virtio_config_write(d->dev, offset, &value, len);
    virtio_config_read(d->dev, offset, &value, len);
}

static void operate(struct driver *d, struct reader *r)
{
    switch (take(r, 1) % 16) {
    case 0: {
        size_t at = (size_t)take(r, 3) % (RAM_BYTES - 8), len = (size_t)take(r, 1) % 8;
        uint64_t value = take(r, (unsigned)len);
        memcpy(d->ram + at, &value, len);
        break;
    }
    case 1: {
        unsigned queue = (unsigned)take(r, 1) % d->kind->queues, index = (unsigned)take(r, 1) % RING_SIZE;
        put_descriptor(d, queue, index, RAM_GPA + take(r, 3), (uint32_t)take(r, 3), (uint16_t)take(r, 1),
                       (uint16_t)take(r, 1));
        make_available(d, queue, index);
        break;
    }
    case 2:
        start(d, take(r, 5));
        break;
    case 3:
        drain(d);
        reload(&d->dev->base, r, change_rarely);
        break;
    case 4:
        drain(d);
        virtio_queue_reset(d->dev, (uint32_t)take(r, 1) % (d->kind->queues + 1));
        break;
    case 5:
        access_config(d, r);
        break;
    case 6:
    case 7:
        if (d->kind->host)
            d->kind->host(d->dev, r);
        break;
    case 8:
    case 9:
        virtio_kick(d->dev, (uint32_t)take(r, 1) % (d->kind->queues + 1));
        turn(d);
        break;
    default:
        add_request(d, r);
        break;
    }
}

static void expect_working(struct driver *d)
{
    unsigned queue = d->kind->works;
    uint16_t used = 0;

    if (d->kind->host) {
        struct reader last = {(const uint8_t *)"\2", (const uint8_t *)"\2" + 1};
        d->kind->host(d->dev, &last);
    }
    start(d, 0);
    uint32_t len = (uint32_t)d->kind->request(at_gpa(d, DATA_GPA), queue, NULL);
    put_descriptor(d, queue, 0, DATA_GPA, len, d->kind->writable ? 1 : 0, 1);
    if (d->kind->writable)
        put_descriptor(d, queue, 1, DATA_GPA + DATA_BYTES / 2, d->kind->writable, 2, 0);
    make_available(d, queue, 0);
    virtio_kick(d->dev, queue);
    turn(d);
    drain(d);
    memcpy(&used, at_gpa(d, part_gpa(queue, 2)) + 2, 2);
    require(used == 1 && !(virtio_status(d->dev) & VIRTIO_STATUS_NEEDS_RESET));
}

static void remove_folder(void)
{
    unlink(in_folder("disk"));
    unlink(in_folder("v"));
    unlink(in_folder("fifo"));
    rmdir(folder);
}

static void make_folder(void)
{
    static uint8_t disk[64 << 10];

    if (folder[0])
        return;
    strcpy(folder, "/tmp/tuff-fuzz-virtio-XXXXXX");
    require(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    require(mkfifo(in_folder("fifo"), 0600) == 0);
    int fd = open(in_folder("disk"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, disk, sizeof(disk)) == sizeof(disk));
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {data, data + len};
    struct driver d = {.kind = &kinds[take(&r, 1) % (sizeof(kinds) / sizeof(kinds[0]))]};

    make_folder();
    require(loop || loop_create(&loop) == 0);
    require(mem_create(&d.mem) == 0 && mem_add_ram(d.mem, RAM_GPA, RAM_BYTES) == 0);
    d.ram = mem_ram_ptr(d.mem, RAM_GPA, RAM_BYTES);
    require(d.ram && d.kind->create(d.mem, &d.dev) == 0);
    for (uint32_t queue = 0; queue < d.kind->queues; queue++)
        virtq_reset(&d.dev->queues[queue]);
    start(&d, take(&r, 5));
    for (unsigned i = 0; r.at < r.end && i < OPERATIONS_MAX; i++)
        operate(&d, &r);
    expect_working(&d);
    d.dev->base.ops->destroy(&d.dev->base);
    mem_destroy(d.mem);
    return 0;
}
