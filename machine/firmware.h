/* What the reset code of QEMU's board leaves for OpenSBI's "fw_dynamic" firmware: a2 points to it (OpenSBI
 * documentation, docs/firmware/fw_dynamic.md and include/sbi/fw_dynamic.h). Other firmware does not look at it. */
#ifndef TUFF_MACHINE_FIRMWARE_H
#define TUFF_MACHINE_FIRMWARE_H

#include <stdint.h>

enum {
    FIRMWARE_INFO_BYTES = 64, /* version 2 has 48; the device tree behind it stays aligned */
    /* Firmware adds to the device tree where it is (reserved memory, an overlay): what is kept free behind it. */
    FIRMWARE_TREE_ROOM_BYTES = 64 << 10,
};

/* Writes the structure, little-endian: go on at `next_gpa` (0: the firmware says that there is nothing) in S-mode, hart
 * 0 does the booting. The rest of the bytes become 0. */
void firmware_info_write(uint8_t info[FIRMWARE_INFO_BYTES], uint64_t next_gpa);

#endif
