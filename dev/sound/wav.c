/* WAV files (RIFF, PCM of 16 bits) as ends of sound streams; see sound_end.h. A file that is read comes from anywhere:
 * chunks are walked with their sizes checked against the file's. */
#include "dev/sound/sound_end.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 44, FORMAT_PCM = 1, FORMAT_EXTENSIBLE = 0xfffe, CHUNKS_MAX = 64 };

struct wav {
    struct sound_end base;
    FILE *file;
    uint32_t bytes;       /* of samples: written, or left to be read */
    uint32_t header_says; /* written */
    bool failed;
};

static void put(uint8_t *at, uint32_t value, size_t len)
{
    memcpy(at, &value, len);
}

static uint32_t get(const uint8_t *at, size_t len)
{
    uint32_t value = 0;

    memcpy(&value, at, len);
    return value;
}

/* ---- output ---- */

static void write_header(struct wav *wav)
{
    uint8_t header[HEADER_BYTES] = "RIFF....WAVEfmt ....................data";
    uint32_t frame = wav->base.channels * SOUND_SAMPLE_BYTES;

    put(header + 4, HEADER_BYTES - 8 + wav->bytes, 4);
    put(header + 16, 16, 4);
    put(header + 20, FORMAT_PCM, 2);
    put(header + 22, wav->base.channels, 2);
    put(header + 24, wav->base.rate, 4);
    put(header + 28, wav->base.rate * frame, 4);
    put(header + 32, frame, 2);
    put(header + 34, 8 * SOUND_SAMPLE_BYTES, 2);
    put(header + 40, wav->bytes, 4);
    if (fseek(wav->file, 0, SEEK_SET) || fwrite(header, sizeof(header), 1, wav->file) != 1 ||
        fseek(wav->file, 0, SEEK_END) || fflush(wav->file))
        wav->failed = true;
    wav->header_says = wav->bytes;
}

static void wav_write(struct sound_end *end, const uint8_t *bytes, size_t len)
{
    struct wav *wav = (struct wav *)end;

    if (wav->failed || len > UINT32_MAX - HEADER_BYTES - wav->bytes)
        return;
    if (fwrite(bytes, 1, len, wav->file) != len)
        wav->failed = true;
    wav->bytes += (uint32_t)len;
    if (wav->bytes - wav->header_says >= end->rate * end->channels * SOUND_SAMPLE_BYTES)
        write_header(wav);
}

static void output_destroy(struct sound_end *end)
{
    struct wav *wav = (struct wav *)end;

    if (!wav->failed)
        write_header(wav);
    (void)fclose(wav->file);
    free(wav);
}

static const struct sound_end_ops output_ops = {.write = wav_write, .destroy = output_destroy};

static struct wav *wav_new(const char *path, const char *mode, const struct sound_end_ops *ops, struct error *err)
{
    struct wav *wav = calloc(1, sizeof(*wav));

    if (!wav) {
        error_set(err, -ENOMEM, "no memory for the sound file '%s'", path);
        return NULL;
    }
    wav->base.ops = ops;
    wav->file = fopen(path, mode);
    if (!wav->file) {
        error_set(err, -errno, "--sound, '%s' cannot be opened: %s", path, strerror(errno));
        free(wav);
        return NULL;
    }
    return wav;
}

int sound_wav_create(const char *path, struct sound_end **out, struct error *err)
{
    struct wav *wav = wav_new(path, "we", &output_ops, err);

    if (!wav)
        return -EIO;
    wav->base.rate = SOUND_RATE;
    wav->base.channels = SOUND_CHANNELS;
    write_header(wav);
    *out = &wav->base;
    return 0;
}

/* ---- input ---- */

static void wav_read(struct sound_end *end, uint8_t *bytes, size_t len)
{
    struct wav *wav = (struct wav *)end;
    size_t want = len < wav->bytes ? len : wav->bytes, got = want ? fread(bytes, 1, want, wav->file) : 0;

    wav->bytes = got < want ? 0 : wav->bytes - (uint32_t)got;
    memset(bytes + got, 0, len - got);
}

static void input_destroy(struct sound_end *end)
{
    struct wav *wav = (struct wav *)end;

    (void)fclose(wav->file);
    free(wav);
}

static const struct sound_end_ops input_ops = {.read = wav_read, .destroy = input_destroy};

/* A format chunk's first 16 bytes. */
static bool take_format(struct wav *wav, const uint8_t *format)
{
    uint32_t kind = get(format, 2);

    wav->base.channels = get(format + 2, 2);
    wav->base.rate = get(format + 4, 4);
    return (kind == FORMAT_PCM || kind == FORMAT_EXTENSIBLE) && get(format + 14, 2) == 8 * SOUND_SAMPLE_BYTES &&
           wav->base.channels >= 1 && wav->base.channels <= 2 && wav->base.rate;
}

/* Goes to the samples. */
static bool find_samples(struct wav *wav)
{
    uint8_t bytes[16];
    bool has_format = false;

    if (fread(bytes, 12, 1, wav->file) != 1 || memcmp(bytes, "RIFF", 4) != 0 || memcmp(bytes + 8, "WAVE", 4) != 0)
        return false;
    for (unsigned i = 0; i < CHUNKS_MAX && fread(bytes, 8, 1, wav->file) == 1; i++) {
        uint32_t size = get(bytes + 4, 4), done = 0;
        if (!memcmp(bytes, "data", 4)) {
            wav->bytes = size - size % (SOUND_SAMPLE_BYTES * (has_format ? wav->base.channels : 1));
            return has_format;
        }
        if (!memcmp(bytes, "fmt ", 4)) {
            if (size < sizeof(bytes) || fread(bytes, sizeof(bytes), 1, wav->file) != 1 || !take_format(wav, bytes))
                return false;
            done = sizeof(bytes);
            has_format = true;
        }
        if (fseek(wav->file, (long)(size - done) + (size & 1), SEEK_CUR))
            return false;
    }
    return false;
}

int sound_wav_open(const char *path, struct sound_end **out, struct error *err)
{
    struct wav *wav = wav_new(path, "re", &input_ops, err);

    if (!wav)
        return -EIO;
    if (!find_samples(wav)) {
        input_destroy(&wav->base);
        return error_set(err, -EINVAL, "--sound, '%s' is no WAV file of 16-bit PCM with one or two channels", path);
    }
    *out = &wav->base;
    return 0;
}
