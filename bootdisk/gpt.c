/* The partitions of a disk with a GUID partition table. The first copy of the table counts, without its checksums:
 * what a wrong table leads to is looked at as a file system and found not to be one. */
#include "bootdisk/bootdisk_internal.h"

#include <endian.h>
#include <string.h>

enum { LBA_BYTES = 512, ENTRY_BYTES_MIN = 128, ENTRY_BYTES_MAX = 4096 };

/* Section 5.3.2. */
struct gpt_header {
    char signature[8];
    uint32_t revision, header_bytes, header_crc, reserved;
    uint64_t this_lba, other_lba, first_usable_lba, last_usable_lba;
    uint8_t disk_guid[16];
    uint64_t entries_lba;
    uint32_t entry_count, entry_bytes, entries_crc;
} __attribute__((packed));

/* Section 5.3.3. */
struct gpt_entry {
    uint8_t type_guid[16], guid[16];
    uint64_t first_lba, last_lba;
} __attribute__((packed));

static struct extent entry_extent(const struct gpt_entry *entry, uint64_t disk_bytes)
{
    static const uint8_t unused[16];
    uint64_t first = le64toh(entry->first_lba), last = le64toh(entry->last_lba);

    if (memcmp(entry->type_guid, unused, sizeof(unused)) == 0 || !first || last < first ||
        last >= disk_bytes / LBA_BYTES)
        return (struct extent){0};
    return (struct extent){first * LBA_BYTES, (last - first + 1) * LBA_BYTES};
}

int gpt_read(struct block_node *node, struct extent out[GPT_ENTRIES_MAX])
{
    struct gpt_header header;
    uint64_t disk_bytes = node_size(node);

    memset(out, 0, GPT_ENTRIES_MAX * sizeof(*out));
    if (disk_bytes < (uint64_t)2 * LBA_BYTES)
        return 0;
    int rc = node_read(node, &header, sizeof(header), LBA_BYTES);
    if (rc)
        return rc;
    uint32_t count = le32toh(header.entry_count), bytes = le32toh(header.entry_bytes);
    uint64_t lba = le64toh(header.entries_lba);
    if (memcmp(header.signature, "EFI PART", sizeof(header.signature)) != 0 || bytes < ENTRY_BYTES_MIN ||
        bytes > ENTRY_BYTES_MAX)
        return 0;
    if (count > GPT_ENTRIES_MAX)
        count = GPT_ENTRIES_MAX;
    if (lba >= disk_bytes / LBA_BYTES || disk_bytes - lba * LBA_BYTES < (uint64_t)count * bytes)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct gpt_entry entry;
        rc = node_read(node, &entry, sizeof(entry), lba * LBA_BYTES + (uint64_t)i * bytes);
        if (rc)
            return rc;
        out[i] = entry_extent(&entry, disk_bytes);
    }
    return (int)count;
}
