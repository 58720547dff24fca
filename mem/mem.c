/* The guest-physical address space: ranges, RAM, device dispatch. Ranges are fixed before the first vCPU
 * runs; look-ups are binary searches without a lock. */
#include "mem/huge.h"
#include "mem/lazy.h"
#include "mem/mem_internal.h"
#include "mem/touches.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int mem_create(struct mem **out)
{
    *out = aligned_alloc(64, (sizeof(struct mem) + 63) & ~(size_t)63);
    if (!*out)
        return -ENOMEM;
    memset(*out, 0, sizeof(**out));
    (*out)->watched_frame = UINT32_MAX;
    (*out)->range_mask = MEM_PAGE_BYTES - 1;
    return 0;
}

int mem_create_ports(struct mem **out)
{
    int rc = mem_create(out);

    if (rc == 0)
        (*out)->range_mask = 0;
    return rc;
}

void mem_destroy(struct mem *mem)
{
    if (!mem)
        return;
    mem_lazy_stop(mem);
    if (mem->ram_mapping)
        munmap(mem->ram_mapping, mem->ram_mapping_bytes);
    if (mem->ram_host)
        close(mem->ram_fd);
    if (mem->frames)
        munmap(mem->frames, (mem_frames_bytes(mem->ram_bytes) >> MEM_PAGE_SHIFT) * sizeof(*mem->frames));
    free((void *)atomic_load(&mem->dirty));
    mem_touches_destroy(mem);
    free(mem->huge);
    free(mem);
}

/* Index of the first range that ends above `gpa`. */
static unsigned range_after(const struct mem *mem, uint64_t gpa)
{
    unsigned low = 0, high = mem->range_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct mem_range *range = &mem->ranges[middle];
        if (range->gpa + (range->size_bytes - 1) < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The range that holds all of [gpa, gpa + size_bytes), or NULL. */
static const struct mem_range *range_find(const struct mem *mem, uint64_t gpa, uint64_t size_bytes)
{
    unsigned i = range_after(mem, gpa);

    if (i == mem->range_count || gpa < mem->ranges[i].gpa)
        return NULL;
    uint64_t offset = gpa - mem->ranges[i].gpa;
    if (size_bytes > mem->ranges[i].size_bytes - offset)
        return NULL;
    return &mem->ranges[i];
}

static int range_insert(struct mem *mem, const struct mem_range *range)
{
    if (!range->size_bytes || ((range->gpa | range->size_bytes) & mem->range_mask) ||
        range->gpa + (range->size_bytes - 1) < range->gpa)
        return -EINVAL;
    if (mem->range_count == MEM_RANGES_MAX)
        return -ENOMEM;
    unsigned i = range_after(mem, range->gpa);
    if (i < mem->range_count && mem->ranges[i].gpa <= range->gpa + (range->size_bytes - 1))
        return -EEXIST;
    memmove(&mem->ranges[i + 1], &mem->ranges[i], (mem->range_count - i) * sizeof(*range));
    mem->ranges[i] = *range;
    mem->range_count++;
    return 0;
}

/* The range that starts there. */
static void range_remove(struct mem *mem, uint64_t gpa)
{
    unsigned i = range_after(mem, gpa);

    memmove(&mem->ranges[i], &mem->ranges[i + 1], (--mem->range_count - i) * sizeof(mem->ranges[0]));
}

static int ram_file(enum mem_pages pages, uint64_t size_bytes)
{
    unsigned huge = pages == MEM_PAGES_RESERVED ? MFD_HUGETLB | (unsigned)MEM_HUGE_PAGE_SHIFT << MFD_HUGE_SHIFT : 0;
    int fd = memfd_create("tuff-ram", MFD_CLOEXEC | huge);

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size_bytes) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Maps `size_bytes` of a fresh memfd between two guard pages, with room for ROMs behind. RAM begins at a multiple of a
 * huge page's size: the host's page tables have a huge page in one piece only where addresses and the file's offsets
 * agree. */
static int map_ram(struct mem *mem, uint64_t size_bytes, enum mem_pages pages)
{
    size_t total = MEM_HUGE_PAGE_BYTES + mem_frames_bytes(size_bytes) + MEM_PAGE_BYTES;
    int rc = 0;
    int fd = ram_file(pages, size_bytes);

    if (fd < 0)
        return fd;
    uint8_t *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        rc = -errno;
        goto out;
    }
    uint8_t *ram = base + MEM_HUGE_PAGE_BYTES - ((uintptr_t)base & (MEM_HUGE_PAGE_BYTES - 1));
    /* Of the pool, pages are reserved here, so that none is missing later. */
    int reserve = pages == MEM_PAGES_RESERVED ? 0 : MAP_NORESERVE;
    if (mmap(ram, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | reserve, fd, 0) == MAP_FAILED) {
        rc = -errno;
        munmap(base, total);
        goto out;
    }
    /* Huge pages halve the cost of first touches where the host allows them for shared memory; refusal is harmless. */
    if (pages != MEM_PAGES_RESERVED)
        (void)madvise(ram, size_bytes, pages == MEM_PAGES_AUTO ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    mem->ram_mapping = base;
    mem->ram_mapping_bytes = total;
    mem->ram_host = ram;
    mem->ram_fd = fd;
    return 0;
out:
    close(fd);
    return rc;
}

/* The addresses of RAM, one range or two. */
static int insert_ram(struct mem *mem, const struct mem_ram_config *config)
{
    struct mem_range low = {.gpa = config->gpa, .size_bytes = config->size_bytes};
    struct mem_range high = {.gpa = config->hole_gpa + config->hole_bytes};
    bool split =
        config->hole_bytes && config->hole_gpa > config->gpa && config->size_bytes > config->hole_gpa - config->gpa;

    if (split) {
        low.size_bytes = config->hole_gpa - config->gpa;
        high.size_bytes = config->size_bytes - low.size_bytes;
        if (high.gpa < config->hole_gpa || ((low.size_bytes | high.gpa) & (64 * MEM_PAGE_BYTES - 1)))
            return -EINVAL;
    }
    int rc = range_insert(mem, &low);
    if (rc == 0 && split) {
        rc = range_insert(mem, &high);
        if (rc)
            range_remove(mem, low.gpa);
    }
    if (rc)
        return rc;
    mem->ram_gpa = low.gpa;
    mem->ram_bytes = config->size_bytes;
    mem->ram_low_bytes = low.size_bytes;
    mem->ram_high_gpa = high.gpa;
    return 0;
}

static void remove_ram(struct mem *mem)
{
    range_remove(mem, mem->ram_gpa);
    if (mem->ram_low_bytes < mem->ram_bytes)
        range_remove(mem, mem->ram_high_gpa);
    mem->ram_gpa = mem->ram_bytes = mem->ram_low_bytes = mem->ram_high_gpa = 0;
}

int mem_add_ram_as(struct mem *mem, const struct mem_ram_config *config)
{
    if (mem->ram_host)
        return -EEXIST;
    if (config->size_bytes > (1ull << 40) || !mem->range_mask)
        return -EINVAL;
    if (config->pages == MEM_PAGES_RESERVED && config->size_bytes % MEM_HUGE_PAGE_BYTES)
        return -EINVAL;
    int rc = insert_ram(mem, config);
    if (rc)
        return rc;
    size_t frames_bytes = (mem_frames_bytes(config->size_bytes) >> MEM_PAGE_SHIFT) * sizeof(*mem->frames);
    void *frames = mmap(NULL, frames_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (frames == MAP_FAILED) {
        rc = -ENOMEM;
    } else {
        rc = map_ram(mem, config->size_bytes, config->pages);
        if (rc)
            munmap(frames, frames_bytes);
    }
    if (rc) {
        remove_ram(mem);
        return rc;
    }
    mem->frames = frames;
    mem->ram_pages = config->pages;
    if (config->pages == MEM_PAGES_AUTO)
        mem_huge_start(mem);
    return 0;
}

int mem_add_ram(struct mem *mem, uint64_t gpa, uint64_t size_bytes)
{
    const struct mem_ram_config config = {.gpa = gpa, .size_bytes = size_bytes};

    return mem_add_ram_as(mem, &config);
}

int mem_add_mmio(struct mem *mem, uint64_t gpa, uint64_t size_bytes, const struct mem_ops *ops, void *opaque)
{
    struct mem_range range = {.gpa = gpa, .size_bytes = size_bytes, .ops = ops, .opaque = opaque};

    return range_insert(mem, &range);
}

void *mem_ram_ptr(const struct mem *mem, uint64_t gpa, uint64_t size_bytes)
{
    uint64_t offset = gpa - mem->ram_gpa;

    if (TUFF_LIKELY(offset < mem->ram_low_bytes))
        return size_bytes > mem->ram_low_bytes - offset ? NULL : mem->ram_host + offset;
    offset = gpa - mem->ram_high_gpa;
    uint64_t high_bytes = mem->ram_bytes - mem->ram_low_bytes;
    if (offset >= high_bytes || size_bytes > high_bytes - offset)
        return NULL;
    return mem->ram_host + mem->ram_low_bytes + offset;
}

uint64_t mem_host_to_gpa(const struct mem *mem, const void *host)
{
    uint64_t offset = (uint64_t)((const uint8_t *)host - mem->ram_host);

    return TUFF_LIKELY(offset < mem->ram_bytes) ? mem_ram_gpa_at(mem, offset) : mem_rom_host_to_gpa(mem, host);
}

int mem_read(const struct mem *mem, uint64_t gpa, void *buf, size_t len)
{
    const void *host = mem_ram_ptr(mem, gpa, len);

    if (!host)
        return -EFAULT;
    memcpy(buf, host, len);
    return 0;
}

/* Granule by granule, after the bytes have changed: an SC that came between can be ordered before the copy, which need
 * not be atomic. */
static void break_reservations(struct mem *mem, uint64_t gpa, size_t len)
{
    struct mem_reservations *r = &mem->reservations;
    uint64_t granule_bytes = 1ull << RESERVATION_GRANULE_SHIFT;

    for (uint64_t at = gpa & ~(granule_bytes - 1); atomic_load(&r->active) && at < gpa + len; at += granule_bytes) {
        reservation_store_begin(r, MEM_HARTS_MAX, at);
        reservation_store_end(r, at);
    }
}

int mem_write(struct mem *mem, uint64_t gpa, const void *buf, size_t len)
{
    void *host = mem_ram_ptr(mem, gpa, len);

    if (!host)
        return -EFAULT;
    mem_huge_reach(mem, gpa, len);
    memcpy(host, buf, len);
    mem_note_write(mem, gpa, len);
    return 0;
}

void mem_note_write(struct mem *mem, uint64_t gpa, size_t len)
{
    break_reservations(mem, gpa, len);
    for (uint64_t at = gpa; at < gpa + len;) {
        uint64_t offset = at & (MEM_PAGE_BYTES - 1);
        uint64_t piece = MEM_PAGE_BYTES - offset;
        if (piece > gpa + len - at)
            piece = gpa + len - at;
        mem_frame_stored(mem, (uint32_t)(mem_ram_offset(mem, at) >> MEM_PAGE_SHIFT), (unsigned)offset, (unsigned)piece);
        at += piece;
    }
}

int mem_discard(struct mem *mem, uint64_t gpa, uint64_t size_bytes)
{
    uint8_t *host = mem_ram_ptr(mem, gpa, size_bytes);
    uint64_t offset = mem_ram_offset(mem, gpa);

    if (((gpa | size_bytes) & (MEM_PAGE_BYTES - 1)) || !host)
        return -EFAULT;
    mem_lazy_forget(mem, offset, size_bytes);
    mem_huge_forget(mem, offset, size_bytes);
    if (mem->ram_pages == MEM_PAGES_RESERVED)
        memset(host, 0, size_bytes); /* a page given back to the pool might not be there when it is wanted again */
    else if (fallocate(mem->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size_bytes))
        return -errno;
    mem_note_write(mem, gpa, size_bytes);
    return 0;
}

/* The device range for an access it accepts, or NULL. */
static const struct mem_range *device_range(const struct mem *mem, uint64_t gpa, unsigned size_bytes)
{
    const struct mem_range *range = range_find(mem, gpa, size_bytes);

    if (!range || !range->ops || (gpa & (size_bytes - 1)) || size_bytes < range->ops->min_access_bytes ||
        size_bytes > range->ops->max_access_bytes)
        return NULL;
    return range;
}

int mem_mmio_read(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t *value)
{
    const struct mem_range *range = device_range(mem, gpa, size_bytes);

    return range && range->ops->read ? range->ops->read(range->opaque, gpa - range->gpa, size_bytes, value) : -EFAULT;
}

int mem_mmio_write(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    const struct mem_range *range = device_range(mem, gpa, size_bytes);

    return range && range->ops->write ? range->ops->write(range->opaque, gpa - range->gpa, size_bytes, value) : -EFAULT;
}

uint64_t mem_ram_base(const struct mem *mem)
{
    return mem->ram_gpa;
}

uint64_t mem_ram_bytes(const struct mem *mem)
{
    return mem->ram_bytes;
}

uint64_t mem_ram_low_bytes(const struct mem *mem)
{
    return mem->ram_low_bytes;
}

uint64_t mem_ram_high_base(const struct mem *mem)
{
    return mem->ram_high_gpa;
}

enum mem_pages mem_ram_pages(const struct mem *mem)
{
    return mem->ram_pages;
}

/* Sums what the kernel says of the mappings in RAM. */
int64_t mem_ram_huge_bytes(const struct mem *mem)
{
    static const char *const fields[] = {"ShmemPmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:"};
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512], *end;
    bool inside = false;
    int64_t sum = 0;

    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file)) {
        unsigned long start = strtoul(line, &end, 16);
        if (end > line && *end == '-')
            inside = start - (uintptr_t)mem->ram_host < mem->ram_bytes;
        for (size_t i = 0; inside && i < TUFF_ARRAY_LEN(fields); i++) {
            size_t len = strlen(fields[i]);
            if (strncmp(line, fields[i], len) == 0)
                sum += (int64_t)strtoul(line + len, NULL, 10) << 10;
        }
    }
    fclose(file);
    return sum;
}

bool mem_ram_data(const struct mem *mem, uint64_t *start, uint64_t *end)
{
    off_t data = *start < mem->ram_bytes ? lseek(mem->ram_fd, (off_t)*start, SEEK_DATA) : -1;

    if (data < 0 && (*start >= mem->ram_bytes || errno == ENXIO))
        return false;
    /* Where the kernel cannot say, everything may. */
    off_t hole = data < 0 ? -1 : lseek(mem->ram_fd, data, SEEK_HOLE);
    *start = data < 0 ? *start : (uint64_t)data & ~(uint64_t)(MEM_PAGE_BYTES - 1);
    *end = hole < 0 ? mem->ram_bytes : ((uint64_t)hole + MEM_PAGE_BYTES - 1) & ~(uint64_t)(MEM_PAGE_BYTES - 1);
    return true;
}

void mem_watch_stores(struct mem *mem, uint64_t gpa, void (*fn)(void *opaque, uint64_t gpa, unsigned len_bytes),
                      void *opaque)
{
    if (!mem_ram_ptr(mem, gpa, 1))
        return;
    mem->watched_frame = (uint32_t)(mem_ram_offset(mem, gpa) >> MEM_PAGE_SHIFT);
    mem->watch = fn;
    mem->watch_opaque = opaque;
}

struct mem_reservations *mem_reservations(struct mem *mem)
{
    return &mem->reservations;
}
