/* A SCSI disk (SPC-4, SBC-3) as commands see it: what a command block asks of it, without doing the input and output. A
 * host bus adapter (dev/virtio/virtio_scsi.c) asks for a plan, carries it out on its image and reports.
 *
 * Nothing here allocates, blocks or locks; a unit belongs to whoever made it.
 */
#ifndef TUFF_DEV_SCSI_SCSI_UNIT_H
#define TUFF_DEV_SCSI_SCSI_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCSI_CDB_BYTES = 32,
    SCSI_SENSE_BYTES = 18,
    SCSI_DATA_BYTES = 512,     /* that a command answers from here */
    SCSI_OUT_BYTES = 4096,     /* parameters that it brings */
    SCSI_RANGES_MAX = 64,      /* of an UNMAP */
    SCSI_BLOCKS_MAX = 1 << 16, /* of one READ or WRITE */
    SCSI_SAME_BLOCKS_MAX = 1 << 21,
    SCSI_SERIAL_BYTES = 20,
};

enum { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2 };

/* Sense keys, and additional codes with their qualifiers as 0xCCQQ. */
enum {
    SCSI_NO_SENSE = 0,
    SCSI_MEDIUM_ERROR = 3,
    SCSI_ILLEGAL_REQUEST = 5,
    SCSI_UNIT_ATTENTION = 6,
    SCSI_DATA_PROTECT = 7,
    SCSI_WRITE_ERROR = 0x0c00,
    SCSI_READ_ERROR = 0x1100,
    SCSI_PARAMETER_LENGTH = 0x1a00,
    SCSI_INVALID_OPCODE = 0x2000,
    SCSI_OUT_OF_RANGE = 0x2100,
    SCSI_INVALID_FIELD = 0x2400,
    SCSI_NO_UNIT = 0x2500,
    SCSI_INVALID_PARAMETER = 0x2600,
    SCSI_WRITE_PROTECTED = 0x2700,
    SCSI_SPACE_FAILED = 0x2707,
    SCSI_POWER_ON = 0x2900,
    SCSI_NO_SAVING = 0x3900,
};

struct scsi_unit {
    uint64_t blocks;
    uint32_t block_bytes;   /* 512 to 4096 */
    uint64_t cluster_bytes; /* space is given back in these */
    bool read_only;
    uint8_t number;     /* its LUN */
    uint8_t count;      /* of units behind the same target: 0 .. count - 1 */
    uint8_t attention;  /* the next command is told of a reset; saved */
    const char *serial; /* up to SCSI_SERIAL_BYTES characters; "": none */
};

enum scsi_action {
    SCSI_RESPOND, /* nothing to do */
    SCSI_READ,    /* the first range, into the data buffer */
    SCSI_WRITE,
    SCSI_FLUSH,
    SCSI_UNMAP, /* each range */
    SCSI_ZERO,
    SCSI_FILL, /* the first range with copies of the block that came with the command */
};

struct scsi_range {
    uint64_t offset, bytes;
};

struct scsi_plan {
    enum scsi_action action;
    uint8_t status;      /* as long as nothing fails */
    uint8_t key;         /* CHECK CONDITION: the sense */
    uint16_t code;       /* 0xCCQQ */
    bool flush;          /* after it: the command is to be durable */
    bool may_unmap;      /* ZERO */
    uint32_t data_bytes; /* RESPOND: of `data`, for the initiator */
    uint8_t data[SCSI_DATA_BYTES];
    unsigned range_count;
    struct scsi_range ranges[SCSI_RANGES_MAX];
};

/* How many bytes of parameters a command brings that have to be looked at: at most SCSI_OUT_BYTES. `unit` NULL: there
 * is none with that number. */
size_t scsi_parameter_bytes(const struct scsi_unit *unit, const uint8_t cdb[SCSI_CDB_BYTES]);

/* What a command is about. `out`: the first `out_len` bytes that came with it, which are all if they are fewer than
 * scsi_parameter_bytes(). `count`: of units, where `unit` is NULL. Every range lies inside the unit and is not empty.
 */
void scsi_plan(struct scsi_unit *unit, unsigned count, const uint8_t cdb[SCSI_CDB_BYTES], const uint8_t *out,
               size_t out_len, struct scsi_plan *plan);

/* Sense data in fixed format (SPC-4, 4.5.3). */
void scsi_sense(uint8_t key, uint16_t code, uint8_t sense[SCSI_SENSE_BYTES]);

#endif
