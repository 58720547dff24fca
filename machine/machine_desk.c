/* What stands on the desk of a machine's user: keyboards, mice and tablets, and a sound card, of the configuration. */
#include "dev/virtio/virtio_input.h"
#include "dev/virtio/virtio_sound.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <string.h>

_Static_assert((int)MACHINE_INPUT_TABLET == (int)VIRTIO_INPUT_TABLET &&
                   (int)MACHINE_INPUT_MOUSE == (int)VIRTIO_INPUT_MOUSE,
               "the public kinds are the devices'");

int machine_inputs_create(struct machine *m, struct error *err)
{
    int rc = 0;

    for (unsigned n = 0; n < m->config.input_count && !rc; n++) {
        const struct machine_input *input = &m->config.inputs[n];
        struct virtio_input_config config = {
            .mem = m->mem, .loop = m->devices_loop, .kind = (enum virtio_input_kind)input->kind, .path = input->path};
        struct virtio_device *dev;
        rc = virtio_input_create(&config, &dev, err);
        if (!rc)
            rc = machine_virtio_add(m, dev, err);
        if (!rc && input->kind == MACHINE_INPUT_KEYBOARD && !m->keyboard)
            m->keyboard = dev;
    }
    return rc;
}

static void destroy_end(struct sound_end *end)
{
    if (end)
        end->ops->destroy(end);
}

int machine_sound_create(struct machine *m, struct error *err)
{
    const struct machine_sound *sound = &m->config.sound;
    struct virtio_sound_config config = {.mem = m->mem, .loop = m->devices_loop};
    struct virtio_device *dev;
    int rc = 0;

    if (sound->wav)
        rc = sound_wav_create(sound->wav, &config.output, err);
    else if (sound->alsa)
        rc = sound_alsa_create(sound->alsa, &config.output, err);
    if (!rc && sound->in)
        rc = sound_wav_open(sound->in, &config.input, err);
    if (!rc && !config.output && !config.input)
        return 0;
    if (!rc) {
        rc = virtio_sound_create(&config, &dev);
        if (!rc)
            return machine_virtio_add(m, dev, err);
        error_set(err, rc, "virtio-sound: %s",
                  rc == -EINVAL ? "a file's rate is not one that cards have" : strerror(-rc));
    }
    destroy_end(config.output);
    destroy_end(config.input);
    return rc;
}
