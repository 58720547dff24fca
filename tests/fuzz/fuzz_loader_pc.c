/* What a PC boots, from libFuzzer: bzImages, ELFs with notes and multiboot headers, flat programs, boot sectors.
 * Whatever is accepted must hold what loader_pc.h promises: everything in RAM, the entry inside the image, none of it
 * (but a boot sector's) where the boot protocol's own data go. */
#include "fuzz.h"
#include "machine/board_pc.h"
#include "machine/loader_pc.h"
#include "mem/mem.h"

#include <stdint.h>
#include <stdlib.h>

enum { RAM_BYTES = 32 << 20 };

static void check_loaded(struct mem *mem, const struct loader_pc_image *loaded)
{
    const struct boot_range none = {0};
    const struct boot_image *image = &loaded->image;
    struct error err = {{0}};

    require(image->end > image->start && image->end <= RAM_BYTES);
    require(image->entry >= image->start && image->entry < image->end);
    require(loaded->how == LOADER_PC_SECTOR || image->start >= BOARD_PC_HIGH_GPA);
    require(loaded->setup_bytes <= sizeof(loaded->setup));
    int rc = boot_pc_write(mem, loaded, "console=ttyS0", &none, &err);
    require(rc == 0 || err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mem *mem;
    struct loader_pc_image image;
    struct error err = {{0}};

    if (!mem) {
        require(mem_create(&mem) == 0);
        require(mem_add_ram(mem, 0, RAM_BYTES) == 0);
    }
    int rc = loader_pc_load_bytes(mem, "fuzz", data, size, &image, &err);
    require(rc <= 0 && (rc == 0 || err.text[0]));
    if (rc == 0) {
        check_loaded(mem, &image);
        mem_destroy(mem);
        mem = NULL;
    }
    return 0;
}
