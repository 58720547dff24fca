/* The parts of a machine and their saved fields; see machine_state.h. Harts, the SBI and guest time are no devices, but
 * have tables of fields all the same, and are taken for devices here. */
#include "machine/machine_state.h"

#include "dev/device_state.h"
#include "machine/machine_internal.h"
#include "machine/vcpu_part.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- parts that are no devices ---- */

struct time_part {
    struct device base;
    uint64_t guest_ns; /* under --clock=host */
    int64_t tick_offset;
    uint8_t virtio_console_spoke;
};

static const struct device_field time_fields[] = {
    DEVICE_FIELD(struct time_part, guest_ns, 1),
    DEVICE_FIELD(struct time_part, tick_offset, 1),
    DEVICE_FIELD(struct time_part, virtio_console_spoke, 1),
    {0},
};

static const struct device_ops time_ops = {.name = "machine", .state_version = 1, .fields = time_fields};

struct sbi_part {
    struct device base;
    struct sbi_hart_state state;
};

enum { SBI_FIELDS_MAX = 32 };

/* The SBI's table, moved to where its state lies in the part. */
static struct device_ops sbi_ops_of(struct device_field fields[SBI_FIELDS_MAX])
{
    unsigned count = 0;

    for (const struct device_field *f = sbi_hart_fields; f->name && count + 1 < SBI_FIELDS_MAX; f++) {
        fields[count] = *f;
        fields[count++].offset += (uint32_t)offsetof(struct sbi_part, state);
    }
    fields[count] = (struct device_field){0};
    return (struct device_ops){.name = "sbi", .state_version = SBI_STATE_VERSION, .fields = fields};
}

/* ---- saving ---- */

struct machine_state_section {
    const char *name;
    unsigned instance;
    uint32_t version;
    struct snapshot_field *fields;
    unsigned count;
    uint8_t *bytes;
};

struct copying {
    struct machine_state_section *section;
    size_t bytes;
};

static void measure(void *opaque, const struct device_field *field, const void *value)
{
    struct copying *copy = opaque;

    copy->section->count++;
    copy->bytes += (size_t)field->element_bytes * field->count;
}

static void copy_field(void *opaque, const struct device_field *field, const void *value)
{
    struct copying *copy = opaque;
    size_t bytes = (size_t)field->element_bytes * field->count;
    struct snapshot_field *out = &copy->section->fields[copy->section->count++];

    strncpy(out->name, field->name, sizeof(out->name) - 1);
    out->element_bytes = field->element_bytes;
    out->count = field->count;
    out->value = copy->section->bytes + copy->bytes;
    memcpy(copy->section->bytes + copy->bytes, value, bytes);
    copy->bytes += bytes;
}

static void free_section(struct machine_state_section *section)
{
    free(section->fields);
    free(section->bytes);
}

static void save(struct machine_state *state, struct device *dev, unsigned instance)
{
    struct machine_state_section section = {
        .name = dev->ops->name, .instance = instance, .version = dev->ops->state_version};
    struct copying copy = {.section = &section};
    struct machine_state_section *sections = realloc(state->sections, (state->count + 1) * sizeof(*state->sections));

    if (sections)
        state->sections = sections;
    if (dev->ops->pre_save)
        dev->ops->pre_save(dev);
    device_state_each(dev, measure, &copy);
    section.fields = calloc(section.count + 1, sizeof(*section.fields));
    section.bytes = malloc(copy.bytes + 1);
    if (!sections || !section.fields || !section.bytes) {
        free_section(&section);
        state->rc = -ENOMEM;
        return;
    }
    copy.bytes = 0;
    section.count = 0;
    device_state_each(dev, copy_field, &copy);
    state->sections[state->count++] = section;
}

static void save_columns(struct machine_state *state, struct device *dev, unsigned instance)
{
    struct machine_state_section *sections = realloc(state->sections, (state->count + 1) * sizeof(*state->sections));
    struct device_columns columns;
    size_t bytes = 0;

    if (sections)
        state->sections = sections;
    if (!sections || dev->ops->columns_save(dev, &columns)) {
        state->rc = -ENOMEM;
        return;
    }
    for (unsigned i = 0; i < columns.count; i++)
        bytes += (size_t)columns.list[i].element_bytes * columns.list[i].count;
    struct machine_state_section section = {.name = dev->ops->columns_name,
                                            .instance = instance,
                                            .version = columns.version,
                                            .fields = calloc(columns.count + 1, sizeof(*section.fields)),
                                            .bytes = malloc(bytes + 1)};
    struct copying copy = {.section = &section};
    if (section.fields && section.bytes) {
        for (unsigned i = 0; i < columns.count; i++) {
            const struct device_column *column = &columns.list[i];
            copy_field(&copy,
                       &(struct device_field){
                           .name = column->name, .element_bytes = column->element_bytes, .count = column->count},
                       column->value);
        }
        state->sections[state->count++] = section;
    } else {
        free_section(&section);
        state->rc = -ENOMEM;
    }
    dev->ops->columns_done(dev);
}

/* Of the devices of that name, the how manieth it is. */
static unsigned instance_of(const struct machine *m, unsigned n)
{
    unsigned instance = 0;

    for (unsigned i = 0; i < n; i++)
        instance += strcmp(m->devices[i]->ops->name, m->devices[n]->ops->name) == 0;
    return instance;
}

static void save_hart(const struct machine *m, uint32_t index, struct machine_state *state)
{
    struct device_field fields[SBI_FIELDS_MAX];
    struct device_ops sbi_ops = sbi_ops_of(fields);
    struct machine_hart *hart = &m->harts[index];
    struct vcpu_part part;
    struct sbi_part sbi = {.base = {&sbi_ops}};

    vcpu_part_get(&part, hart->vcpu);
    pthread_mutex_lock(&hart->lock);
    part.hsm = (uint8_t)atomic_load(&hart->state);
    part.resume_retentive = hart->resume_retentive;
    part.start_pc = hart->start_pc;
    part.start_arg = hart->start_arg;
    pthread_mutex_unlock(&hart->lock);
    save(state, &part.base, index);
    if (m->sbi) {
        sbi.state = *sbi_hart_state(m->sbi, index);
        save(state, &sbi.base, index);
    }
}

void machine_state_save(struct machine *m, struct machine_state *state)
{
    struct time_part time = {.base = {&time_ops},
                             .guest_ns = m->config.clock == MACHINE_CLOCK_HOST ? machine_guest_ns(m) : 0,
                             .tick_offset = atomic_load(&m->tick_offset),
                             .virtio_console_spoke = atomic_load(&m->virtio_console_spoke)};

    save(state, &time.base, 0);
    for (uint32_t i = 0; i < m->hart_count; i++)
        save_hart(m, i, state);
    for (unsigned n = 0; n < m->device_count; n++) {
        save(state, m->devices[n], instance_of(m, n));
        if (m->devices[n]->ops->columns_name)
            save_columns(state, m->devices[n], instance_of(m, n));
    }
}

int machine_state_write(const struct machine_state *state, struct snapshot_writer *writer, struct error *err)
{
    int rc = state->rc ? error_set(err, state->rc, "no memory for the machine's state") : 0;

    for (unsigned i = 0; i < state->count && rc == 0; i++) {
        const struct machine_state_section *s = &state->sections[i];
        rc = snapshot_write_section(writer, s->name, s->instance, s->version, s->fields, s->count, err);
    }
    return rc;
}

void machine_state_free(struct machine_state *state)
{
    for (unsigned i = 0; i < state->count; i++)
        free_section(&state->sections[i]);
    free(state->sections);
    *state = (struct machine_state){0};
}

/* ---- loading ---- */

struct loading {
    struct machine *m;
    struct snapshot_store *store;
    int64_t id;
    struct error *err;
    unsigned *columns; /* how many devices' were there */
};

static const void *get_field(void *opaque, const struct device_field *field)
{
    const struct snapshot_field *found = snapshot_section_field(opaque, field->name);

    return found && found->element_bytes == field->element_bytes && found->count == field->count ? found->value : NULL;
}

/* Older snapshots have none. */
static int load_columns(const struct loading *l, struct device *dev, unsigned instance)
{
    struct snapshot_section *section;
    struct device_columns columns = {.name = dev->ops->columns_name};
    int rc = snapshot_read_section(l->store, l->id, columns.name, instance, &section, l->err);

    if (rc)
        return rc == -ENOENT ? 0 : rc;
    columns.version = section->version;
    rc = section->field_count > DEVICE_COLUMNS_MAX ? -EINVAL : 0;
    for (unsigned i = 0; i < section->field_count && rc == 0; i++) {
        const struct snapshot_field *field = &section->fields[i];
        columns.list[columns.count++] = (struct device_column){
            .name = field->name, .element_bytes = field->element_bytes, .count = field->count, .value = field->value};
    }
    if (rc == 0)
        rc = dev->ops->columns_load(dev, &columns);
    snapshot_section_free(section);
    ++*l->columns;
    return rc ? error_set(l->err, rc, "snapshots, '%s': section %s %u is not one that this program writes",
                          snapshot_path(l->store), columns.name, instance)
              : 0;
}

static int load(const struct loading *l, struct device *dev, unsigned instance)
{
    struct snapshot_section *section;
    struct error why;
    int rc = snapshot_read_section(l->store, l->id, dev->ops->name, instance, &section, l->err);

    if (rc)
        return rc;
    rc = device_state_set(dev, section->version, section->field_count, get_field, section, &why);
    snapshot_section_free(section);
    return rc ? error_set(l->err, rc, "snapshots, '%s': %s", snapshot_path(l->store), why.text) : 0;
}

static int load_hart(const struct loading *l, uint32_t index)
{
    struct device_field fields[SBI_FIELDS_MAX];
    struct device_ops sbi_ops = sbi_ops_of(fields);
    struct machine_hart *hart = &l->m->harts[index];
    struct vcpu_part part;
    struct sbi_part sbi = {.base = {&sbi_ops}};

    vcpu_part_get(&part, hart->vcpu);
    int rc = load(l, &part.base, index);
    if (rc)
        return rc;
    rc = vcpu_set_state(hart->vcpu, &part.state);
    if (rc)
        return error_set(l->err, rc, "snapshots, '%s': hart %" PRIu32 " cannot have the state that was saved%s",
                         snapshot_path(l->store), index, rc == -ENOTSUP ? ": this host lacks what it needs" : "");
    hart->resume_retentive = part.resume_retentive;
    hart->start_pc = part.start_pc;
    hart->start_arg = part.start_arg;
    atomic_store(&hart->state, part.hsm);
    if (!l->m->sbi)
        return 0;
    sbi.state = *sbi_hart_state(l->m->sbi, index);
    rc = load(l, &sbi.base, index);
    if (rc == 0)
        *sbi_hart_state(l->m->sbi, index) = sbi.state;
    return rc;
}

static int load_time(const struct loading *l, bool host_time, int64_t created_ns)
{
    struct time_part time = {.base = {&time_ops}};
    struct timespec now;
    int rc = load(l, &time.base, 0);

    if (rc)
        return rc;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t passed_ns = (int64_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - (uint64_t)created_ns);
    if (host_time && passed_ns > 0 && time.guest_ns < INT64_MAX / 2 && passed_ns < INT64_MAX / 2)
        time.guest_ns += (uint64_t)passed_ns;
    if (time.guest_ns > INT64_MAX / 2)
        return error_set(l->err, -EINVAL, "snapshots, '%s': the guest's time is not a time", snapshot_path(l->store));
    machine_clock_set(l->m, time.guest_ns);
    atomic_store(&l->m->tick_offset, time.tick_offset);
    atomic_store(&l->m->virtio_console_spoke, time.virtio_console_spoke & 1);
    return 0;
}

static bool is_controller(const struct machine *m, const struct device *dev)
{
    return dev == m->plic || dev == m->aplic || dev == m->imsic || dev == m->accel_chip;
}

/* Does it tell the guest of the restore? */
static bool tells(const struct machine *m, const struct device *dev)
{
    bool is = dev == m->vmgenid;

    for (unsigned i = 0; i < m->virtio_count; i++)
        is |= dev == &m->virtio[i]->base;
    return is;
}

/* Devices that raise lines do so when they are loaded; controllers come after them, so that what is pending there is
 * what was. Virtio devices and the generation are last: what they tell the guest of the restore must not be
 * overwritten. */
static int load_devices(const struct loading *l)
{
    enum { OTHERS, CONTROLLERS, TELLING, PASSES };
    const struct machine *m = l->m;
    int rc = 0;

    for (int pass = OTHERS; pass < PASSES; pass++) {
        for (unsigned n = 0; n < m->device_count && rc == 0; n++) {
            struct device *dev = m->devices[n];
            int own = is_controller(m, dev) ? CONTROLLERS : tells(m, dev) ? TELLING : OTHERS;
            if (own == pass && dev->ops->columns_name)
                rc = load_columns(l, dev, instance_of(m, n));
            if (own == pass && rc == 0)
                rc = load(l, dev, instance_of(m, n));
        }
    }
    return rc;
}

/* A section that belongs to nothing here is of a machine that is made otherwise. */
static int check_count(const struct loading *l)
{
    const struct machine *m = l->m;
    unsigned here = 1 + m->hart_count * (m->sbi ? 2 : 1) + m->device_count + *l->columns, saved;
    struct snapshot_section *touches;
    int rc = snapshot_section_count(l->store, l->id, &saved, l->err);

    if (snapshot_read_section(l->store, l->id, MACHINE_STATE_TOUCHES, 0, &touches, NULL) == 0)
        here++;
    snapshot_section_free(touches);

    if (rc == 0 && saved != here)
        rc = error_set(l->err, -EINVAL, "snapshots, '%s': the snapshot has %u sections, its machine %u parts",
                       snapshot_path(l->store), saved, here);
    return rc;
}

int machine_state_load(struct machine *m, struct snapshot_store *store, int64_t id, bool host_time, int64_t created_ns,
                       struct error *err)
{
    unsigned columns = 0;
    const struct loading l = {.m = m, .store = store, .id = id, .err = err, .columns = &columns};
    int rc = load_time(&l, host_time, created_ns);

    for (uint32_t i = 0; i < m->hart_count && rc == 0; i++)
        rc = load_hart(&l, i);
    if (rc == 0)
        rc = load_devices(&l);
    return rc ? rc : check_count(&l);
}

/* ---- standing still ---- */

static void park(void *opaque)
{
    struct machine *m = opaque;

    pthread_mutex_lock(&m->park_lock);
    m->parked++;
    pthread_cond_broadcast(&m->park_changed);
    while (m->parking)
        pthread_cond_wait(&m->park_changed, &m->park_lock);
    m->parked--;
    pthread_cond_broadcast(&m->park_changed);
    pthread_mutex_unlock(&m->park_lock);
}

static void wait_parked(struct machine *m, unsigned count)
{
    while (m->parked != count)
        pthread_cond_wait(&m->park_changed, &m->park_lock);
}

int machine_settle(struct machine *m, struct error *err)
{
    struct loop *const loops[] = {m->loop, m->devices_loop};
    unsigned posted = 0;

    for (unsigned i = 0; i < m->virtio_count; i++)
        virtio_settle(m->virtio[i]);
    pthread_mutex_lock(&m->park_lock);
    m->parking = true;
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(loops); i++)
        posted += loop_post(loops[i], park, m) == 0;
    wait_parked(m, posted);
    pthread_mutex_unlock(&m->park_lock);
    if (posted == TUFF_ARRAY_LEN(loops))
        return 0;
    machine_unsettle(m);
    return error_set(err, -ENOMEM, "no memory for stopping the event loops");
}

void machine_unsettle(struct machine *m)
{
    pthread_mutex_lock(&m->park_lock);
    m->parking = false;
    pthread_cond_broadcast(&m->park_changed);
    wait_parked(m, 0);
    pthread_mutex_unlock(&m->park_lock);
    for (unsigned i = 0; i < m->virtio_count; i++)
        virtio_unsettle(m->virtio[i]);
}
