/* The loaders on bytes from libFuzzer: kernels of every kind (Image, EFI stub, zboot, gzip, ELF) and device trees.
 *
 * The first byte chooses: 0 a kernel, 1 a kernel that the fuzzer need not compress itself (the rest is wrapped in
 * gzip), anything else a device tree. Whatever is accepted must hold what loader.h promises: everything in RAM, the
 * entry inside the image, the tree usable by libfdt. RAM is small and made anew for each input only when something was
 * loaded. */
#include "fuzz.h"
#include "machine/board_virt.h"
#include "machine/loader.h"
#include "mem/mem.h"

#include <libfdt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { RAM_BYTES = 4 << 20 };

static struct mem *guest_memory(void)
{
    struct mem *mem;

    require(mem_create(&mem) == 0);
    require(mem_add_ram(mem, BOARD_RAM_GPA, RAM_BYTES) == 0);
    return mem;
}

static int in_ram(uint64_t gpa, uint64_t len)
{
    return gpa >= BOARD_RAM_GPA && gpa - BOARD_RAM_GPA <= RAM_BYTES && len <= RAM_BYTES - (gpa - BOARD_RAM_GPA);
}

static void check_loaded(struct mem *mem, const struct boot_image *image)
{
    static const uint8_t tree[64];
    struct error err;
    uint64_t gpa;

    require(image->end > image->start && in_ram(image->start, image->end - image->start));
    require(image->entry >= image->start && image->entry < image->end && image->entry % 2 == 0);
    require(!image->has_tohost || (in_ram(image->tohost, 8) && image->tohost % 8 == 0));
    require(!image->has_fromhost || in_ram(image->fromhost, 8));
    if (loader_place_dtb(mem, tree, sizeof(tree), image, NULL, &gpa, &err) == 0)
        require(in_ram(gpa, sizeof(tree)) && gpa % 8 == 0 && (gpa >= image->end || gpa + sizeof(tree) <= image->start));
}

static void try_kernel(const uint8_t *data, size_t size)
{
    static struct mem *mem;
    struct boot_image image;
    struct error err = {{0}};

    if (!mem)
        mem = guest_memory();
    int rc = loader_load_kernel_bytes(mem, "fuzz", data, size, &image, &err);
    require(rc <= 0 && (rc == 0 || err.text[0]));
    if (rc)
        return;
    check_loaded(mem, &image);
    mem_destroy(mem);
    mem = NULL;
}

static void try_gzip(const uint8_t *data, size_t size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};

    require(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t capacity = deflateBound(&z, size);
    uint8_t *packed = malloc(capacity);
    require(packed != NULL);
    z.next_out = packed;
    z.avail_out = (uInt)capacity;
    require(deflate(&z, Z_FINISH) == Z_STREAM_END);
    try_kernel(packed, capacity - z.avail_out);
    deflateEnd(&z);
    free(packed);
}

static void try_tree(const uint8_t *data, size_t size)
{
    struct board_virt_config config = {
        .ram_bytes = RAM_BYTES, .cmdline = "console=ttyS0", .initrd_start = 1, .initrd_end = 2};
    struct error err = {{0}};
    void *copy = malloc(size ? size : 1), *adopted;
    size_t len;

    require(copy != NULL);
    memcpy(copy, data, size); /* aligned, as loader_load_dtb() has it */
    int rc = loader_check_dtb("fuzz", copy, size, &err);
    require(rc == 0 || err.text[0]);
    if (rc == 0 && board_virt_fdt_adopt(copy, &config, &adopted, &len, &err) == 0) {
        require(fdt_check_full(adopted, len) == 0);
        int chosen = fdt_path_offset(adopted, "/chosen"), text_len;
        const char *text = fdt_getprop(adopted, chosen, "bootargs", &text_len);
        require(text && !strcmp(text, config.cmdline));
        free(adopted);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 0)
        try_kernel(data + 1, size - 1);
    else if (data[0] == 1)
        try_gzip(data + 1, size - 1);
    else
        try_tree(data + 1, size - 1);
    return 0;
}
