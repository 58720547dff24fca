/* Memory that guests read and execute but do not store to; see mem_add_rom(). Its pages have frames, so code in it is
 * translated like code in RAM. */
#include "mem/frame.h"
#include "mem/mem_internal.h"

#include <errno.h>
#include <sys/mman.h>

int mem_add_rom(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const struct mem_ops *ops, void *opaque,
                uint8_t **host)
{
    if (!mem->ram_host)
        return -EINVAL;
    if (mem->rom_count == MEM_ROMS_MAX || size_bytes > MEM_ROM_BYTES_MAX - mem->rom_bytes)
        return -ENOMEM;
    int rc = mem_add_mmio(mem, gpa, size_bytes, ops, opaque);
    if (rc)
        return rc;
    uint8_t *at = mem->ram_host + mem->ram_bytes + MEM_PAGE_BYTES + mem->rom_bytes;
    if (mprotect(at, size_bytes, PROT_READ | PROT_WRITE) != 0)
        return -errno;
    struct mem_rom *rom = &mem->roms[mem->rom_count++];
    rom->gpa = gpa;
    rom->size_bytes = size_bytes;
    rom->host = at;
    mem->rom_bytes += size_bytes;
    *host = at;
    return 0;
}

void mem_rom_hide(struct mem *mem, uint64_t gpa, bool hidden)
{
    for (unsigned i = 0; i < mem->rom_count; i++) {
        if (mem->roms[i].gpa == gpa)
            atomic_store(&mem->roms[i].hidden, hidden);
    }
}

const uint8_t *mem_rom_ptr(const struct mem *mem, uint64_t gpa, uint64_t size_bytes, bool fetch)
{
    for (unsigned i = 0; i < mem->rom_count; i++) {
        const struct mem_rom *rom = &mem->roms[i];
        uint64_t offset = gpa - rom->gpa;
        if (offset < rom->size_bytes && size_bytes <= rom->size_bytes - offset)
            return fetch || !atomic_load_explicit(&rom->hidden, memory_order_relaxed) ? rom->host + offset : NULL;
    }
    return NULL;
}

uint64_t mem_rom_host_to_gpa(const struct mem *mem, const uint8_t *host)
{
    const struct mem_rom *rom = &mem->roms[0];

    while (rom + 1 < mem->roms + mem->rom_count && host >= rom[1].host)
        rom++;
    return rom->gpa + (uint64_t)(host - rom->host);
}

void mem_rom_note_write(struct mem *mem, const uint8_t *host, size_t len)
{
    for (size_t done = 0; done < len;) {
        unsigned offset = (unsigned)((uint64_t)(host + done - mem->ram_host) & (MEM_PAGE_BYTES - 1));
        size_t piece = MEM_PAGE_BYTES - offset < len - done ? MEM_PAGE_BYTES - offset : len - done;
        mem_frame_stored(mem, mem_frame_of(mem, host + done), offset, (unsigned)piece);
        done += piece;
    }
}
