/* The packets that begin with q and Q: what the stub can, who the threads are, the target description. */
#include "gdb/registers.h"
#include "gdb/stub_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool begins(const char **at, const char *with)
{
    size_t len = strlen(with);

    if (strncmp(*at, with, len) != 0)
        return false;
    *at += len;
    return true;
}

static void say_supported(struct gdb_stub *stub, const char *client)
{
    stub->names_breaks = strstr(client, "swbreak+") != NULL;
    struct gdb_writer *w = gdb_reply(stub);
    gdb_writer_print(w,
                     "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
                     "qqemu.PhyMemMode+",
                     GDB_PACKET_MAX);
    gdb_reply_end(stub);
}

static void list_threads(struct gdb_stub *stub)
{
    enum { IN_A_PACKET = 64 };
    struct gdb_writer *w = gdb_reply(stub);
    uint32_t first = stub->listed;

    if (first >= stub->target.hart_count)
        gdb_writer_print(w, "l");
    while (stub->listed < stub->target.hart_count && stub->listed - first < IN_A_PACKET) {
        gdb_writer_print(w, "%c%" PRIx32, stub->listed == first ? 'm' : ',', stub->listed + 1);
        stub->listed++;
    }
    gdb_reply_end(stub);
}

static void say_thread(struct gdb_stub *stub, const char *at)
{
    uint32_t hart;

    if (!gdb_parse_thread(stub, &at, &hart) || hart >= stub->target.hart_count) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    char text[64];
    int len =
        snprintf(text, sizeof(text), "hart %" PRIu32 ", %s", hart, stub->target.hart_text(stub->target.opaque, hart));
    gdb_writer_hex(gdb_reply(stub), text, (size_t)len);
    gdb_reply_end(stub);
}

/* "target.xml:OFFSET,LENGTH" */
static void say_description(struct gdb_stub *stub, const char *at)
{
    uint64_t offset, len;

    if (!begins(&at, "target.xml:")) {
        gdb_reply_text(stub, "E00");
        return;
    }
    if (!gdb_parse_number(&at, &offset) || !gdb_parse_char(&at, ',') || !gdb_parse_number(&at, &len) || *at) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    if (!stub->description) {
        struct vcpu_state state;
        vcpu_get_state(stub->target.vcpus[0], &state);
        stub->description = gdb_registers_describe(&state);
    }
    if (!stub->description) {
        gdb_reply_error(stub, ENOMEM);
        return;
    }
    size_t all = strlen(stub->description);
    size_t left = offset < all ? all - (size_t)offset : 0;
    size_t piece = len < left ? (size_t)len : left;
    /* Each byte may become two. */
    piece = piece < GDB_PACKET_MAX / 2 - 1 ? piece : GDB_PACKET_MAX / 2 - 1;
    struct gdb_writer *w = gdb_reply(stub);
    gdb_writer_print(w, "%c", piece < left ? 'm' : 'l');
    (void)gdb_writer_binary(w, stub->description + all - left, piece);
    gdb_reply_end(stub);
}

static void monitor(struct gdb_stub *stub, const char *at, const char *end)
{
    uint8_t text[256];
    long len = gdb_parse_hex(at, (size_t)(end - at), text, sizeof(text) - 1);

    if (len < 0) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    text[len] = 0;
    gdb_do_monitor(stub, (const char *)text);
}

void gdb_do_query(struct gdb_stub *stub, const char *at, const char *end)
{
    if (begins(&at, "Supported")) {
        say_supported(stub, at);
    } else if (strcmp(at, "fThreadInfo") == 0) {
        stub->listed = 0;
        list_threads(stub);
    } else if (strcmp(at, "sThreadInfo") == 0) {
        list_threads(stub);
    } else if (begins(&at, "ThreadExtraInfo,")) {
        say_thread(stub, at);
    } else if (strcmp(at, "C") == 0) {
        gdb_writer_print(gdb_reply(stub), "QC%" PRIx32, stub->stopped + 1);
        gdb_reply_end(stub);
    } else if (begins(&at, "Attached")) {
        gdb_reply_text(stub, "1");
    } else if (begins(&at, "Xfer:features:read:")) {
        say_description(stub, at);
    } else if (begins(&at, "Rcmd,")) {
        monitor(stub, at, end);
    } else if (strcmp(at, "qemu.PhyMemMode") == 0) {
        gdb_reply_text(stub, stub->physical ? "1" : "0");
    } else if (strcmp(at, "Symbol::") == 0) {
        gdb_reply_text(stub, "OK");
    } else {
        gdb_reply_text(stub, "");
    }
}

void gdb_do_set(struct gdb_stub *stub, const char *at)
{
    if (strcmp(at, "StartNoAckMode") == 0) {
        gdb_reply_text(stub, "OK");
        stub->no_ack = true;
    } else if (begins(&at, "qemu.PhyMemMode:") && (*at == '0' || *at == '1')) {
        stub->physical = *at == '1';
        gdb_reply_text(stub, "OK");
    } else {
        gdb_reply_text(stub, "");
    }
}
