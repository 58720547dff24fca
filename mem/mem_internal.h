/* Layout of the guest-physical address space; used only inside mem/. */
#ifndef TUFF_MEM_MEM_INTERNAL_H
#define TUFF_MEM_MEM_INTERNAL_H

#include "mem/frame.h"
#include "mem/mem.h"
#include "mem/reservation.h"

#include <stdatomic.h>

enum { MEM_RANGES_MAX = 64, MEM_STALE_LOG = 4096 };

/* What is known of one RAM page. 16 bytes, so 4 MiB a GiB of RAM, touched only where used. */
struct mem_frame {
    _Atomic uint64_t code_lines; /* bit n: line n holds bytes that some hart has translated */
    _Atomic uint64_t writers;    /* bit h: hart h may hold a TLB entry that lets it store without asking */
};

struct mem_range {
    uint64_t gpa;
    uint64_t size_bytes;
    uint8_t *host; /* RAM, else NULL */
    const struct mem_ops *ops;
    void *opaque;
};

/* See mem_add_rom(). */
struct mem_rom {
    uint64_t gpa, size_bytes;
    uint8_t *host;
    _Atomic bool hidden;
};

struct mem {
    struct mem_range ranges[MEM_RANGES_MAX]; /* sorted by gpa, disjoint */
    unsigned range_count;
    uint64_t range_mask; /* bits that are 0 in starts and sizes of ranges */

    /* RAM: one mapping, at one range of addresses or, around a hole, at two. */
    uint64_t ram_gpa;
    uint64_t ram_bytes;
    uint64_t ram_low_bytes; /* before the hole; ram_bytes without one */
    uint64_t ram_high_gpa;  /* of the byte at ram_low_bytes, with one */
    enum mem_pages ram_pages;
    uint8_t *ram_host;
    void *ram_mapping; /* with the guard pages */
    size_t ram_mapping_bytes;
    int ram_fd;                   /* the memory file; valid with ram_host */
    _Atomic uint32_t mirror_runs; /* what its mirrors have used of MIRROR_RUNS_MAX */
    struct mem_frame *frames;

    /* ROMs lie behind RAM and a guard page in the same mapping, so that their frames have numbers, too. */
    struct mem_rom roms[MEM_ROMS_MAX];
    unsigned rom_count;
    uint64_t rom_bytes; /* of all of them */

    /* Frames whose translated bytes were stored to; position n of the log is slot n % MEM_STALE_LOG. */
    _Atomic uint64_t stale_head;
    _Atomic uint32_t stale_pending; /* stores that have taken marks away and may not be in the log yet */
    _Atomic uint64_t
        stale_log[MEM_STALE_LOG]; /* (position + 1) << 32 | frame: a slot not yet written is told by its position */

    _Atomic(_Atomic uint64_t *) dirty;           /* NULL while the dirty log is off */
    const struct mem_dirty_source *dirty_source; /* NULL: all stores come through the doors of mem.h */
    void *dirty_source_opaque;
    struct mem_lazy *lazy;       /* NULL: all contents are there (mem/lazy.h); set while nothing runs */
    struct mem_huge *huge;       /* NULL: not asked for (mem/huge.h) */
    struct mem_touches *touches; /* NULL: nobody has asked for them (mem/touches.h); set while nothing runs */
    _Atomic uint32_t tlb_generation;

    uint32_t watched_frame; /* UINT32_MAX: none */
    void (*watch)(void *opaque, uint64_t gpa, unsigned len_bytes);
    void *watch_opaque;

    struct mem_reservations reservations;
};

/* RAM, guard page and the room for ROMs. */
static inline uint64_t mem_frames_bytes(uint64_t ram_bytes)
{
    return ram_bytes + MEM_PAGE_BYTES + MEM_ROM_BYTES_MAX;
}

/* Of an address in RAM: how far from the first byte. */
static inline uint64_t mem_ram_offset(const struct mem *mem, uint64_t gpa)
{
    uint64_t offset = gpa - mem->ram_gpa;

    return TUFF_LIKELY(offset < mem->ram_low_bytes) ? offset : gpa - mem->ram_high_gpa + mem->ram_low_bytes;
}

/* And back. */
static inline uint64_t mem_ram_gpa_at(const struct mem *mem, uint64_t offset)
{
    return TUFF_LIKELY(offset < mem->ram_low_bytes) ? mem->ram_gpa + offset
                                                    : mem->ram_high_gpa + (offset - mem->ram_low_bytes);
}

static inline bool mem_frame_is_ram(const struct mem *mem, uint32_t frame)
{
    return frame < mem->ram_bytes >> MEM_PAGE_SHIFT;
}

uint64_t mem_rom_host_to_gpa(const struct mem *mem, const uint8_t *host);

#endif
