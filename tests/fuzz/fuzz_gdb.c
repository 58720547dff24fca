/* gdb's protocol: whatever a client sends, the stub answers in whole packets and stays within its buffers, and the
 * harts can go on. Input: packets without frame, separated by zero bytes; one that begins with 0xff is sent raw.
 */
#include "../gdb/stub_bench.h"
#include "fuzz.h"
#include "gdb/packet.h"

#include <stdbool.h>

static struct stub_bench bench;

/* Some code to run: a loop that stores, and calls an exception handler that is the same loop. */
static const uint32_t program[] = {
    0x00000517, /* auipc a0, 0 */
    0x00158593, /* addi a1, a1, 1 */
    0x40b53023, /* sd a1, 0x400(a0) */
    0x40053603, /* ld a2, 0x400(a0) */
    0xff1ff06f, /* j -16 */
};

/* Everything that was sent is acknowledgements and packets with right sums. */
static void check_output(void)
{
    static struct gdb_reader reader;

    memset(&reader, 0, sizeof(reader));
    for (size_t i = 0; i < bench.out_len; i++) {
        enum gdb_event event = gdb_reader_take(&reader, (uint8_t)bench.out[i]);
        require(event != GDB_EVENT_REFUSED && event != GDB_EVENT_BREAK);
    }
    require(reader.state == GDB_READ_IDLE || bench.out_len == sizeof(bench.out) - 1);
}

static void send(const uint8_t *packet, size_t len)
{
    bench_forget(&bench);
    if (len && packet[0] == 0xff) {
        gdb_stub_input(bench.stub, packet + 1, len - 1);
        bench_run(&bench);
    } else {
        bench_packet(&bench, packet, len);
    }
    check_output();
    /* A guest that runs is stopped, so that the next packet is looked at. */
    const uint8_t stop = 3;
    if (bench.running)
        gdb_stub_input(bench.stub, &stop, 1);
    if (!gdb_stub_is_attached(bench.stub))
        require(gdb_stub_attach(bench.stub, false) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    require(bench_open(&bench, false) == 0);
    require(mem_write(bench.mem, BENCH_RAM_GPA, program, sizeof(program)) == 0);
    for (size_t at = 0; at < len && !bench.quit;) {
        size_t end = at;
        while (end < len && data[end])
            end++;
        send(data + at, end - at);
        at = end + 1;
    }
    bench_close(&bench);
    return 0;
}
