/* The guest-physical address space: RAM, MMIO dispatch, dirty log and code-line marks.
 *
 * One `struct mem` per virtual machine. RAM and device ranges are added before the first vCPU runs
 * and do not change afterwards, so look-ups take no lock. Everything that writes guest RAM goes through one
 * of three doors, and each of them feeds the dirty log and the code marks: a vCPU's TLB fill and slow store
 * path (mem/tlb.h), mem_write() for devices and loaders, and mem_note_write() for whoever wrote through
 * a pointer from mem_ram_ptr().
 */
#ifndef TUFF_MEM_MEM_H
#define TUFF_MEM_MEM_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MEM_PAGE_SHIFT = 12,
    MEM_PAGE_BYTES = 1 << MEM_PAGE_SHIFT,
    MEM_LINE_SHIFT = 6, /* granularity of code marks: 64 lines of 64 bytes a page */
};

struct mem;

/* What a device does when its range is accessed. `offset` is relative to the range's start; `size_bytes` is
 * 1, 2, 4 or 8, within [min_access_bytes, max_access_bytes], and the offset is a multiple of it: anything else is
 * refused by the memory map and never arrives here. Called on vCPU threads, several at a time: a device locks for
 * itself. Must not block. Returns 0, or -EFAULT for an access fault at the guest. */
struct mem_ops {
    const char *name;
    int (*read)(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value);
    int (*write)(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value);
    uint8_t min_access_bytes;
    uint8_t max_access_bytes;
};

/* Creates an empty address space, owned by the caller. Returns 0 or -ENOMEM. */
TUFF_MUST_CHECK int mem_create(struct mem **out);
void mem_destroy(struct mem *mem);

/* An address space of I/O ports: device ranges only, which may have any start and size. Errors and owner as above. */
TUFF_MUST_CHECK int mem_create_ports(struct mem **out);

/* Adds zeroed RAM backed by a memfd with guard pages on both sides. `gpa` and `size_bytes` are multiples of
 * MEM_PAGE_BYTES. Returns 0, -EINVAL (alignment, overflow), -EEXIST (overlaps a range), -ENOMEM. Before vCPUs run. */
TUFF_MUST_CHECK int mem_add_ram(struct mem *mem, uint64_t gpa, uint64_t size_bytes);

/* What RAM is made of. Huge pages are 2 MiB. */
enum mem_pages {
    MEM_PAGES_AUTO,  /* huge pages where the host gives them to shared memory (transparent ones) */
    MEM_PAGES_SMALL, /* none */
    /* Huge pages of the host's pool (vm.nr_hugepages), all of them set aside at once. Such RAM has no mirrors and is
     * not lazy (mem/mirror.h, mem/lazy.h), and mem_discard() clears it without giving anything back. */
    MEM_PAGES_RESERVED,
};
enum { MEM_HUGE_PAGE_SHIFT = 21, MEM_HUGE_PAGE_BYTES = 1 << MEM_HUGE_PAGE_SHIFT };

/* mem_add_ram() with more to say. With `hole_bytes` the RAM that would reach beyond `hole_gpa` goes on behind
 * [hole_gpa, hole_gpa + hole_bytes): two ranges of addresses, one after the other in offsets, frames and the dirty log.
 * The hole begins and ends at multiples of 64 pages. */
struct mem_ram_config {
    uint64_t gpa, size_bytes;
    uint64_t hole_gpa, hole_bytes;
    enum mem_pages pages;
};
/* Errors as mem_add_ram(). With MEM_PAGES_RESERVED also -EINVAL (size not in huge pages) and -ENOMEM, -ENOSYS,
 * -EOPNOTSUPP (the host's pool has too few, or there is none). */
TUFF_MUST_CHECK int mem_add_ram_as(struct mem *mem, const struct mem_ram_config *config);

enum mem_pages mem_ram_pages(const struct mem *mem);
/* How much of RAM is in huge pages now, or -errno where the kernel does not say. */
int64_t mem_ram_huge_bytes(const struct mem *mem);

/* Adds a device range. `ops` and `opaque` are borrowed and outlive `mem`. Errors as mem_add_ram(). */
TUFF_MUST_CHECK int mem_add_mmio(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const struct mem_ops *ops,
                                 void *opaque);

/* Adds memory (of `size_bytes`, all together at most MEM_ROM_BYTES_MAX) that is read and executed like RAM but does not
 * take stores: they go to `ops`, as do loads while it is hidden. After mem_add_ram(), before the first vCPU is made.
 * `*host` is where its bytes are (zeroes); whoever changes them stores atomically and calls mem_rom_note_write().
 * Errors as mem_add_ram(), -ENOMEM also for one too many. */
enum { MEM_ROM_BYTES_MAX = 64 << 20, MEM_ROMS_MAX = 2 };
TUFF_MUST_CHECK int mem_add_rom(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const struct mem_ops *ops,
                                void *opaque, uint8_t **host);
/* Any thread. `gpa` is that of mem_add_rom(). Instructions are fetched from it also while it is hidden. */
void mem_rom_hide(struct mem *mem, uint64_t gpa, bool hidden);
void mem_rom_note_write(struct mem *mem, const uint8_t *host, size_t len);
/* Host address of [gpa, gpa + size_bytes) for a load or a fetch, NULL where there is no ROM or it is hidden from
 * loads. */
const uint8_t *mem_rom_ptr(const struct mem *mem, uint64_t gpa, uint64_t size_bytes, bool fetch);

/* Host address of [gpa, gpa + size_bytes) when all of it is one RAM range, else NULL. Any thread. The
 * pointer lives as long as `mem`. Writers call mem_note_write() afterwards. */
void *mem_ram_ptr(const struct mem *mem, uint64_t gpa, uint64_t size_bytes);

/* Guest-physical address of a host pointer into RAM or ROM; the pointer must lie in one. */
uint64_t mem_host_to_gpa(const struct mem *mem, const void *host);

/* Copies between guest RAM and a host buffer: DMA and loaders. Any thread. Returns 0, or -EFAULT when any byte
 * is not RAM (nothing is copied then). mem_write() marks pages dirty, makes translations of the bytes stale and breaks
 * reservations on them. */
TUFF_MUST_CHECK int mem_read(const struct mem *mem, uint64_t gpa, void *buf, size_t len);
TUFF_MUST_CHECK int mem_write(struct mem *mem, uint64_t gpa, const void *buf, size_t len);
void mem_note_write(struct mem *mem, uint64_t gpa, size_t len);

/* Gives the pages of [gpa, gpa + size_bytes), whole ones, back to the host; they read as zeroes from then on. Counts as
 * a write. Any thread. Returns 0, -EFAULT (not RAM, not aligned) or what the host says (-ENOMEM, ...). */
TUFF_MUST_CHECK int mem_discard(struct mem *mem, uint64_t gpa, uint64_t size_bytes);

/* A device access by a vCPU: finds the range, checks size and alignment, calls it. Returns 0, or -EFAULT where
 * nothing is mapped, where the device refuses the size or alignment, or the device said so. */
TUFF_MUST_CHECK int mem_mmio_read(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t *value);
TUFF_MUST_CHECK int mem_mmio_write(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t value);

/* RAM: where it starts, how large it is, and how much of it lies before its hole (all, without one). 0 bytes when there
 * is none. */
uint64_t mem_ram_base(const struct mem *mem);
uint64_t mem_ram_bytes(const struct mem *mem);
uint64_t mem_ram_low_bytes(const struct mem *mem);
/* Where the part behind the hole starts; only with a hole. */
uint64_t mem_ram_high_base(const struct mem *mem);

/* Looks from byte *start of RAM on for what may hold something but zeroes: sets [*start, *end), whole pages, and
 * returns true, or false when there is nothing more. Memory that nobody has touched is passed over without touching it.
 * Any thread. */
bool mem_ram_data(const struct mem *mem, uint64_t *start, uint64_t *end);

/* Calls `fn` on the storing thread after each store to the page that holds `gpa` (HTIF's tohost). One page a machine;
 * before vCPUs run. */
void mem_watch_stores(struct mem *mem, uint64_t gpa, void (*fn)(void *opaque, uint64_t gpa, unsigned len_bytes),
                      void *opaque);

/* Dirty log, one bit a RAM page (bit 0 of word 0 is the first page; a hole has none). Starting and fetching need
 * the vCPUs to be outside run(): their TLBs may hold write permission for pages, which the next run drops.
 * mem_dirty_fetch() copies (len_words words of 64 pages) and clears. Returns 0, -EINVAL (not started, wrong length),
 * -ENOMEM. */
TUFF_MUST_CHECK int mem_dirty_start(struct mem *mem);
void mem_dirty_stop(struct mem *mem);
TUFF_MUST_CHECK int mem_dirty_fetch(struct mem *mem, uint64_t *words, size_t len_words);

/* Whoever else knows of stores to RAM (hardware that runs the guest). start() and stop() follow the
 * log's; collect() ORs the pages stored to since the last time into `words`, laid out as above. They return 0 or a
 * negative errno, which mem_dirty_start() and mem_dirty_fetch() hand on. Before vCPUs run; borrowed. */
struct mem_dirty_source {
    int (*start)(void *opaque);
    void (*stop)(void *opaque);
    int (*collect)(void *opaque, uint64_t *words, size_t len_words);
};
void mem_set_dirty_source(struct mem *mem, const struct mem_dirty_source *source, void *opaque);

#endif
