/* The sound device: what a driver does from asking for streams to playing and recording, and WAV files on the host's
 * side. No time is measured, but that a buffer is not given back before it was played. */
#include "dev/virtio/virtio_sound.h"
#include "virtq_driver.h"

#include <stdio.h>

enum {
    RING_STEP = 0x200000,
    QUEUE_SIZE = 64,
    REQUEST_GPA = VQ_RAM_GPA + 0x800000,
    ANSWER_GPA = VQ_RAM_GPA + 0x810000,
    DATA_GPA = VQ_RAM_GPA + 0x900000,
    CONTROL = 0,
    OUTPUT = 2,
    INPUT = 3,
    PERIOD = 1920, /* 10 ms of 48 kHz stereo */
};
enum { INFO = 0x100, SET, PREPARE, RELEASE, START, STOP };
enum { OK = 0x8000, BAD_MSG, NOT_SUPP, IO_ERR };

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[4];
static char folder[64], out_path[96], in_path[96];

static void make_input_file(void)
{
    static const uint8_t header[] =
        "RIFF\0\0\0\0WAVELIST\3\0\0\0abc\0fmt \20\0\0\0\1\0\1\0\200\273\0\0\0\167\1\0\2\0\20\0data\0\0\0\0";
    uint8_t bytes[sizeof(header) - 1];
    FILE *file = fopen(in_path, "w");

    memcpy(bytes, header, sizeof(bytes));
    bytes[sizeof(bytes) - 4] = 200; /* 100 frames, mono */
    fwrite(bytes, 1, sizeof(bytes), file);
    for (uint8_t i = 0; i < 200; i++)
        fputc(i, file);
    fclose(file);
}

static void set_up(void)
{
    struct virtio_sound_config config = {0};
    struct error err = {{0}};

    strcpy(folder, "/tmp/tuff-sound-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(out_path, sizeof(out_path), "%s/out.wav", folder);
    snprintf(in_path, sizeof(in_path), "%s/in.wav", folder);
    make_input_file();
    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    ck_assert_msg(sound_wav_create(out_path, &config.output, &err) == 0, "%s", err.text);
    ck_assert_msg(sound_wav_open(in_path, &config.input, &err) == 0, "%s", err.text);
    config.mem = mem;
    config.loop = loop;
    ck_assert_int_eq(virtio_sound_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
}

static void destroy_device(void)
{
    if (dev)
        dev->base.ops->destroy(&dev->base);
    dev = NULL;
}

static void tear_down(void)
{
    loop_stop(loop);
    destroy_device();
    loop_destroy(loop);
    mem_destroy(mem);
    unlink(out_path);
    unlink(in_path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void start(void)
{
    ck_assert(vq_negotiate(dev, VIRTIO_F_VERSION_1 | VIRTIO_F_IN_ORDER));
    for (unsigned i = 0; i < 4; i++)
        vq_give(dev, i, &queues[i], VQ_RAM_GPA + i * (uint64_t)RING_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
}

static uint8_t *at(uint64_t gpa)
{
    return mem_ram_ptr(mem, gpa, 1);
}

/* Returns the status; *written is the answer's length. */
static uint32_t control(const void *request, uint32_t len, uint32_t *written)
{
    const struct vq_buffer buffers[] = {{REQUEST_GPA, len, false}, {ANSWER_GPA, 256, true}};
    uint32_t status;

    memcpy(at(REQUEST_GPA), request, len);
    ck_assert_int_ge(vq_send(dev, CONTROL, &queues[CONTROL], buffers, 2), 0);
    (void)vq_wait_used(&queues[CONTROL], written);
    memcpy(&status, at(ANSWER_GPA), 4);
    return status;
}

static uint32_t command(uint32_t code, uint32_t stream)
{
    const uint32_t request[] = {code, stream};
    uint32_t written;

    return control(request, sizeof(request), &written);
}

static uint32_t set_params(uint32_t stream, uint8_t channels, uint8_t format, uint8_t rate)
{
    const struct {
        uint32_t code, stream, buffer, period, features;
        uint8_t channels, format, rate, padding;
    } request = {SET, stream, 4 * PERIOD, PERIOD, 0, channels, format, rate, 0};
    uint32_t written;

    return control(&request, sizeof(request), &written);
}

/* A buffer of `bytes` at DATA_GPA + offset, with the stream's number and its status in buffers of their own. */
static void transfer(unsigned queue, uint32_t stream, uint64_t offset, uint32_t bytes)
{
    const struct vq_buffer buffers[] = {{REQUEST_GPA + 4096, 4, false},
                                        {DATA_GPA + offset, bytes, queue == INPUT},
                                        {ANSWER_GPA + 4096 + offset / PERIOD * 8, 8, true}};

    memcpy(at(REQUEST_GPA + 4096), &stream, 4);
    ck_assert_int_ge(vq_send(dev, queue, &queues[queue], buffers, 3), 0);
}

static uint32_t finished(unsigned queue, unsigned n, uint32_t *written)
{
    uint32_t status;

    (void)vq_wait_used(&queues[queue], written);
    memcpy(&status, at(ANSWER_GPA + 4096 + 8 * n), 4);
    return status;
}

START_TEST(streams_are_described)
{
    const uint32_t query[] = {INFO, 0, 2, 32}, beyond[] = {INFO, 1, 2, 32}, odd[] = {INFO, 0, 1, 31},
                   none[] = {INFO, 0, 0, 32};
    uint32_t written, count;
    uint64_t bits;

    start();
    virtio_config_read(dev, 4, &count, 4);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(control(query, sizeof(query), &written), OK);
    ck_assert_uint_eq(written, 4 + 64);
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *info = at(ANSWER_GPA) + 4 + 32 * i;
        memcpy(&bits, info + 8, 8);
        ck_assert_uint_eq(bits, 1 << 5);
        memcpy(&bits, info + 16, 8);
        ck_assert_uint_eq(bits, 1 << 7);
        ck_assert_uint_eq(info[24], i);
        ck_assert_uint_eq(info[25], i ? 1 : 2);
        ck_assert_uint_eq(info[26], i ? 1 : 2);
    }
    ck_assert_uint_eq(control(beyond, sizeof(beyond), &written), BAD_MSG);
    ck_assert_uint_eq(control(odd, sizeof(odd), &written), BAD_MSG);
    ck_assert_uint_eq(control(none, sizeof(none), &written), BAD_MSG);
    ck_assert_uint_eq(control(query, 3, &written), BAD_MSG);
    ck_assert_uint_eq(command(1, 0), NOT_SUPP); /* jacks */
    ck_assert_uint_eq(command(0x200, 0), NOT_SUPP);
}
END_TEST

START_TEST(commands_have_an_order)
{
    start();
    ck_assert_uint_eq(command(PREPARE, 0), BAD_MSG);
    ck_assert_uint_eq(command(START, 0), BAD_MSG);
    ck_assert_uint_eq(set_params(0, 2, 5, 6), NOT_SUPP);
    ck_assert_uint_eq(set_params(0, 2, 17, 7), NOT_SUPP);
    ck_assert_uint_eq(set_params(0, 3, 5, 7), NOT_SUPP);
    ck_assert_uint_eq(set_params(2, 2, 5, 7), BAD_MSG);
    ck_assert_uint_eq(set_params(0, 2, 5, 7), OK);
    ck_assert_uint_eq(command(START, 0), BAD_MSG);
    ck_assert_uint_eq(command(PREPARE, 0), OK);
    ck_assert_uint_eq(command(STOP, 0), BAD_MSG);
    ck_assert_uint_eq(command(START, 0), OK);
    ck_assert_uint_eq(command(START, 0), BAD_MSG);
    ck_assert_uint_eq(command(PREPARE, 0), BAD_MSG);
    ck_assert_uint_eq(command(RELEASE, 0), BAD_MSG);
    ck_assert_uint_eq(set_params(0, 2, 5, 7), BAD_MSG);
    ck_assert_uint_eq(command(STOP, 0), OK);
    ck_assert_uint_eq(command(RELEASE, 0), OK);
    ck_assert_uint_eq(command(PREPARE, 0), OK);
    ck_assert_uint_eq(command(RELEASE, 0), OK);
    ck_assert_uint_eq(command(START, 7), BAD_MSG);
    vq_settle(loop);
    save_reset_load(&dev->base);
}
END_TEST

START_TEST(what_is_played_is_in_the_file)
{
    uint8_t file[44 + 5 * PERIOD + 16];
    uint32_t written, value;
    uint64_t begin;

    start();
    for (unsigned i = 0; i < 4 * PERIOD; i++)
        at(DATA_GPA)[i] = (uint8_t)(i * 7 + i / 256);
    ck_assert_uint_eq(set_params(0, 2, 5, 7), OK);
    ck_assert_uint_eq(command(PREPARE, 0), OK);
    for (unsigned i = 0; i < 4; i++)
        transfer(OUTPUT, 0, i * (uint64_t)PERIOD, PERIOD);
    begin = loop_now_ns();
    ck_assert_uint_eq(command(START, 0), OK);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(finished(OUTPUT, i, &written), OK);
        ck_assert_uint_eq(written, 8);
        ck_assert_uint_ge(loop_now_ns() - begin, (i + 1) * UINT64_C(10000000));
    }
    ck_assert_uint_eq(command(STOP, 0), OK);
    transfer(OUTPUT, 0, 0, PERIOD); /* is not played any more */
    ck_assert_uint_eq(command(RELEASE, 0), OK);
    ck_assert_uint_eq(finished(OUTPUT, 0, &written), IO_ERR);
    loop_stop(loop);
    destroy_device();
    FILE *wav = fopen(out_path, "r");
    ck_assert_uint_eq(fread(file, 1, sizeof(file), wav), 44 + 4 * PERIOD);
    fclose(wav);
    ck_assert_mem_eq(file, "RIFF", 4);
    memcpy(&value, file + 4, 4);
    ck_assert_uint_eq(value, 36 + 4 * PERIOD);
    ck_assert_mem_eq(file + 8, "WAVEfmt \20\0\0\0\1\0\2\0\200\273\0\0\0\356\2\0\4\0\20\0data", 32);
    memcpy(&value, file + 40, 4);
    ck_assert_uint_eq(value, 4 * PERIOD);
    ck_assert_mem_eq(file + 44, at(DATA_GPA), 4 * PERIOD);
}
END_TEST

/* The file is heard once, and silence after it. */
START_TEST(what_is_recorded_comes_from_the_file)
{
    uint32_t written;

    start();
    ck_assert_uint_eq(set_params(1, 1, 5, 7), OK);
    ck_assert_uint_eq(command(PREPARE, 1), OK);
    memset(at(DATA_GPA), 0xee, 2 * PERIOD);
    transfer(INPUT, 1, 0, 150);
    transfer(INPUT, 1, PERIOD, 151); /* half a frame is none */
    ck_assert_uint_eq(command(START, 1), OK);
    ck_assert_uint_eq(finished(INPUT, 0, &written), OK);
    ck_assert_uint_eq(written, 158);
    (void)vq_wait_used(&queues[INPUT], &written);
    ck_assert_uint_eq(written, 158);
    for (unsigned i = 0; i < 150; i++) {
        ck_assert_uint_eq(at(DATA_GPA)[i], i);
        ck_assert_uint_eq(at(DATA_GPA + PERIOD)[i], i < 50 ? 150 + i : 0);
    }
}
END_TEST

START_TEST(buffers_that_cannot_be_are_given_back)
{
    const struct vq_buffer no_status[] = {{REQUEST_GPA, 4, false}, {ANSWER_GPA, 7, true}};
    uint32_t written;

    start();
    ck_assert_uint_eq(set_params(0, 2, 5, 7), OK);
    ck_assert_uint_eq(command(PREPARE, 0), OK);
    ck_assert_uint_eq(command(START, 0), OK);
    transfer(OUTPUT, 1, 0, PERIOD);
    ck_assert_uint_eq(finished(OUTPUT, 0, &written), BAD_MSG);
    vq_send(dev, OUTPUT, &queues[OUTPUT], no_status, 2);
    (void)vq_wait_used(&queues[OUTPUT], &written);
    ck_assert_uint_le(written, 7);
    transfer(OUTPUT, 0, 0, 0 + 4);
    ck_assert_uint_eq(finished(OUTPUT, 0, &written), OK);
    ck_assert(!(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

START_TEST(other_files_are_no_input)
{
    static const struct {
        size_t len;
        const char *bytes;
    } files[] = {
        {0, ""},
        {12, "RIFF\0\0\0\0WAVE"},
        {20, "RIFF\0\0\0\0WAVEdata\4\0\0\0"},
        {36, "RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\3\0\200\273\0\0\0\0\0\0\2\0\20\0"},
        {36, "RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\1\0\200\273\0\0\0\0\0\0\2\0\30\0"},
        {28, "RIFF\0\0\0\0WAVEfmt \10\0\0\0\1\0\1\0\200\273\0\0"},
        {24, "RIFF\0\0\0\0WAVEjunk\377\377\377\377abcd"},
    };
    struct sound_end *end;
    struct error err = {{0}};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        FILE *file = fopen(out_path, "w");
        fwrite(files[i].bytes, 1, files[i].len, file);
        fclose(file);
        ck_assert_msg(sound_wav_open(out_path, &end, &err) == -EINVAL, "file %zu", i);
    }
    ck_assert_int_lt(sound_wav_open("/nonexistent", &end, &err), 0);
    ck_assert_int_lt(sound_wav_create("/nonexistent/file", &end, &err), 0);
    ck_assert_int_lt(sound_alsa_create("no-such-device", &end, &err), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_sound");
    TCase *tcase = tcase_create("virtio_sound");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, streams_are_described);
    tcase_add_test(tcase, commands_have_an_order);
    tcase_add_test(tcase, what_is_played_is_in_the_file);
    tcase_add_test(tcase, what_is_recorded_comes_from_the_file);
    tcase_add_test(tcase, buffers_that_cannot_be_are_given_back);
    tcase_add_test(tcase, other_files_are_no_input);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
