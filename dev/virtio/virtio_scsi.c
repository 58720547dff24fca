/* The SCSI host bus adapter; see virtio_scsi.h. Section numbers are those of virtio 1.2.
 *
 * A request is popped and its header copied out once; scsi_plan() says what it is about; what needs the image is
 * submitted to it with the guest's own buffers, and answered when that completes (on the loop's thread, or that of
 * whoever drains). Where header, data and answer are cut into buffers means nothing (2.7.4).
 *
 * Task management waits for the tasks it is about: as long as one does, no requests are taken from any queue, so that
 * the wait is bounded by what the host has under way.
 */
#include "dev/virtio/virtio_scsi.h"

#include "base/log.h"
#include "dev/block/block_image.h"
#include "dev/iov.h"
#include "dev/scsi/scsi_unit.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICE_ID = 8,
    QUEUE_SIZE = 256,
    CONTROL_QUEUE_SIZE = 64,
    QUEUE_CONTROL = 0,
    QUEUE_EVENTS = 1,
    QUEUE_REQUESTS = 2, /* the first of them */
    REQUESTS_MAX = 512,
    SEG_MAX = QUEUE_SIZE - 2,
    MAX_SECTORS = 0xffff,
    UNIT_QUEUE = 128,
    SENSE_MAX = 252,
    FILL_PIECES = 256, /* copies of a block, for one call of the host */

    /* 5.6.6: before the command block and the sense data, whose sizes the driver may set. */
    HEAD_BYTES = 19,
    ANSWER_BYTES = 12,
    ID_OFFSET = 8,

    S_OK = 0,
    S_OVERRUN = 1,
    S_BAD_TARGET = 3,
    S_FAILURE = 9,
    S_FUNCTION_SUCCEEDED = 10,
    S_FUNCTION_REJECTED = 11,
    S_INCORRECT_LUN = 12,

    T_TASK = 0,
    T_AN_QUERY = 1,
    T_AN_SUBSCRIBE = 2,
    TASK_ABORT = 0,
    TASK_ABORT_SET = 1,
    TASK_CLEAR_ACA = 2,
    TASK_CLEAR_SET = 3,
    TASK_NEXUS_RESET = 4,
    TASK_UNIT_RESET = 5,
    TASK_QUERY = 6,
    TASK_QUERY_SET = 7,
};

/* 5.6.4 */
struct config {
    uint32_t num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
    uint16_t max_channel, max_target;
    uint32_t max_lun;
};

_Static_assert(sizeof(struct config) == 36, "5.6.4");

struct answer {
    uint32_t sense_len, residual;
    uint16_t qualifier;
    uint8_t status, response;
};

_Static_assert(sizeof(struct answer) == ANSWER_BYTES, "5.6.6.1");

struct task {
    struct task *next; /* of those that are free */
    struct task *prev_active, *next_active;
    struct virtio_scsi *scsi;
    unsigned queue, unit;
    uint64_t id;
    struct block_request io;
    unsigned range; /* of the plan's: the next */
    bool flushed;
    void *buffer;           /* iovecs, or the block of a FILL behind them; NULL: none */
    struct scsi_range fill; /* what is left of it */
    uint8_t *block;
    struct scsi_plan plan;
    struct virtq_chain chain;
};

/* Counters: name, which the user sees. */
#define SCSI_COUNTERS(X) \
    X(commands)          \
    X(reads)             \
    X(read_bytes)        \
    X(writes)            \
    X(written_bytes)     \
    X(flushes)           \
    X(unmaps)            \
    X(write_sames)       \
    X(check_conditions)  \
    X(malformed)         \
    X(task_functions)

struct virtio_scsi {
    struct virtio_device dev;
    /* Saved. */
    uint32_t sense_size, cdb_size;
    struct scsi_unit units[VIRTIO_SCSI_UNITS_MAX]; /* their attention */
    /* Under the device's lock. */
    struct task *free, *active;
    unsigned task_count; /* made so far */
    uint32_t starved;    /* queues that wait, a bit each: for a task, or for task management */
    bool managing;       /* task management waits */
    bool in_turn;        /* process() has the lock, and interrupts at its end for all that it answered */
    uint32_t answered;   /* queues with answers in this turn */
    uint32_t submitted;  /* units with requests in this turn */
    unsigned under_way[QUEUE_REQUESTS + VIRTIO_SCSI_QUEUES_MAX]; /* by queue */
    pthread_cond_t queue_idle;
    struct virtq_chain control; /* within one call */
    struct {
#define X(name) uint64_t name;
        SCSI_COUNTERS(X)
#undef X
    } stats;
    /* Constant. */
    struct block_image *images[VIRTIO_SCSI_UNITS_MAX];
    char serials[VIRTIO_SCSI_UNITS_MAX][VIRTIO_SCSI_SERIAL_BYTES + 1];
    unsigned unit_count, queues;
};

static const struct device_field scsi_fields[] = {
    DEVICE_FIELD(struct virtio_scsi, sense_size, 1),
    DEVICE_FIELD(struct virtio_scsi, cdb_size, 1),
    DEVICE_FIELD(struct virtio_scsi, units[0].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[1].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[2].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[3].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[4].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[5].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[6].attention, 1),
    DEVICE_FIELD(struct virtio_scsi, units[7].attention, 1),
    {0},
};

static struct virtio_scsi *scsi_of(struct virtio_device *dev)
{
    return (struct virtio_scsi *)dev;
}

/* ---- tasks ---- */

static struct task *task_get(struct virtio_scsi *scsi)
{
    struct task *task = scsi->free;

    if (task) {
        scsi->free = task->next;
    } else if (scsi->task_count < REQUESTS_MAX) {
        task = malloc(sizeof(*task));
        if (task)
            scsi->task_count++;
    }
    return task;
}

static void task_put(struct virtio_scsi *scsi, struct task *task)
{
    task->next = scsi->free;
    scsi->free = task;
}

static void schedule(struct virtio_scsi *scsi, uint32_t *queues)
{
    uint32_t bits = *queues;

    *queues = 0;
    for (; bits; bits &= bits - 1)
        virtio_schedule(&scsi->dev, (unsigned)__builtin_ctz(bits));
}

static void activate(struct task *task)
{
    struct virtio_scsi *scsi = task->scsi;

    task->prev_active = NULL;
    task->next_active = scsi->active;
    if (scsi->active)
        scsi->active->prev_active = task;
    scsi->active = task;
    scsi->under_way[task->queue]++;
}

static void deactivate(struct task *task)
{
    struct virtio_scsi *scsi = task->scsi;

    if (task->prev_active)
        task->prev_active->next_active = task->next_active;
    else
        scsi->active = task->next_active;
    if (task->next_active)
        task->next_active->prev_active = task->prev_active;
    if (--scsi->under_way[task->queue] == 0)
        pthread_cond_broadcast(&scsi->queue_idle);
}

static uint64_t answer_bytes(const struct virtio_scsi *scsi)
{
    return ANSWER_BYTES + (uint64_t)scsi->sense_size;
}

/* The room for data behind the answer. */
static uint64_t in_bytes(const struct task *task)
{
    return task->chain.writable_bytes - answer_bytes(task->scsi);
}

/* With the lock held: gives the chain and the task back. `in`: how many bytes of data were read. */
static void answer(struct task *task, uint8_t response, uint64_t in)
{
    struct virtio_scsi *scsi = task->scsi;
    struct virtq_chain *chain = &task->chain;
    const struct scsi_plan *plan = &task->plan;
    struct answer answer = {.status = response == S_OK ? plan->status : SCSI_GOOD, .response = response};
    uint8_t sense[SENSE_MAX] = {0};

    if (chain->writable_bytes > answer_bytes(scsi))
        answer.residual = (uint32_t)(in_bytes(task) - in);
    if (answer.status == SCSI_CHECK_CONDITION) {
        scsi->stats.check_conditions++;
        scsi_sense(plan->key, plan->code, sense);
        answer.sense_len = scsi->sense_size < SCSI_SENSE_BYTES ? scsi->sense_size : SCSI_SENSE_BYTES;
    }
    iov_from_buf(virtq_writable(chain), chain->writable_count, 0, &answer, sizeof(answer));
    iov_from_buf(virtq_writable(chain), chain->writable_count, sizeof(answer), sense, scsi->sense_size);
    virtq_push(&scsi->dev.queues[task->queue], chain, (uint32_t)(answer_bytes(scsi) + in));
    free(task->buffer);
    deactivate(task);
    if (scsi->in_turn)
        scsi->answered |= UINT32_C(1) << task->queue;
    else
        virtio_interrupt(&scsi->dev, task->queue);
    task_put(scsi, task);
    if (scsi->managing)
        virtio_schedule(&scsi->dev, QUEUE_CONTROL);
    else
        schedule(scsi, &scsi->starved);
}

static void host_failed(struct task *task, int error)
{
    struct scsi_plan *plan = &task->plan;
    bool read = plan->action == SCSI_READ;

    plan->status = SCSI_CHECK_CONDITION;
    plan->key = error == -ENOSPC ? SCSI_DATA_PROTECT : SCSI_MEDIUM_ERROR;
    plan->code = error == -ENOSPC ? SCSI_SPACE_FAILED : read ? SCSI_READ_ERROR : SCSI_WRITE_ERROR;
}

/* ---- what the image does ---- */

static void completed(struct block_request *io, int result);

static void submit(struct task *task)
{
    task->io.complete = completed;
    task->io.opaque = task;
    task->scsi->submitted |= UINT32_C(1) << task->unit;
    block_image_submit(task->scsi->images[task->unit], &task->io);
}

static void submit_range(struct task *task, enum block_op op)
{
    const struct scsi_range *range = &task->plan.ranges[task->range++];

    task->io = (struct block_request){
        .op = op, .offset = range->offset, .bytes = range->bytes, .may_unmap = task->plan.may_unmap};
    submit(task);
}

/* The next copies of a block: as many as there are pieces. */
static void submit_fill(struct task *task)
{
    uint32_t block_bytes = task->scsi->units[task->unit].block_bytes;
    uint64_t count = task->fill.bytes / block_bytes;

    if (count > FILL_PIECES)
        count = FILL_PIECES;
    task->io = (struct block_request){
        .op = BLOCK_WRITE, .offset = task->fill.offset, .iov = task->buffer, .count = (unsigned)count};
    task->fill.offset += count * block_bytes;
    task->fill.bytes -= count * block_bytes;
    submit(task);
}

/* Starts the next step; false when there is none. */
static bool next_step(struct task *task)
{
    const struct scsi_plan *plan = &task->plan;

    if (plan->action == SCSI_FILL && task->fill.bytes) {
        submit_fill(task);
        return true;
    }
    if ((plan->action == SCSI_UNMAP || plan->action == SCSI_ZERO) && task->range < plan->range_count) {
        submit_range(task, plan->action == SCSI_UNMAP ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES);
        return true;
    }
    if (plan->flush && !task->flushed) {
        task->flushed = true;
        task->io = (struct block_request){.op = BLOCK_FLUSH};
        submit(task);
        return true;
    }
    return false;
}

/* Without the lock, but in a turn of the device's own. Who drains has waited for the end of any turn. */
static void completed(struct block_request *io, int result)
{
    struct task *task = io->opaque;
    struct virtio_scsi *scsi = task->scsi;
    struct block_image *image = scsi->images[task->unit];
    bool more = false, in_turn = scsi->in_turn;

    if (!in_turn)
        pthread_mutex_lock(&scsi->dev.lock);
    if (!result)
        more = next_step(task);
    else
        host_failed(task, result);
    if (!more)
        answer(task, S_OK, task->plan.action == SCSI_READ && !result ? task->plan.ranges[0].bytes : 0);
    if (!in_turn)
        pthread_mutex_unlock(&scsi->dev.lock);
    if (more)
        block_image_kick(image);
}

/* ---- requests, with the lock held ---- */

/* The data buffer of a READ or WRITE: `bytes` behind `skip`. */
static bool set_data(struct task *task, const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes)
{
    struct iovec *part = malloc((count + 1) * sizeof(*part));

    if (!part)
        return false;
    task->buffer = part;
    task->io.iov = part;
    task->io.count = iov_part(iov, count, skip, bytes, part, count + 1);
    return true;
}

static void transfer(struct task *task)
{
    struct virtio_scsi *scsi = task->scsi;
    const struct virtq_chain *chain = &task->chain;
    const struct scsi_range *range = &task->plan.ranges[0];
    uint64_t head = HEAD_BYTES + (uint64_t)scsi->cdb_size;
    bool write = task->plan.action == SCSI_WRITE, ok;

    if (range->bytes > (write ? chain->readable_bytes - head : in_bytes(task))) {
        answer(task, S_OVERRUN, 0);
        return;
    }
    task->io = (struct block_request){.op = write ? BLOCK_WRITE : BLOCK_READ, .offset = range->offset};
    ok = write ? set_data(task, virtq_readable(chain), chain->readable_count, head, range->bytes)
               : set_data(task, virtq_writable(chain), chain->writable_count, answer_bytes(scsi), range->bytes);
    if (!ok) {
        answer(task, S_FAILURE, 0);
        return;
    }
    if (write) {
        scsi->stats.writes++;
        scsi->stats.written_bytes += range->bytes;
    } else {
        scsi->stats.reads++;
        scsi->stats.read_bytes += range->bytes;
    }
    submit(task);
}

/* One block that came with the command, again and again. */
static void fill(struct task *task, const uint8_t *block)
{
    uint32_t block_bytes = task->scsi->units[task->unit].block_bytes;
    struct iovec *pieces = malloc(FILL_PIECES * sizeof(*pieces) + block_bytes);

    if (!pieces) {
        answer(task, S_FAILURE, 0);
        return;
    }
    memcpy(pieces + FILL_PIECES, block, block_bytes);
    for (unsigned i = 0; i < FILL_PIECES; i++)
        pieces[i] = (struct iovec){.iov_base = pieces + FILL_PIECES, .iov_len = block_bytes};
    task->buffer = pieces;
    task->fill = task->plan.ranges[0];
    (void)next_step(task);
}

static void respond(struct task *task)
{
    const struct virtq_chain *chain = &task->chain;
    uint64_t bytes = task->plan.data_bytes, room = in_bytes(task);

    if (bytes > room)
        bytes = room;
    iov_from_buf(virtq_writable(chain), chain->writable_count, answer_bytes(task->scsi), task->plan.data, bytes);
    answer(task, S_OK, bytes);
}

static void carry_out(struct task *task, const uint8_t *out)
{
    struct virtio_scsi *scsi = task->scsi;

    switch (task->plan.action) {
    case SCSI_RESPOND:
        respond(task);
        return;
    case SCSI_READ:
    case SCSI_WRITE:
        transfer(task);
        return;
    case SCSI_FLUSH:
        scsi->stats.flushes++;
        task->plan.flush = true;
        break;
    case SCSI_UNMAP:
        scsi->stats.unmaps++;
        break;
    case SCSI_ZERO:
        scsi->stats.write_sames++;
        break;
    case SCSI_FILL:
        scsi->stats.write_sames++;
        fill(task, out);
        return;
    }
    (void)next_step(task);
}

/* The form of a request is wrong, as far as it can be said at all. */
static void refuse(struct task *task, uint8_t response)
{
    struct virtio_scsi *scsi = task->scsi;

    scsi->stats.malformed++;
    if (task->chain.writable_bytes >= answer_bytes(scsi)) {
        answer(task, response, 0);
        return;
    }
    log_guest_error("virtio-scsi: a request has no room for its answer");
    deactivate(task);
    virtq_push(&scsi->dev.queues[task->queue], &task->chain, 0);
    scsi->answered |= UINT32_C(1) << task->queue;
    task_put(scsi, task);
}

/* The unit that an address names (5.6.6.1), -1: there is none, -2: nor the target. */
static int unit_of(const struct virtio_scsi *scsi, const uint8_t lun[8])
{
    unsigned number = (unsigned)(lun[2] & 0x3f) << 8 | lun[3];

    if (lun[0] != 1 || lun[1] != 0)
        return -2;
    return number < scsi->unit_count ? (int)number : -1;
}

static void begin(struct task *task)
{
    struct virtio_scsi *scsi = task->scsi;
    const struct virtq_chain *chain = &task->chain;
    uint8_t head[HEAD_BYTES], cdb[SCSI_CDB_BYTES] = {0}, out[SCSI_OUT_BYTES];
    uint64_t head_bytes = HEAD_BYTES + (uint64_t)scsi->cdb_size;
    size_t cdb_bytes = scsi->cdb_size < SCSI_CDB_BYTES ? scsi->cdb_size : SCSI_CDB_BYTES, out_bytes;
    int unit;

    task->buffer = NULL;
    task->range = 0;
    task->flushed = false;
    task->fill.bytes = 0;
    task->plan.status = SCSI_GOOD;
    activate(task);
    scsi->stats.commands++;
    if (chain->readable_bytes < head_bytes || chain->writable_bytes < answer_bytes(scsi)) {
        refuse(task, S_FAILURE);
        return;
    }
    iov_to_buf(virtq_readable(chain), chain->readable_count, 0, head, sizeof(head));
    iov_to_buf(virtq_readable(chain), chain->readable_count, HEAD_BYTES, cdb, cdb_bytes);
    memcpy(&task->id, head + ID_OFFSET, sizeof(task->id));
    unit = unit_of(scsi, head);
    if (unit == -2) {
        answer(task, S_BAD_TARGET, 0);
        return;
    }
    task->unit = unit < 0 ? 0 : (unsigned)unit;
    struct scsi_unit *which = unit < 0 ? NULL : &scsi->units[unit];
    out_bytes =
        iov_to_buf(virtq_readable(chain), chain->readable_count, head_bytes, out, scsi_parameter_bytes(which, cdb));
    scsi_plan(which, scsi->unit_count, cdb, out, out_bytes, &task->plan);
    carry_out(task, out);
}

/* ---- the queues ---- */

static void end_turn(struct virtio_scsi *scsi)
{
    for (; scsi->submitted; scsi->submitted &= scsi->submitted - 1)
        block_image_kick_and_poll(scsi->images[__builtin_ctz(scsi->submitted)]);
    scsi->in_turn = false;
    for (; scsi->answered; scsi->answered &= scsi->answered - 1)
        virtio_interrupt(&scsi->dev, (unsigned)__builtin_ctz(scsi->answered));
}

static bool process_requests(struct virtio_scsi *scsi, unsigned queue)
{
    unsigned count = 0;

    scsi->in_turn = true;
    for (; count < VIRTIO_TURN_CHAINS; count++) {
        struct task *task = scsi->managing ? NULL : task_get(scsi);
        if (!task) { /* the next answer has one; without any under way there is always memory for one */
            scsi->starved |= UINT32_C(1) << queue;
            break;
        }
        if (!virtio_pop(&scsi->dev, queue, &task->chain)) {
            task_put(scsi, task);
            break;
        }
        task->scsi = scsi;
        task->queue = queue;
        begin(task);
    }
    end_turn(scsi);
    return count == VIRTIO_TURN_CHAINS;
}

/* Is a task under way: the one with that id, or any of the unit (`id` NULL), or any at all (`unit` -1)? */
static bool is_under_way(const struct virtio_scsi *scsi, int unit, const uint64_t *id)
{
    for (const struct task *task = scsi->active; task; task = task->next_active) {
        if ((unit < 0 || task->unit == (unsigned)unit) && (!id || task->id == *id))
            return true;
    }
    return false;
}

/* Returns the response, or -1: it waits. */
static int manage(struct virtio_scsi *scsi, uint32_t subtype, const uint8_t lun[8], uint64_t id)
{
    int unit = unit_of(scsi, lun);

    if (unit == -2)
        return S_BAD_TARGET;
    if (unit < 0 && subtype != TASK_NEXUS_RESET)
        return S_INCORRECT_LUN;
    switch (subtype) {
    case TASK_ABORT:
        return is_under_way(scsi, unit, &id) ? -1 : S_OK;
    case TASK_ABORT_SET:
    case TASK_CLEAR_SET:
        return is_under_way(scsi, unit, NULL) ? -1 : S_OK;
    case TASK_UNIT_RESET:
        if (is_under_way(scsi, unit, NULL))
            return -1;
        scsi->units[unit].attention = 1;
        return S_OK;
    case TASK_NEXUS_RESET:
        if (is_under_way(scsi, -1, NULL))
            return -1;
        for (unsigned i = 0; i < scsi->unit_count; i++)
            scsi->units[i].attention = 1;
        return S_OK;
    case TASK_QUERY:
        return is_under_way(scsi, unit, &id) ? S_FUNCTION_SUCCEEDED : S_OK;
    case TASK_QUERY_SET:
        return is_under_way(scsi, unit, NULL) ? S_FUNCTION_SUCCEEDED : S_OK;
    case TASK_CLEAR_ACA:
        return S_OK;
    default:
        return S_FUNCTION_REJECTED;
    }
}

/* The request in scsi->control. Returns how much of the answer was written, or -1: it waits. */
static int64_t handle_control(struct virtio_scsi *scsi)
{
    const struct virtq_chain *chain = &scsi->control;
    struct {
        uint32_t type, subtype;
        uint8_t lun[8];
        uint64_t id;
    } task = {0};
    uint8_t bytes[5] = {0}; /* asynchronous notification: the events there are, none, and a response */
    size_t got = iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &task, sizeof(task)), len = sizeof(bytes);

    if (got == sizeof(task) && task.type == T_TASK) {
        int response = manage(scsi, task.subtype, task.lun, task.id);
        if (response < 0)
            return -1;
        scsi->stats.task_functions++;
        bytes[0] = (uint8_t)response;
        len = 1;
    } else if (got < 4 || (task.type != T_AN_QUERY && task.type != T_AN_SUBSCRIBE)) {
        scsi->stats.malformed++;
        bytes[0] = S_FAILURE;
        len = 1;
    }
    return (int64_t)iov_from_buf(virtq_writable(chain), chain->writable_count, 0, bytes, len);
}

static bool process_control(struct virtio_scsi *scsi)
{
    struct virtq *q = &scsi->dev.queues[QUEUE_CONTROL];
    unsigned count = 0;

    scsi->managing = false;
    while (count < VIRTIO_TURN_CHAINS && virtio_pop(&scsi->dev, QUEUE_CONTROL, &scsi->control)) {
        int64_t written = handle_control(scsi);
        if (written < 0) {
            virtq_unpop(q, &scsi->control);
            scsi->managing = true;
            break;
        }
        virtq_push(q, &scsi->control, (uint32_t)written);
        count++;
    }
    virtio_interrupt(&scsi->dev, QUEUE_CONTROL);
    if (!scsi->managing)
        schedule(scsi, &scsi->starved);
    return count == VIRTIO_TURN_CHAINS;
}

/* There are no events: nothing comes or goes while the machine runs. */
static bool scsi_process(struct virtio_device *dev, unsigned queue)
{
    if (queue >= QUEUE_REQUESTS)
        return process_requests(scsi_of(dev), queue);
    return queue == QUEUE_CONTROL && process_control(scsi_of(dev));
}

static void scsi_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_scsi *scsi = scsi_of(dev);

    if (queue == UINT_MAX) {
        for (unsigned i = 0; i < scsi->unit_count; i++)
            block_image_drain(scsi->images[i]);
        return;
    }
    /* Others go on: their requests complete on the loop's thread. */
    pthread_mutex_lock(&dev->lock);
    while (queue < QUEUE_REQUESTS + scsi->queues && scsi->under_way[queue])
        pthread_cond_wait(&scsi->queue_idle, &dev->lock);
    pthread_mutex_unlock(&dev->lock);
}

static void scsi_settle(struct virtio_device *dev)
{
    scsi_drain(dev, UINT_MAX);
}

/* ---- configuration ---- */

static void scsi_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_scsi *scsi = scsi_of(dev);
    const struct config config = {.num_queues = scsi->queues,
                                  .seg_max = SEG_MAX,
                                  .max_sectors = MAX_SECTORS,
                                  .cmd_per_lun = UNIT_QUEUE,
                                  .event_info_size = 16,
                                  .sense_size = scsi->sense_size,
                                  .cdb_size = scsi->cdb_size,
                                  .max_lun = scsi->unit_count - 1};

    memcpy(bytes, (const uint8_t *)&config + offset, len);
}

/* How much sense data and which command blocks requests have, before the driver is running (5.6.4.1). */
static void scsi_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct virtio_scsi *scsi = scsi_of(dev);
    uint32_t value = 0;

    memcpy(&value, bytes, len < sizeof(value) ? len : sizeof(value));
    if (len == 4 && offset == offsetof(struct config, sense_size) && value <= SENSE_MAX && !dev->running)
        scsi->sense_size = value;
    else if (len == 4 && offset == offsetof(struct config, cdb_size) && value >= 6 && value <= 255 && !dev->running)
        scsi->cdb_size = value;
    else
        log_guest_error("virtio-scsi: byte %u of its configuration is not set to that now", offset);
}

/* ---- the device ---- */

static void scsi_reset(struct virtio_device *dev)
{
    struct virtio_scsi *scsi = scsi_of(dev);

    scsi->sense_size = 96;
    scsi->cdb_size = 32;
    scsi->starved = 0;
    scsi->managing = false;
    for (unsigned i = 0; i < scsi->unit_count; i++)
        scsi->units[i].attention = 1;
}

static void scsi_post_restore(struct virtio_device *dev)
{
    struct virtio_scsi *scsi = scsi_of(dev);

    if (scsi->sense_size > SENSE_MAX)
        scsi->sense_size = SENSE_MAX;
    if (scsi->cdb_size < 6 || scsi->cdb_size > 255)
        scsi->cdb_size = 32;
    for (unsigned i = 0; i < scsi->unit_count; i++)
        scsi->units[i].attention &= 1;
}

static void scsi_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                       void *opaque)
{
    const struct virtio_scsi *scsi = scsi_of(dev);

#define X(name) fn(opaque, #name, scsi->stats.name);
    SCSI_COUNTERS(X)
#undef X
}

static void free_tasks(struct virtio_scsi *scsi)
{
    for (struct task *task = scsi->free, *next; task; task = next) {
        next = task->next;
        free(task);
    }
}

static void scsi_destroy(struct virtio_device *dev)
{
    struct virtio_scsi *scsi = scsi_of(dev);

    virtio_fini(dev);
    for (unsigned i = 0; i < scsi->unit_count; i++) {
        int rc = block_image_close(scsi->images[i]);
        if (rc)
            log_warn(LOG_DEV, "a disk image could not be written to the end: %s", strerror(-rc));
    }
    free_tasks(scsi);
    pthread_cond_destroy(&scsi->queue_idle);
    free(scsi);
}

static const struct virtio_ops scsi_ops = {
    .name = "virtio-scsi",
    .device_id = DEVICE_ID,
    .pci_class = 0x010000,
    .state_version = 1,
    .fields = scsi_fields,
    .config_read = scsi_config_read,
    .config_write = scsi_config_write,
    .process = scsi_process,
    .drain = scsi_drain,
    .settle = scsi_settle,
    .reset = scsi_reset,
    .post_restore = scsi_post_restore,
    .destroy = scsi_destroy,
    .stats = scsi_stats,
};

static void add_unit(struct virtio_scsi *scsi, unsigned n, const struct virtio_scsi_unit_config *config, unsigned count)
{
    uint32_t block_bytes = block_image_block_bytes(config->image);

    scsi->images[n] = config->image;
    if (config->serial)
        memcpy(scsi->serials[n], config->serial, strnlen(config->serial, VIRTIO_SCSI_SERIAL_BYTES));
    scsi->units[n] = (struct scsi_unit){.blocks = block_image_size(config->image) / block_bytes,
                                        .block_bytes = block_bytes,
                                        .cluster_bytes = block_image_cluster_bytes(config->image),
                                        .read_only = block_image_is_read_only(config->image),
                                        .number = (uint8_t)n,
                                        .count = (uint8_t)count,
                                        .attention = 1,
                                        .serial = scsi->serials[n]};
}

int virtio_scsi_create(const struct virtio_scsi_config *config, struct virtio_device **out)
{
    struct virtio_scsi *scsi = calloc(1, sizeof(*scsi));
    struct task *first;
    int rc;

    assert(config->unit_count >= 1 && config->unit_count <= VIRTIO_SCSI_UNITS_MAX);
    assert(config->queues >= 1 && config->queues <= VIRTIO_SCSI_QUEUES_MAX);
    if (!scsi)
        return -ENOMEM;
    scsi->queues = config->queues;
    first = task_get(scsi); /* so that there always is one */
    if (first)
        task_put(scsi, first);
    rc = first ? virtio_init(&scsi->dev, &scsi_ops, config->mem, config->loop, 0,
                             (uint16_t)(QUEUE_REQUESTS + config->queues), sizeof(struct config))
               : -ENOMEM;
    if (rc) {
        free_tasks(scsi);
        free(scsi);
        return rc;
    }
    pthread_cond_init(&scsi->queue_idle, NULL);
    scsi->unit_count = config->unit_count;
    for (unsigned i = 0; i < config->unit_count; i++)
        add_unit(scsi, i, &config->units[i], config->unit_count);
    scsi_reset(&scsi->dev);
    for (unsigned i = 0; i < QUEUE_REQUESTS + config->queues; i++)
        scsi->dev.queues[i].size_max = i < QUEUE_REQUESTS ? CONTROL_QUEUE_SIZE : QUEUE_SIZE;
    *out = &scsi->dev;
    return 0;
}
