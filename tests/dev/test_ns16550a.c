/* NS16550A: registers, byte streams with and without FIFOs, interrupts, loopback, what Linux probes for, state, device
 * tree. */
#include "dev/ns16550a.h"
#include "dev_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BASE = 0x10000000,
    DATA = 0,
    IER = 1,
    IIR = 2,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7,
    FIFO = 16,
};

static struct mem *mem;
static struct device *dev;
static struct line_log irq;
static uint8_t sent[4096];
static size_t sent_len;
static unsigned wakes;

static void host_write(void *opaque, const uint8_t *bytes, size_t len)
{
    ck_assert_uint_le(sent_len + len, sizeof(sent));
    memcpy(sent + sent_len, bytes, len);
    sent_len += len;
}

static void host_can_receive(void *opaque)
{
    wakes++;
}

static void setup(void)
{
    memset(&irq, 0, sizeof(irq));
    sent_len = 0;
    wakes = 0;
    mem = make_mem();
    const struct ns16550a_config config = {
        .mem = mem,
        .gpa = BASE,
        .irq = line_to(&irq, 0),
        .irq_number = 10,
        .irq_parent = 0x100,
        .backend = {.write = host_write, .can_receive = host_can_receive},
    };
    ck_assert_int_eq(ns16550a_create(&config, &dev), 0);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static uint8_t in(unsigned reg)
{
    uint64_t value = mmio_read(mem, BASE + reg, 1);

    ck_assert_uint_le(value, 0xff);
    return (uint8_t)value;
}

static void out(unsigned reg, uint8_t value)
{
    mmio_write(mem, BASE + reg, 1, value);
}

static size_t receive(const char *text)
{
    return ns16550a_receive(dev, (const uint8_t *)text, strlen(text));
}

START_TEST(reset_values)
{
    ck_assert_uint_eq(in(IER), 0);
    ck_assert_uint_eq(in(IIR), 0x01);
    ck_assert_uint_eq(in(LCR), 0);
    ck_assert_uint_eq(in(MCR), 0);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(in(MSR), 0xb0);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(scratch_register_holds_any_value_and_means_nothing)
{
    out(SCR, 0x5a);
    ck_assert_uint_eq(in(SCR), 0x5a);
    out(SCR, 0xa5);
    ck_assert_uint_eq(in(SCR), 0xa5);
}
END_TEST

START_TEST(divisor_latch_is_behind_dlab)
{
    out(LCR, 0x80);
    out(DATA, 0x34);
    out(IER, 0x12);
    ck_assert_uint_eq(in(DATA), 0x34);
    ck_assert_uint_eq(in(IER), 0x12);
    out(LCR, 0x03);
    ck_assert_uint_eq(in(IER), 0);
    ck_assert_uint_eq(sent_len, 0);
    out(IER, 0x0d);
    out(LCR, 0x83);
    ck_assert_uint_eq(in(IER), 0x12);
    ck_assert_uint_eq(in(LCR), 0x83);
}
END_TEST

START_TEST(upper_bits_of_ier_and_mcr_read_zero)
{
    out(IER, 0xff);
    ck_assert_uint_eq(in(IER), 0x0f);
    out(MCR, 0xff);
    ck_assert_uint_eq(in(MCR), 0x1f);
}
END_TEST

START_TEST(reserved_offsets_read_zero)
{
    for (unsigned reg = 8; reg < NS16550A_BYTES; reg++) {
        out(reg, 0xff);
        ck_assert_uint_eq(in(reg), 0);
    }
    ck_assert_uint_eq(sent_len, 0);
}
END_TEST

START_TEST(wide_accesses_act_on_one_register)
{
    out(SCR, 0x77);
    mmio_write(mem, BASE, 4, 0x41424344);
    ck_assert_uint_eq(sent_len, 1);
    ck_assert_uint_eq(sent[0], 0x44);
    receive("xy");
    ck_assert_uint_eq(mmio_read(mem, BASE, 8), 'x');
    ck_assert_uint_eq(mmio_read(mem, BASE + 4, 4), 0);
}
END_TEST

START_TEST(transmitted_bytes_reach_the_host_in_order)
{
    for (unsigned i = 0; i < 256; i++) {
        ck_assert_uint_eq(in(LSR) & 0x60, 0x60);
        out(DATA, (uint8_t)i);
    }
    ck_assert_uint_eq(sent_len, 256);
    for (unsigned i = 0; i < 256; i++)
        ck_assert_uint_eq(sent[i], i);
}
END_TEST

START_TEST(without_fifos_one_byte_is_taken_at_a_time)
{
    ck_assert_uint_eq(receive("abc"), 1);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(wakes, 0);
    ck_assert_uint_eq(in(DATA), 'a');
    ck_assert_uint_eq(wakes, 1);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(receive("bc"), 1);
    ck_assert_uint_eq(in(DATA), 'b');
    ck_assert_uint_eq(wakes, 2);
}
END_TEST

START_TEST(with_fifos_sixteen_bytes_are_taken_and_the_host_is_woken_when_they_are_read)
{
    out(FCR, 0x01);
    ck_assert_uint_eq(receive("0123456789abcdefXYZ"), FIFO);
    ck_assert_uint_eq(receive("XYZ"), 0);
    for (unsigned i = 0; i < FIFO; i++) {
        ck_assert_uint_eq(wakes, 0);
        ck_assert_uint_eq(in(DATA), "0123456789abcdef"[i]);
    }
    ck_assert_uint_eq(wakes, 1);
    ck_assert_uint_eq(in(LSR) & 1, 0);
    ck_assert_uint_eq(receive("XYZ"), 3);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(in(DATA), "XYZ"[i]);
    ck_assert_uint_eq(wakes, 1);
}
END_TEST

START_TEST(fifo_wraps_without_losing_order)
{
    uint8_t next_in = 0, next_out = 0;

    out(FCR, 0x01);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 11; i++) {
            if (ns16550a_receive(dev, &next_in, 1))
                next_in++;
        }
        for (int i = 0; i < 7; i++)
            ck_assert_uint_eq(in(DATA), next_out++);
    }
}
END_TEST

START_TEST(reading_an_empty_receiver_gives_zero)
{
    ck_assert_uint_eq(in(DATA), 0);
    out(FCR, 0x01);
    ck_assert_uint_eq(in(DATA), 0);
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(fcr_clears_the_receiver_on_request_and_when_fifos_are_switched)
{
    out(FCR, 0x01);
    receive("abc");
    out(FCR, 0x01);
    ck_assert_uint_eq(in(LSR) & 1, 1);
    out(FCR, 0x03);
    ck_assert_uint_eq(in(LSR) & 1, 0);
    receive("abc");
    out(FCR, 0x00);
    ck_assert_uint_eq(in(LSR) & 1, 0);
    receive("a");
    out(FCR, 0x02);
    ck_assert_uint_eq(in(LSR) & 1, 1);
    out(FCR, 0x01);
    ck_assert_uint_eq(in(LSR) & 1, 0);
}
END_TEST

START_TEST(fifo_clear_wakes_a_waiting_host)
{
    ck_assert_uint_eq(receive("ab"), 1);
    out(FCR, 0x01);
    ck_assert_uint_eq(wakes, 1);
}
END_TEST

START_TEST(iir_shows_whether_fifos_are_on)
{
    ck_assert_uint_eq(in(IIR), 0x01);
    out(FCR, 0x01);
    ck_assert_uint_eq(in(IIR), 0xc1);
    out(FCR, 0xc0);
    ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

START_TEST(linux_probe_finds_a_16550a)
{
    /* serial8250 autoconfig: IER's low nibble, loopback MSR, IIR with FIFOs on, no EFR, no 64-byte FIFO, no UUE bit */
    out(IER, 0);
    ck_assert_uint_eq(in(IER) & 0x0f, 0);
    out(IER, 0x0f);
    ck_assert_uint_eq(in(IER) & 0x0f, 0x0f);
    out(IER, 0);
    out(MCR, 0x10 | 0x0a);
    ck_assert_uint_eq(in(MSR) & 0xf0, 0x90);
    out(MCR, 0);
    out(FCR, 0x01);
    ck_assert_uint_eq(in(IIR) >> 6, 3);
    out(LCR, 0x80);
    ck_assert_uint_ne(in(IIR), 0);
    out(LCR, 0xbf);
    ck_assert_uint_ne(in(IIR), 0);
    out(LCR, 0x80);
    out(FCR, 0x21);
    ck_assert_uint_eq(in(IIR) >> 5, 6);
    out(LCR, 0);
    out(IER, 0x40);
    ck_assert_uint_eq(in(IER) & 0x40, 0);
}
END_TEST

START_TEST(rx_interrupt_without_fifos_follows_the_data)
{
    out(IER, 0x01);
    ck_assert(!irq.level);
    receive("a");
    ck_assert(irq.level);
    ck_assert_uint_eq(in(IIR), 0x04);
    ck_assert(irq.level);
    in(DATA);
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

START_TEST(rx_interrupt_waits_for_ier)
{
    receive("a");
    ck_assert(!irq.level);
    out(IER, 0x01);
    ck_assert(irq.level);
    out(IER, 0x00);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(rx_interrupt_cause_follows_the_trigger_level)
{
    static const unsigned levels[] = {1, 4, 8, 14};
    const uint8_t byte = 'x';

    out(IER, 0x01);
    for (unsigned code = 0; code < 4; code++) {
        out(FCR, (uint8_t)(code << 6 | 0x03));
        for (unsigned count = 1; count <= FIFO; count++) {
            ck_assert_uint_eq(ns16550a_receive(dev, &byte, 1), 1);
            ck_assert(irq.level);
            ck_assert_uint_eq(in(IIR), count >= levels[code] ? 0xc4 : 0xcc);
        }
        for (unsigned count = FIFO; count-- > 0;) {
            in(DATA);
            ck_assert_uint_eq(in(IIR), count >= levels[code] && count ? 0xc4 : count ? 0xcc : 0xc1);
        }
        ck_assert(!irq.level);
    }
}
END_TEST

START_TEST(thre_interrupt_comes_with_ier_and_goes_with_iir)
{
    out(IER, 0x02);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(IIR), 0x01);
    out(IER, 0x02);
    ck_assert(!irq.level);
    out(IER, 0x00);
    out(IER, 0x02);
    ck_assert(irq.level);
}
END_TEST

START_TEST(thre_interrupt_comes_again_after_each_transmission)
{
    out(IER, 0x02);
    in(IIR);
    for (int i = 0; i < 20; i++) {
        out(DATA, 'a');
        ck_assert(irq.level);
        ck_assert_uint_eq(in(IIR), 0x02);
        ck_assert(!irq.level);
    }
}
END_TEST

START_TEST(thre_is_kept_while_iir_reports_something_higher)
{
    out(IER, 0x03);
    receive("a");
    ck_assert_uint_eq(in(IIR), 0x04);
    in(DATA);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(iir_reports_causes_by_priority)
{
    out(IER, 0x0f);
    out(MCR, 0x10);
    out(MCR, 0x00);
    ns16550a_receive_break(dev);
    ck_assert_uint_eq(in(IIR), 0x06);
    in(LSR);
    ck_assert_uint_eq(in(IIR), 0x04);
    in(DATA);
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert_uint_eq(in(IIR), 0x00);
    ck_assert(irq.level);
    in(MSR);
    ck_assert_uint_eq(in(IIR), 0x01);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(break_is_a_zero_byte_with_an_error_shown_once)
{
    out(IER, 0x04);
    ns16550a_receive_break(dev);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(LSR), 0x71);
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(DATA), 0);
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(break_in_the_fifo_shows_when_it_is_the_oldest_byte)
{
    out(FCR, 0x01);
    out(IER, 0x04);
    receive("a");
    ns16550a_receive_break(dev);
    receive("b");
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(LSR), 0xe1);
    ck_assert_uint_eq(in(DATA), 'a');
    ck_assert(irq.level);
    ck_assert_uint_eq(in(LSR), 0xf1);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(DATA), 0);
    ck_assert_uint_eq(in(DATA), 'b');
}
END_TEST

START_TEST(break_into_a_full_receiver_is_an_overrun)
{
    out(IER, 0x04);
    receive("a");
    ns16550a_receive_break(dev);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(LSR), 0x73);
    ck_assert_uint_eq(in(DATA), 0);
    out(FCR, 0x01);
    receive("0123456789abcdef");
    ns16550a_receive_break(dev);
    ck_assert_uint_eq(in(LSR), 0x63);
    ck_assert_uint_eq(in(LSR), 0x61);
    for (unsigned i = 0; i < FIFO; i++)
        ck_assert_uint_eq(in(DATA), "0123456789abcdef"[i]);
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(loopback_returns_bytes_and_hides_them_from_the_host)
{
    out(FCR, 0x01);
    out(MCR, 0x10);
    for (unsigned i = 0; i < 20; i++)
        out(DATA, (uint8_t)(0xa0 + i));
    ck_assert_uint_eq(sent_len, 0);
    ck_assert_uint_eq(in(LSR), 0x63);
    for (unsigned i = 0; i < FIFO; i++)
        ck_assert_uint_eq(in(DATA), 0xa0 + i);
    ck_assert_uint_eq(in(LSR) & 1, 0);
}
END_TEST

START_TEST(loopback_without_fifos_keeps_the_newest_byte)
{
    out(MCR, 0x10);
    out(DATA, 1);
    out(DATA, 2);
    ck_assert_uint_eq(in(LSR), 0x63);
    ck_assert_uint_eq(in(DATA), 2);
}
END_TEST

START_TEST(loopback_holds_host_input_back_until_it_ends)
{
    out(MCR, 0x10);
    ck_assert_uint_eq(receive("a"), 0);
    ns16550a_receive_break(dev);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(wakes, 0);
    out(MCR, 0x00);
    ck_assert_uint_eq(wakes, 1);
    ck_assert_uint_eq(receive("a"), 1);
}
END_TEST

START_TEST(loopback_connects_modem_outputs_to_inputs)
{
    static const uint8_t msr_of[] = {0x20, 0x10, 0x40, 0x80}; /* DTR-DSR, RTS-CTS, OUT1-RI, OUT2-DCD */

    for (unsigned value = 0; value < 16; value++) {
        uint8_t expected = 0;
        for (unsigned bit = 0; bit < 4; bit++)
            expected |= value >> bit & 1 ? msr_of[bit] : 0;
        out(MCR, (uint8_t)(0x10 | value));
        ck_assert_uint_eq(in(MSR) & 0xf0, expected);
    }
    out(MCR, 0x0f);
    ck_assert_uint_eq(in(MSR) & 0xf0, 0xb0);
}
END_TEST

START_TEST(modem_deltas_interrupt_and_are_cleared_by_reading)
{
    out(MCR, 0x1f);
    in(MSR);
    out(IER, 0x08);
    ck_assert(!irq.level);
    out(MCR, 0x1d); /* RTS falls */
    ck_assert(irq.level);
    ck_assert_uint_eq(in(IIR), 0x00);
    ck_assert_uint_eq(in(MSR), 0xe1);
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(MSR), 0xe0);
    out(MCR, 0x19); /* RI falls: TERI */
    ck_assert_uint_eq(in(MSR), 0xa4);
    out(MCR, 0x1d); /* RI rises: none */
    ck_assert_uint_eq(in(MSR), 0xe0);
    out(MCR, 0x10);
    ck_assert_uint_eq(in(MSR), 0x0e);
}
END_TEST

START_TEST(break_sent_in_loopback_is_received)
{
    out(MCR, 0x10);
    out(LCR, 0x43);
    ck_assert_uint_eq(in(LSR), 0x71);
    out(LCR, 0x43);
    in(DATA);
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(lsr_and_msr_ignore_writes)
{
    out(LSR, 0xff);
    out(MSR, 0xff);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(in(MSR), 0xb0);
}
END_TEST

START_TEST(polling_does_not_drive_the_line)
{
    out(IER, 0x01);
    receive("a");
    irq.level = false; /* what the device does not drive stays as it is */
    for (int i = 0; i < 10; i++)
        in(LSR);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(saved_state_restores_fifo_registers_and_line)
{
    out(LCR, 0x80);
    out(DATA, 2);
    out(LCR, 0x03);
    out(FCR, 0x81);
    out(SCR, 0x42);
    out(IER, 0x05);
    receive("hello");
    ns16550a_receive_break(dev);
    in(DATA);
    save_reset_load(dev);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(SCR), 0x42);
    ck_assert_uint_eq(in(IER), 0x05);
    ck_assert_uint_eq(in(IIR), 0xcc);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(in(DATA), "ello"[i]);
    ck_assert_uint_eq(in(IIR), 0xc6);
    ck_assert_uint_eq(in(LSR), 0xf1);
    out(LCR, 0x83);
    ck_assert_uint_eq(in(DATA), 2);
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"ns16550a"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/serial@10000000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, 0x10000000, 0, 0x100);
    EXPECT_CELLS(fdt, node, "interrupts", 10);
    EXPECT_CELLS(fdt, node, "interrupt-parent", 0x100);
    EXPECT_CELLS(fdt, node, "clock-frequency", 3686400);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(create_at_a_taken_address_is_refused)
{
    const struct ns16550a_config config = {.mem = mem, .gpa = BASE};
    struct device *other;

    ck_assert_int_eq(ns16550a_create(&config, &other), -EEXIST);
}
END_TEST

START_TEST(reset_empties_the_receiver_and_wakes_a_waiting_host)
{
    out(IER, 0x01);
    ck_assert_uint_eq(receive("ab"), 1);
    ck_assert(irq.level);
    dev->ops->reset(dev);
    ck_assert(!irq.level);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(in(IER), 0);
    ck_assert_uint_eq(wakes, 1);
}
END_TEST

/* A host thread feeds a stream and sleeps when refused; the guest polls. Nothing is lost, doubled or stuck. */
enum { STREAM = 20000 };

static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_cond = PTHREAD_COND_INITIALIZER;
static unsigned wake_count;

static void wake_feeder(void *opaque)
{
    pthread_mutex_lock(&wake_lock);
    wake_count++;
    pthread_cond_signal(&wake_cond);
    pthread_mutex_unlock(&wake_lock);
}

static void *feeder_thread(void *arg)
{
    struct device *serial = arg;
    uint8_t bytes[40];
    unsigned seen = 0;

    for (unsigned at = 0; at < STREAM;) {
        size_t len = STREAM - at < sizeof(bytes) ? STREAM - at : sizeof(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)((at + i) * 7);
        size_t taken = ns16550a_receive(serial, bytes, len);
        at += (unsigned)taken;
        if (taken == len)
            continue;
        pthread_mutex_lock(&wake_lock);
        while (wake_count == seen)
            pthread_cond_wait(&wake_cond, &wake_lock);
        seen = wake_count;
        pthread_mutex_unlock(&wake_lock);
    }
    return NULL;
}

START_TEST(stream_from_another_thread_arrives_whole)
{
    struct mem *own_mem = make_mem();
    struct device *own;
    const struct ns16550a_config config = {.mem = own_mem, .gpa = BASE, .backend = {.can_receive = wake_feeder}};
    pthread_t thread;

    ck_assert_int_eq(ns16550a_create(&config, &own), 0);
    mmio_write(own_mem, BASE + FCR, 1, 0x01);
    ck_assert_int_eq(pthread_create(&thread, NULL, feeder_thread, own), 0);
    for (unsigned at = 0; at < STREAM;) {
        if (!(mmio_read(own_mem, BASE + LSR, 1) & 1)) {
            sched_yield();
            continue;
        }
        ck_assert_uint_eq(mmio_read(own_mem, BASE, 1), (uint8_t)(at * 7));
        at++;
    }
    pthread_join(thread, NULL);
    mem_destroy(own_mem);
    own->ops->destroy(own);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ns16550a");
    TCase *tc = tcase_create("registers");
    TCase *rx = tcase_create("receiver");
    TCase *interrupts = tcase_create("interrupts");
    TCase *loop = tcase_create("loopback");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_values);
    tcase_add_test(tc, scratch_register_holds_any_value_and_means_nothing);
    tcase_add_test(tc, divisor_latch_is_behind_dlab);
    tcase_add_test(tc, upper_bits_of_ier_and_mcr_read_zero);
    tcase_add_test(tc, reserved_offsets_read_zero);
    tcase_add_test(tc, wide_accesses_act_on_one_register);
    tcase_add_test(tc, transmitted_bytes_reach_the_host_in_order);
    tcase_add_test(tc, iir_shows_whether_fifos_are_on);
    tcase_add_test(tc, linux_probe_finds_a_16550a);
    tcase_add_test(tc, lsr_and_msr_ignore_writes);
    tcase_add_test(tc, saved_state_restores_fifo_registers_and_line);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, create_at_a_taken_address_is_refused);
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(rx, setup, teardown);
    tcase_set_timeout(rx, 60);
    tcase_add_test(rx, without_fifos_one_byte_is_taken_at_a_time);
    tcase_add_test(rx, with_fifos_sixteen_bytes_are_taken_and_the_host_is_woken_when_they_are_read);
    tcase_add_test(rx, fifo_wraps_without_losing_order);
    tcase_add_test(rx, reading_an_empty_receiver_gives_zero);
    tcase_add_test(rx, fcr_clears_the_receiver_on_request_and_when_fifos_are_switched);
    tcase_add_test(rx, fifo_clear_wakes_a_waiting_host);
    tcase_add_test(rx, break_is_a_zero_byte_with_an_error_shown_once);
    tcase_add_test(rx, break_in_the_fifo_shows_when_it_is_the_oldest_byte);
    tcase_add_test(rx, break_into_a_full_receiver_is_an_overrun);
    tcase_add_test(rx, reset_empties_the_receiver_and_wakes_a_waiting_host);
    tcase_add_test(rx, stream_from_another_thread_arrives_whole);
    suite_add_tcase(suite, rx);
    tcase_add_checked_fixture(interrupts, setup, teardown);
    tcase_add_test(interrupts, rx_interrupt_without_fifos_follows_the_data);
    tcase_add_test(interrupts, rx_interrupt_waits_for_ier);
    tcase_add_test(interrupts, rx_interrupt_cause_follows_the_trigger_level);
    tcase_add_test(interrupts, thre_interrupt_comes_with_ier_and_goes_with_iir);
    tcase_add_test(interrupts, thre_interrupt_comes_again_after_each_transmission);
    tcase_add_test(interrupts, thre_is_kept_while_iir_reports_something_higher);
    tcase_add_test(interrupts, iir_reports_causes_by_priority);
    tcase_add_test(interrupts, modem_deltas_interrupt_and_are_cleared_by_reading);
    tcase_add_test(interrupts, polling_does_not_drive_the_line);
    suite_add_tcase(suite, interrupts);
    tcase_add_checked_fixture(loop, setup, teardown);
    tcase_add_test(loop, loopback_returns_bytes_and_hides_them_from_the_host);
    tcase_add_test(loop, loopback_without_fifos_keeps_the_newest_byte);
    tcase_add_test(loop, loopback_holds_host_input_back_until_it_ends);
    tcase_add_test(loop, loopback_connects_modem_outputs_to_inputs);
    tcase_add_test(loop, break_sent_in_loopback_is_received);
    suite_add_tcase(suite, loop);
    return run_suite(suite);
}
