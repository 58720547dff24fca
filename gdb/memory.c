/* Memory as gdb sees it: at virtual addresses of the chosen hart, or physical. RAM and flash only: reading a device
 * would change it. */
#include "gdb/stub_internal.h"

#include <errno.h>

enum { PIECE_MAX = GDB_PACKET_MAX / 2 };

static int physical_read(const struct mem *mem, uint64_t gpa, void *buf, uint32_t len)
{
    const uint8_t *rom = mem_rom_ptr(mem, gpa, len, true);

    if (!rom)
        return mem_read(mem, gpa, buf, len);
    __builtin_memcpy(buf, rom, len);
    return 0;
}

int gdb_memory_read(struct gdb_stub *stub, uint64_t address, void *buf, uint32_t len)
{
    if (stub->physical)
        return physical_read(stub->target.mem, address, buf, len);
    return vcpu_debug_read(stub->target.vcpus[stub->hart], address, buf, len);
}

int gdb_memory_write(struct gdb_stub *stub, uint64_t address, const void *buf, uint32_t len)
{
    stub->code_written = true;
    if (stub->physical)
        return mem_write(stub->target.mem, address, buf, len);
    return vcpu_debug_write(stub->target.vcpus[stub->hart], address, buf, len);
}

/* "ADDRESS,LENGTH" */
static bool parse_range(const char **at, uint64_t *address, uint64_t *len)
{
    return gdb_parse_number(at, address) && gdb_parse_char(at, ',') && gdb_parse_number(at, len);
}

/* How much of what was asked for can be read: gdb takes less, and asks again. */
static uint32_t readable(struct gdb_stub *stub, uint64_t address, uint8_t *bytes, uint32_t len)
{
    if (gdb_memory_read(stub, address, bytes, len) == 0)
        return len;
    uint32_t page = MEM_PAGE_BYTES - (uint32_t)(address & (MEM_PAGE_BYTES - 1));
    return page < len && gdb_memory_read(stub, address, bytes, page) == 0 ? page : 0;
}

void gdb_do_read(struct gdb_stub *stub, const char *at)
{
    uint8_t bytes[PIECE_MAX];
    uint64_t address, len;

    if (!parse_range(&at, &address, &len) || *at) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    uint32_t wanted = len < sizeof(bytes) ? (uint32_t)len : sizeof(bytes);
    uint32_t got = wanted ? readable(stub, address, bytes, wanted) : 0;
    if (wanted && !got) {
        gdb_reply_error(stub, EFAULT);
        return;
    }
    gdb_writer_hex(gdb_reply(stub), bytes, got);
    gdb_reply_end(stub);
}

void gdb_do_write(struct gdb_stub *stub, const char *at, const char *end, bool binary)
{
    uint8_t bytes[PIECE_MAX];
    const void *data = bytes;
    uint64_t address, len;

    if (!parse_range(&at, &address, &len) || !gdb_parse_char(&at, ':')) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    size_t given = (size_t)(end - at);
    if (binary)
        data = at;
    else
        given = (size_t)gdb_parse_hex(at, given, bytes, sizeof(bytes));
    if (given != len || given > GDB_PACKET_MAX)
        gdb_reply_error(stub, EINVAL);
    else if (len && gdb_memory_write(stub, address, data, (uint32_t)len) != 0)
        gdb_reply_error(stub, EFAULT);
    else
        gdb_reply_text(stub, "OK");
}
