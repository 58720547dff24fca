/* ALSA as the end of a sound stream (see sound_end.h), where libasound was there when this was built. What the device
 * has no room for at once is lost: the stream's pace is the sound device's, and nobody waits for a loudspeaker. */
#include "dev/sound/sound_end.h"

#include "base/library.h"

#include <errno.h>

#ifdef TUFF_ALSA
#include <alsa/asoundlib.h>
#include <stdlib.h>

enum { LATENCY_US = 200000 };

#define ALSA_FUNCTIONS(X) \
    X(snd_pcm_open)       \
    X(snd_pcm_set_params) \
    X(snd_pcm_writei)     \
    X(snd_pcm_recover)    \
    X(snd_pcm_close)      \
    X(snd_strerror)

LIBRARY(library, ALSA_FUNCTIONS, .file = "libasound.so.2", .package = "libasound2", .use = "--sound to an ALSA device");

struct alsa {
    struct sound_end base;
    struct {
        ALSA_FUNCTIONS(LIBRARY_POINTER)
    } lib;
    snd_pcm_t *pcm;
};

static void alsa_write(struct sound_end *end, const uint8_t *bytes, size_t len)
{
    struct alsa *alsa = (struct alsa *)end;
    size_t frame = (size_t)end->channels * SOUND_SAMPLE_BYTES, frames = len / frame;

    while (frames) {
        snd_pcm_sframes_t done = alsa->lib.snd_pcm_writei(alsa->pcm, bytes, frames);
        if (done < 0 && done != -EAGAIN && !alsa->lib.snd_pcm_recover(alsa->pcm, (int)done, 1))
            done = alsa->lib.snd_pcm_writei(alsa->pcm, bytes, frames);
        if (done <= 0)
            return;
        bytes += (size_t)done * frame;
        frames -= (size_t)done;
    }
}

static void alsa_destroy(struct sound_end *end)
{
    struct alsa *alsa = (struct alsa *)end;

    alsa->lib.snd_pcm_close(alsa->pcm);
    free(alsa);
}

static const struct sound_end_ops alsa_ops = {.write = alsa_write, .destroy = alsa_destroy};

int sound_alsa_create(const char *device, struct sound_end **out, struct error *err)
{
    struct alsa *alsa = calloc(1, sizeof(*alsa));

    if (!alsa)
        return error_set(err, -ENOMEM, "no memory for sound");
    int rc = library_load(&library, &alsa->lib, err);
    if (rc) {
        free(alsa);
        return rc;
    }
    rc = alsa->lib.snd_pcm_open(&alsa->pcm, device, SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
    if (rc < 0) {
        rc = error_set(err, rc, "--sound, ALSA's device '%s' cannot be opened: %s", device, alsa->lib.snd_strerror(rc));
        free(alsa);
        return rc;
    }
    rc = alsa->lib.snd_pcm_set_params(alsa->pcm, SND_PCM_FORMAT_S16_LE, SND_PCM_ACCESS_RW_INTERLEAVED, SOUND_CHANNELS,
                                      SOUND_RATE, 1, LATENCY_US);
    if (rc < 0) {
        rc = error_set(err, rc, "--sound, ALSA's device '%s' takes no %d Hz of 16 bits: %s", device, SOUND_RATE,
                       alsa->lib.snd_strerror(rc));
        alsa_destroy(&alsa->base);
        return rc;
    }
    alsa->base = (struct sound_end){.ops = &alsa_ops, .rate = SOUND_RATE, .channels = SOUND_CHANNELS};
    *out = &alsa->base;
    return 0;
}
#else
int sound_alsa_create(const char *device, struct sound_end **out, struct error *err)
{
    return error_set(err, -ENOTSUP, "--sound, ALSA's device '%s': this program was built without libasound", device);
}
#endif
