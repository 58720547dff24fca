/* A stub's parts, shared by the files that answer packets. */
#ifndef TUFF_GDB_STUB_INTERNAL_H
#define TUFF_GDB_STUB_INTERNAL_H

#include "gdb/packet.h"
#include "gdb/stub.h"
#include "mem/mem.h"

enum { GDB_POINTS_MAX = VCPU_POINTS_MAX, GDB_HARTS_MAX = 64 };

/* As the client set it: of type 0 (by software, for gdb) to 4 (watches loads and stores). */
struct gdb_point {
    unsigned type;
    uint64_t gva, len_bytes;
};

struct gdb_stub {
    struct gdb_target target;
    gdb_send_fn *send;
    void *send_opaque;

    bool attached;
    bool running;             /* some hart may: only a break-in is listened to */
    bool no_ack;              /* packets are not acknowledged any more */
    bool names_breaks;        /* the client knows what swbreak and hwbreak say */
    bool physical;            /* addresses of memory are physical */
    bool code_written;        /* harts have to look at code again */
    uint32_t hart;            /* for registers and memory */
    uint32_t hart_to_go;      /* for 'c' and 's' without vCont; hart_count: all */
    uint32_t stopped;         /* the last that did */
    uint32_t listed;          /* for qsThreadInfo */
    bool told[GDB_HARTS_MAX]; /* what the hart stopped for was said, or is not worth it */

    struct gdb_point points[GDB_POINTS_MAX];
    uint32_t point_count;

    char *description; /* made when it is first read */
    struct gdb_reader reader;
    struct gdb_writer writer; /* keeps the last packet, in case it was not understood */
};

/* Starts a packet, and sends it. */
struct gdb_writer *gdb_reply(struct gdb_stub *stub);
void gdb_reply_end(struct gdb_stub *stub);
/* A packet that is this text. */
void gdb_reply_text(struct gdb_stub *stub, const char *text);
/* E and the number that errno has on every system gdb knows: EFAULT 14, EINVAL 22, ENOSPC 28. */
void gdb_reply_error(struct gdb_stub *stub, unsigned number);

/* ---- memory.c ---- */

/* Of the chosen hart, or physical. Returns 0 or -EFAULT. */
int gdb_memory_read(struct gdb_stub *stub, uint64_t address, void *buf, uint32_t len) TUFF_MUST_CHECK;
int gdb_memory_write(struct gdb_stub *stub, uint64_t address, const void *buf, uint32_t len) TUFF_MUST_CHECK;
/* m, M, X: `at` is behind the letter, `end` the packet's end. */
void gdb_do_read(struct gdb_stub *stub, const char *at);
void gdb_do_write(struct gdb_stub *stub, const char *at, const char *end, bool binary);

/* ---- points.c ---- */

/* Z and z: `at` is behind the letter. */
void gdb_do_point(struct gdb_stub *stub, const char *at, bool insert);
/* Gives the points to every hart. Returns 0 or what vcpu_set_points() does. */
int gdb_points_apply(struct gdb_stub *stub) TUFF_MUST_CHECK;
/* The breakpoint of the client's at an address; NULL: none. */
const struct gdb_point *gdb_breakpoint_at(const struct gdb_stub *stub, uint64_t gva);

/* ---- query.c: q and Q; `at` is behind the letter, `end` the packet's end ---- */

void gdb_do_query(struct gdb_stub *stub, const char *at, const char *end);
void gdb_do_set(struct gdb_stub *stub, const char *at);
/* ---- monitor.c: `monitor TEXT` ---- */

void gdb_do_monitor(struct gdb_stub *stub, const char *text);

/* "THREAD", which is a hart's number + 1; 0 is any, -1 all: *hart is hart_count then. False: there is none such. */
bool gdb_parse_thread(const struct gdb_stub *stub, const char **at, uint32_t *hart);

#endif
