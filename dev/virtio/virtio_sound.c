/* The sound device; see virtio_sound.h. Section numbers are those of virtio 1.2.
 *
 * A stream that runs takes a buffer when its turn to be heard (or recorded) has come, moves the samples between it and
 * the host's end, and holds it until its time is over; then it is given back and the next one taken. So a driver sees
 * a card that plays at the rate of its samples, whatever the end is. When there is no buffer in time the stream starts
 * anew with the next one.
 */
#include "dev/virtio/virtio_sound.h"

#include "base/log.h"
#include "dev/iov.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICE_ID = 25,
    QUEUE_CONTROL = 0,
    QUEUE_EVENTS = 1,
    QUEUE_OUTPUT = 2,
    QUEUE_INPUT = 3,
    QUEUES = 4,
    QUEUE_SIZE = 64,
    STREAMS_MAX = 2,
    COPY_BYTES = 4096, /* whole frames */
    BUFFER_BYTES_MAX = 1 << 20,

    /* 5.14.6 */
    PCM_INFO = 0x0100,
    PCM_SET_PARAMS = 0x0101,
    PCM_PREPARE = 0x0102,
    PCM_RELEASE = 0x0103,
    PCM_START = 0x0104,
    PCM_STOP = 0x0105,
    S_OK = 0x8000,
    S_BAD_MSG = 0x8001,
    S_NOT_SUPP = 0x8002,
    S_IO_ERR = 0x8003,
    DIRECTION_OUTPUT = 0,
    DIRECTION_INPUT = 1,
    FORMAT_S16 = 5,
    TRANSFER_BYTES = 4,
    STATUS_BYTES = 8,
};

/* By the specification's numbers. */
static const uint32_t rates[] = {5512,  8000,  11025, 16000, 22050,  32000,  44100,
                                 48000, 64000, 88200, 96000, 176400, 192000, 384000};

enum { RATES = sizeof(rates) / sizeof(rates[0]) };

/* 5.14.6.6.1 */
enum state { IDLE, SET, PREPARED, RUNNING, STOPPED, STATES };

struct query {
    uint32_t code, start, count, size;
};

struct info {
    uint32_t nid, features;
    uint64_t formats, rates;
    uint8_t direction, channels_min, channels_max, padding[5];
};

struct set_params {
    uint32_t code, stream, buffer_bytes, period_bytes, features;
    uint8_t channels, format, rate, padding;
};

_Static_assert(sizeof(struct info) == 32 && sizeof(struct set_params) == 24, "5.14.6.6");

struct stream {
    struct virtio_sound *sound;
    struct sound_end *end;
    unsigned queue;
    uint8_t rate;
    struct loop_timer *timer;
    bool held;        /* `chain`: until `due_ns` */
    uint64_t due_ns;  /* when what was taken so far is over */
    uint32_t written; /* of `chain` */
    uint64_t buffers, underruns;
    struct virtq_chain chain;
};

struct virtio_sound {
    struct virtio_device dev;
    uint8_t state[STREAMS_MAX]; /* saved */
    struct stream streams[STREAMS_MAX];
    unsigned stream_count;      /* constant */
    struct virtq_chain control; /* within one call */
};

static const struct device_field sound_fields[] = {
    DEVICE_FIELD_ARRAY(struct virtio_sound, state, 1),
    {0},
};

static unsigned index_of(const struct stream *stream)
{
    return (unsigned)(stream - stream->sound->streams);
}

static uint32_t frame_bytes(const struct stream *stream)
{
    return stream->end->channels * SOUND_SAMPLE_BYTES;
}

/* ---- buffers, with the lock ---- */

static uint32_t give_back(struct stream *stream, uint32_t status, uint32_t data_bytes)
{
    const struct virtq_chain *chain = &stream->chain;
    const uint32_t bytes[] = {status, 0};

    return (uint32_t)iov_from_buf(virtq_writable(chain), chain->writable_count, data_bytes, bytes, sizeof(bytes)) +
           data_bytes;
}

static void push(struct stream *stream, uint32_t written)
{
    virtio_push(&stream->sound->dev, stream->queue, &stream->chain, written);
}

/* Moves the samples of the buffer that was taken. Returns how many bytes, whole frames. */
static uint32_t move_samples(struct stream *stream)
{
    const struct virtq_chain *chain = &stream->chain;
    bool output = stream->queue == QUEUE_OUTPUT;
    uint64_t all = output ? chain->readable_bytes - TRANSFER_BYTES : chain->writable_bytes - STATUS_BYTES, done = 0;
    uint8_t bytes[COPY_BYTES];

    all -= all % frame_bytes(stream);
    while (done < all) {
        size_t len = all - done < sizeof(bytes) ? (size_t)(all - done) : sizeof(bytes);
        if (output) {
            iov_to_buf(virtq_readable(chain), chain->readable_count, TRANSFER_BYTES + done, bytes, len);
            stream->end->ops->write(stream->end, bytes, len);
        } else {
            stream->end->ops->read(stream->end, bytes, len);
            iov_from_buf(virtq_writable(chain), chain->writable_count, done, bytes, len);
        }
        done += len;
    }
    return (uint32_t)done;
}

/* Is the buffer that was taken this stream's, and of a size that can be? */
static bool is_good(const struct stream *stream)
{
    const struct virtq_chain *chain = &stream->chain;
    uint32_t id;

    if (iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &id, sizeof(id)) < sizeof(id) ||
        id != index_of(stream) || chain->writable_bytes < STATUS_BYTES)
        return false;
    return chain->readable_bytes - TRANSFER_BYTES <= BUFFER_BYTES_MAX &&
           chain->writable_bytes - STATUS_BYTES <= BUFFER_BYTES_MAX;
}

/* Takes the next buffer and holds it for as long as its samples last; one that is none is given back at once. Returns
 * false when there was none. */
static bool take_buffer(struct stream *stream)
{
    struct virtio_device *dev = &stream->sound->dev;
    uint64_t now = loop_now_ns();

    if (!virtio_pop(dev, stream->queue, &stream->chain))
        return false;
    if (!is_good(stream)) {
        log_guest_error("virtio-sound: a buffer of no stream, or without room for its status");
        push(stream, give_back(stream, S_BAD_MSG, 0));
        return true;
    }
    uint32_t bytes = move_samples(stream), data = stream->queue == QUEUE_INPUT ? bytes : 0;
    if (stream->due_ns < now) {
        stream->underruns += stream->due_ns != 0;
        stream->due_ns = now;
    }
    stream->due_ns += bytes / frame_bytes(stream) * UINT64_C(1000000000) / stream->end->rate;
    stream->buffers++;
    stream->held = true;
    stream->written = data;
    loop_timer_arm(stream->timer, stream->due_ns);
    return true;
}

/* What can be taken now. Returns true when buffers of other kinds used the turn up. */
static bool go_on(struct stream *stream)
{
    uint8_t state = stream->sound->state[index_of(stream)];
    unsigned count = 0;

    while (state == RUNNING && !stream->held && count < VIRTIO_TURN_CHAINS && take_buffer(stream))
        count++;
    return count == VIRTIO_TURN_CHAINS;
}

static void buffer_is_over(void *opaque)
{
    struct stream *stream = opaque;
    struct virtio_sound *sound = stream->sound;

    pthread_mutex_lock(&sound->dev.lock);
    if (stream->held && loop_now_ns() >= stream->due_ns && virtio_queue_runs(&sound->dev, stream->queue)) {
        stream->held = false;
        push(stream, give_back(stream, S_OK, stream->written));
        if (go_on(stream))
            virtio_schedule(&sound->dev, stream->queue);
    }
    pthread_mutex_unlock(&sound->dev.lock);
}

/* The stream ends: its driver wants all buffers back (5.14.6.6.5). At most a ring of them, once. */
static void release(struct stream *stream)
{
    unsigned count = 0;

    if (stream->held)
        push(stream, give_back(stream, S_OK, stream->written));
    stream->held = false;
    while (count++ < QUEUE_SIZE && virtio_pop(&stream->sound->dev, stream->queue, &stream->chain))
        push(stream, give_back(stream, S_IO_ERR, 0));
}

/* ---- control ---- */

static uint32_t set_params(struct virtio_sound *sound, unsigned stream, const struct set_params *params)
{
    const struct stream *s = &sound->streams[stream];

    if (params->features || params->format != FORMAT_S16 || params->rate != s->rate ||
        params->channels != s->end->channels)
        return S_NOT_SUPP;
    if (!params->period_bytes || !params->buffer_bytes || params->buffer_bytes % params->period_bytes)
        return S_BAD_MSG;
    if (sound->state[stream] == RUNNING)
        return S_BAD_MSG;
    sound->state[stream] = SET;
    return S_OK;
}

/* A command that takes a stream from one state to another. */
static uint32_t change_state(struct virtio_sound *sound, unsigned index, uint32_t code)
{
    struct stream *stream = &sound->streams[index];
    uint8_t *state = &sound->state[index];

    switch (code) {
    case PCM_PREPARE:
        if (*state == IDLE || *state == RUNNING || *state == STOPPED)
            return S_BAD_MSG;
        *state = PREPARED;
        return S_OK;
    case PCM_START:
        if (*state != PREPARED && *state != STOPPED)
            return S_BAD_MSG;
        *state = RUNNING;
        stream->due_ns = 0;
        virtio_schedule(&sound->dev, stream->queue);
        return S_OK;
    case PCM_STOP:
        if (*state != RUNNING)
            return S_BAD_MSG;
        *state = STOPPED;
        return S_OK;
    default: /* PCM_RELEASE */
        if (*state != PREPARED && *state != STOPPED)
            return S_BAD_MSG;
        release(stream);
        *state = SET;
        return S_OK;
    }
}

/* Fills in what a query asks for. Returns how many bytes, 0: it asks for what there is not. */
static size_t describe(const struct virtio_sound *sound, const struct query *query, struct info info[STREAMS_MAX])
{
    if (query->start >= sound->stream_count || !query->count || query->count > sound->stream_count - query->start ||
        query->size != sizeof(info[0]))
        return 0;
    for (uint32_t i = 0; i < query->count; i++) {
        const struct stream *stream = &sound->streams[query->start + i];
        info[i] = (struct info){.formats = UINT64_C(1) << FORMAT_S16,
                                .rates = UINT64_C(1) << stream->rate,
                                .direction = stream->queue == QUEUE_OUTPUT ? DIRECTION_OUTPUT : DIRECTION_INPUT,
                                .channels_min = (uint8_t)stream->end->channels,
                                .channels_max = (uint8_t)stream->end->channels};
    }
    return query->count * sizeof(info[0]);
}

/* The request in sound->control. Returns how much of the answer was written. */
static uint32_t handle_control(struct virtio_sound *sound)
{
    const struct virtq_chain *chain = &sound->control;
    union {
        struct query query;
        struct set_params params;
    } request = {0};
    struct {
        uint32_t status;
        struct info info[STREAMS_MAX];
    } __attribute__((packed)) answer = {.status = S_BAD_MSG};
    size_t got = iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &request, sizeof(request)), extra = 0;
    uint32_t code = request.query.code, stream = request.params.stream;
    struct info info[STREAMS_MAX];

    if (got >= sizeof(request.query) && code == PCM_INFO) {
        extra = describe(sound, &request.query, info);
        memcpy(answer.info, info, extra);
        answer.status = extra ? S_OK : S_BAD_MSG;
    } else if (got >= 8 && code >= PCM_SET_PARAMS && code <= PCM_STOP) {
        if (stream >= sound->stream_count || (code == PCM_SET_PARAMS && got < sizeof(request.params)))
            answer.status = S_BAD_MSG;
        else if (code == PCM_SET_PARAMS)
            answer.status = set_params(sound, stream, &request.params);
        else
            answer.status = change_state(sound, stream, code);
    } else if (got >= 4) {
        answer.status = S_NOT_SUPP;
    }
    return (uint32_t)iov_from_buf(virtq_writable(chain), chain->writable_count, 0, &answer, 4 + extra);
}

static bool process_control(struct virtio_sound *sound)
{
    struct virtio_device *dev = &sound->dev;
    unsigned count = 0;

    for (; count < VIRTIO_TURN_CHAINS && virtio_pop(dev, QUEUE_CONTROL, &sound->control); count++)
        virtq_push(&dev->queues[QUEUE_CONTROL], &sound->control, handle_control(sound));
    virtio_interrupt(dev, QUEUE_CONTROL);
    return count == VIRTIO_TURN_CHAINS;
}

/* ---- the device ---- */

static bool sound_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_sound *sound = (struct virtio_sound *)dev;

    if (queue == QUEUE_CONTROL)
        return process_control(sound);
    for (unsigned i = 0; i < sound->stream_count; i++) {
        if (sound->streams[i].queue == queue)
            return go_on(&sound->streams[i]);
    }
    return false; /* there are no events, and no such stream */
}

static void forget_buffers(struct virtio_sound *sound)
{
    for (unsigned i = 0; i < sound->stream_count; i++) {
        sound->streams[i].held = false;
        sound->streams[i].due_ns = 0;
    }
}

static void sound_reset(struct virtio_device *dev)
{
    struct virtio_sound *sound = (struct virtio_sound *)dev;

    memset(sound->state, IDLE, sizeof(sound->state));
    forget_buffers(sound);
}

/* Samples are moved with the lock held: there is nothing to wait for. */
static void sound_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_sound *sound = (struct virtio_sound *)dev;

    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < sound->stream_count; i++) {
        if (sound->streams[i].queue == queue)
            sound->streams[i].held = false;
    }
    pthread_mutex_unlock(&dev->lock);
}

static void sound_post_restore(struct virtio_device *dev)
{
    struct virtio_sound *sound = (struct virtio_sound *)dev;

    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        if (sound->state[i] >= STATES || i >= sound->stream_count)
            sound->state[i] = IDLE;
    }
    forget_buffers(sound);
}

static void sound_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const uint32_t config[] = {0, ((struct virtio_sound *)dev)->stream_count, 0};

    memcpy(bytes, (const uint8_t *)config + offset, len);
}

static void sound_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                        void *opaque)
{
    const struct virtio_sound *sound = (struct virtio_sound *)dev;
    uint64_t buffers = 0, underruns = 0;

    for (unsigned i = 0; i < sound->stream_count; i++) {
        buffers += sound->streams[i].buffers;
        underruns += sound->streams[i].underruns;
    }
    fn(opaque, "buffers", buffers);
    fn(opaque, "underruns", underruns);
}

static void destroy_timers(struct virtio_sound *sound)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        loop_timer_destroy(sound->streams[i].timer);
}

static void sound_destroy(struct virtio_device *dev)
{
    struct virtio_sound *sound = (struct virtio_sound *)dev;

    destroy_timers(sound);
    virtio_fini(dev);
    for (unsigned i = 0; i < sound->stream_count; i++)
        sound->streams[i].end->ops->destroy(sound->streams[i].end);
    free(sound);
}

static const struct virtio_ops sound_ops = {
    .name = "virtio-sound",
    .device_id = DEVICE_ID,
    .pci_class = 0x040100,
    .state_version = 1,
    .fields = sound_fields,
    .config_read = sound_config_read,
    .process = sound_process,
    .drain = sound_drain,
    .reset = sound_reset,
    .post_restore = sound_post_restore,
    .destroy = sound_destroy,
    .stats = sound_stats,
};

static int add_stream(struct virtio_sound *sound, struct loop *loop, struct sound_end *end, unsigned queue)
{
    struct stream *stream = &sound->streams[sound->stream_count];

    if (!end)
        return 0;
    for (stream->rate = 0; stream->rate < RATES && rates[stream->rate] != end->rate; stream->rate++)
        ;
    if (stream->rate == RATES)
        return -EINVAL;
    stream->sound = sound;
    stream->end = end;
    stream->queue = queue;
    sound->stream_count++;
    return loop_timer_create(loop, buffer_is_over, stream, &stream->timer);
}

int virtio_sound_create(const struct virtio_sound_config *config, struct virtio_device **out)
{
    struct virtio_sound *sound = calloc(1, sizeof(*sound));
    int rc;

    assert(config->output || config->input);
    if (!sound)
        return -ENOMEM;
    rc = add_stream(sound, config->loop, config->output, QUEUE_OUTPUT);
    if (!rc)
        rc = add_stream(sound, config->loop, config->input, QUEUE_INPUT);
    if (!rc)
        rc = virtio_init(&sound->dev, &sound_ops, config->mem, config->loop, VIRTIO_F_IN_ORDER, QUEUES, 12);
    if (rc) {
        destroy_timers(sound);
        free(sound);
        return rc;
    }
    for (unsigned i = 0; i < QUEUES; i++)
        sound->dev.queues[i].size_max = QUEUE_SIZE;
    *out = &sound->dev;
    return 0;
}
