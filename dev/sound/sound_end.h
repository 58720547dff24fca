/* The host's end of a sound stream: where samples go to or come from. Samples are 16 bits, little-endian, interleaved.
 *
 * Used under the sound device's lock, on the devices' loop; nothing here blocks.
 */
#ifndef TUFF_DEV_SOUND_SOUND_END_H
#define TUFF_DEV_SOUND_SOUND_END_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct sound_end;

struct sound_end_ops {
    /* Output: takes bytes, whole frames. Errors are the end's own: what it cannot take is lost. NULL: an input. */
    void (*write)(struct sound_end *end, const uint8_t *bytes, size_t len);
    /* Input: fills the buffer, with silence where there is no more. NULL: an output. */
    void (*read)(struct sound_end *end, uint8_t *bytes, size_t len);
    void (*destroy)(struct sound_end *end);
};

/* First member of each kind. */
struct sound_end {
    const struct sound_end_ops *ops;
    uint32_t rate; /* frames a second */
    uint32_t channels;
};

enum { SOUND_SAMPLE_BYTES = 2, SOUND_RATE = 48000, SOUND_CHANNELS = 2 };

/* A WAV file that is made, or replaced: SOUND_RATE, SOUND_CHANNELS. Its header is right after every write that made it
 * longer by a second, and when the end is destroyed. Returns 0 or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int sound_wav_create(const char *path, struct sound_end **out, struct error *err);
/* A WAV file that is played to the guest, once: 16-bit PCM of one or two channels. */
TUFF_MUST_CHECK int sound_wav_open(const char *path, struct sound_end **out, struct error *err);
/* ALSA's device of that name. -ENOTSUP: built without. */
TUFF_MUST_CHECK int sound_alsa_create(const char *device, struct sound_end **out, struct error *err);

#endif
