/* qcow2 images of any contents: opened, read, written, discarded, checked. Whatever happens is an error with a reason,
 * or works: what was written to a sector is what is read from it. */
#include "dev/block/node.h"
#include "fuzz.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void write_and_read(struct block_node *node, uint64_t offset)
{
    uint8_t in[BLOCK_SECTOR_BYTES], out[BLOCK_SECTOR_BYTES];

    memset(in, (int)(offset >> 9), sizeof(in));
    if (node_write(node, in, sizeof(in), offset))
        return;
    if (node_read(node, out, sizeof(out), offset) == 0)
        require(memcmp(in, out, sizeof(in)) == 0);
}

static void use(struct block_node *node)
{
    uint64_t size = node_size(node), alike, offset = 0;
    struct node_extent extents[8];
    uint8_t bytes[4096];
    bool zero;

    require(size % BLOCK_SECTOR_BYTES == 0);
    /* Places near the beginning, then further and further apart. */
    for (unsigned i = 0; i < 24 && offset + sizeof(bytes) <= size; i++) {
        (void)!node_read(node, bytes, sizeof(bytes), offset);
        (void)node_map(node, i % 2, offset, sizeof(bytes), extents, 8);
        if (node_status(node, offset, size - offset, &alike, &zero) == 0)
            require(alike > 0 && alike <= size - offset);
        write_and_read(node, offset);
        offset += i < 12 ? 1536 : size / 16 / BLOCK_SECTOR_BYTES * BLOCK_SECTOR_BYTES;
    }
    (void)!node_discard(node, 0, size < 1 << 20 ? size : 1 << 20);
    (void)!node_zero(node, 512, size < 1 << 16 ? size / 2 : 1 << 15, size % 3);
    (void)!node_flush(node);
    if (size)
        write_and_read(node, size - BLOCK_SECTOR_BYTES);
}

static void look(const char *path, struct node_options options)
{
    struct error err = {{0}};
    struct block_node *node;
    struct node_check found;
    int rc = node_open(path, &options, &node, &err);

    require(rc <= 0 && (rc == 0 || err.text[0]));
    if (rc)
        return;
    if (options.check_only) {
        rc = node_check(node, options.may_repair, NULL, &found, &err);
        require(rc <= 0 && (rc == 0 || err.text[0]));
        require(rc || (found.corruptions_fixed <= found.corruptions && found.leaks_fixed <= found.leaks));
    } else {
        use(node);
    }
    (void)node_close(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .no_backing = true};
    char path[32];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    look(path, options);
    options.check_only = true;
    look(path, options);
    options.may_repair = size % 2;
    if (options.may_repair)
        look(path, options);
    options = (struct node_options){.format = BLOCK_FORMAT_QCOW2, .no_backing = true, .writable = true};
    look(path, options);
    close(fd);
    return 0;
}
