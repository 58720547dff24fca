/* The debugger's side of the vCPU interface: what back ends do differently goes to them; memory at virtual addresses is
 * read and written here, by their translation. */
#include "engine/vcpu_internal.h"
#include "mem/mem.h"

#include <errno.h>
#include <string.h>

bool vcpu_can_debug(struct vcpu *vcpu)
{
    return vcpu->ops->set_points && vcpu->ops->set_points(vcpu, NULL, 0) == 0;
}

int vcpu_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count)
{
    if (count > VCPU_POINTS_MAX)
        return -ENOSPC;
    for (uint32_t i = 0; i < count; i++) {
        const struct vcpu_point *p = &points[i];
        if (!p->kinds || (p->kinds & ~VCPU_POINT_KINDS) || !p->len_bytes || p->len_bytes - 1 > UINT64_MAX - p->gva)
            return -EINVAL;
    }
    return vcpu->ops->set_points(vcpu, points, count);
}

struct vcpu_stop vcpu_last_stop(const struct vcpu *vcpu)
{
    return vcpu->ops->last_stop(vcpu);
}

enum vcpu_exit vcpu_step(struct vcpu *vcpu)
{
    return vcpu->ops->step(vcpu);
}

int vcpu_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa)
{
    return vcpu->ops->translate(vcpu, gva, gpa);
}

/* Calls fn for each page's part of [gva, gva + len). */
static int each_page(struct vcpu *vcpu, uint64_t gva, uint8_t *bytes, uint32_t len,
                     int (*fn)(struct mem *mem, uint64_t gpa, uint8_t *bytes, uint32_t len))
{
    struct mem *mem = vcpu->ops->memory(vcpu);

    for (uint32_t done = 0; done < len;) {
        uint32_t room = MEM_PAGE_BYTES - (uint32_t)((gva + done) & (MEM_PAGE_BYTES - 1));
        uint32_t piece = len - done < room ? len - done : room;
        uint64_t gpa;
        int rc = vcpu_translate(vcpu, gva + done, &gpa);
        if (rc == 0)
            rc = fn(mem, gpa, bytes + done, piece);
        if (rc)
            return rc;
        done += piece;
    }
    return 0;
}

static int read_piece(struct mem *mem, uint64_t gpa, uint8_t *bytes, uint32_t len)
{
    const uint8_t *rom = mem_rom_ptr(mem, gpa, len, true);

    if (!rom)
        return mem_read(mem, gpa, bytes, len);
    memcpy(bytes, rom, len);
    return 0;
}

static int check_piece(struct mem *mem, uint64_t gpa, uint8_t *bytes, uint32_t len)
{
    return mem_ram_ptr(mem, gpa, len) ? 0 : -EFAULT;
}

static int write_piece(struct mem *mem, uint64_t gpa, uint8_t *bytes, uint32_t len)
{
    return mem_write(mem, gpa, bytes, len);
}

int vcpu_debug_read(struct vcpu *vcpu, uint64_t gva, void *buf, uint32_t len)
{
    return each_page(vcpu, gva, buf, len, read_piece);
}

int vcpu_debug_write(struct vcpu *vcpu, uint64_t gva, const void *buf, uint32_t len)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)buf; /* only read */
    int rc = each_page(vcpu, gva, bytes, len, check_piece);

    return rc ? rc : each_page(vcpu, gva, bytes, len, write_piece);
}
