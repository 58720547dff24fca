/* The harts of a machine: one host thread each, SBI's hart state machine, sleeping in WFI, and what the SBI asks of the
 * machine. */
#include "accel/accel.h"
#include "base/sandbox.h"
#include "machine/boot_state.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- waking ---- */

void machine_hart_signal(struct machine_hart *hart)
{
    pthread_mutex_lock(&hart->lock);
    hart->signalled = true;
    pthread_cond_signal(&hart->changed);
    pthread_mutex_unlock(&hart->lock);
}

static void wake(void *opaque)
{
    machine_hart_signal(opaque);
}

/* Until signalled, or until `deadline_ns` (UINT64_MAX: for ever). */
static void wait_signal(struct machine_hart *hart, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000)};
    int rc = 0;

    pthread_mutex_lock(&hart->lock);
    while (!hart->signalled && rc == 0 && !atomic_load(&hart->machine->ending)) {
        if (deadline_ns == UINT64_MAX)
            rc = pthread_cond_wait(&hart->changed, &hart->lock);
        else
            rc = pthread_cond_timedwait(&hart->changed, &hart->lock, &until);
    }
    hart->signalled = false;
    pthread_mutex_unlock(&hart->lock);
}

/* WFI: sleeps until there is work. The thread waits for its own timer itself, one context switch sooner than through
 * the loop. */
static void halt(struct machine_hart *hart)
{
    struct machine *m = hart->machine;

    while (!vcpu_has_work(hart->vcpu) && !atomic_load(&m->ending) && !machine_gdb_wants_step(hart)) {
        machine_hart_yield(m);
        uint64_t deadline = vcpu_next_deadline(hart->vcpu);
        if (m->config.clock == MACHINE_CLOCK_INSNS) {
            if (deadline != UINT64_MAX) {
                /* Time is instructions, and none run: it moves on to the next thing that happens. */
                vcpu_skip_time(hart->vcpu, deadline);
                return;
            }
            wait_signal(hart, UINT64_MAX);
            continue;
        }
        uint64_t deadline_ns = machine_tick_to_ns(m, deadline);
        wait_signal(hart, deadline_ns);
        if (loop_now_ns() >= deadline_ns)
            vcpu_timer_expired(hart->vcpu);
    }
}

/* ---- SBI's services ---- */

static enum sbi_hsm_state hart_state(void *opaque, uint32_t index)
{
    struct machine *m = opaque;

    return (enum sbi_hsm_state)atomic_load(&m->harts[index].state);
}

static int hart_start(void *opaque, uint32_t index, uint64_t start_gpa, uint64_t arg)
{
    struct machine *m = opaque;
    struct machine_hart *hart = &m->harts[index];
    int expected = SBI_HSM_STOPPED;
    int rc = -EALREADY;

    /* Under the lock, so that its thread sees START_PENDING and what it means together. */
    pthread_mutex_lock(&hart->lock);
    if (atomic_compare_exchange_strong(&hart->state, &expected, SBI_HSM_START_PENDING)) {
        hart->start_pc = start_gpa;
        hart->start_arg = arg;
        hart->signalled = true;
        pthread_cond_signal(&hart->changed);
        rc = 0;
    }
    pthread_mutex_unlock(&hart->lock);
    return rc;
}

static int hart_stop(void *opaque, uint32_t self)
{
    struct machine *m = opaque;

    atomic_store(&m->harts[self].state, SBI_HSM_STOP_PENDING);
    return 0;
}

static int hart_suspend(void *opaque, uint32_t self, bool retentive, uint64_t resume_gpa, uint64_t arg)
{
    struct machine *m = opaque;
    struct machine_hart *hart = &m->harts[self];

    hart->resume_retentive = retentive;
    hart->start_pc = resume_gpa;
    hart->start_arg = arg;
    atomic_store(&hart->state, SBI_HSM_SUSPEND_PENDING);
    return 0;
}

static void send_ipi(void *opaque, uint64_t mask)
{
    struct machine *m = opaque;

    for (uint32_t i = 0; i < m->hart_count; i++) {
        if (mask >> i & 1)
            vcpu_set_irq(m->vcpus[i], VCPU_IRQ_SSI, true);
    }
}

static void remote_fence(void *opaque, uint32_t self, uint64_t mask, const struct vcpu_fence *fence)
{
    struct machine *m = opaque;

    vcpu_remote_fence(m->vcpus[self], m->vcpus, m->hart_count, mask, fence);
}

static void set_timer(void *opaque, uint32_t self, uint64_t deadline_ticks)
{
    struct machine *m = opaque;

    vcpu_set_supervisor_timer(m->vcpus[self], deadline_ticks);
}

static int system_reset(void *opaque, enum sbi_reset_type type, bool system_failure)
{
    enum { EXIT_SYSTEM_FAILURE = 1 };
    bool off = type == SBI_RESET_SHUTDOWN;

    machine_end(opaque, off ? MACHINE_END_POWEROFF : MACHINE_END_REBOOT,
                off && system_failure ? EXIT_SYSTEM_FAILURE : 0);
    return 0;
}

static size_t console_write(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    console_backend_write(m->console, bytes, len);
    return len;
}

/* Input goes to the serial port, which the guest's console driver owns; the debug console has none of its own. */
static size_t console_read(void *opaque, uint8_t *bytes, size_t len)
{
    return 0;
}

static void counter_control(void *opaque, uint32_t self, uint32_t csr, bool running, const uint64_t *value)
{
    struct machine *m = opaque;

    sbi_vcpu_counter_control(m->vcpus[self], csr, running, value);
}

static void counter_event(void *opaque, uint32_t self, uint32_t csr, uint64_t event)
{
    struct machine *m = opaque;

    sbi_vcpu_counter_event(m->vcpus[self], csr, event);
}

static uint64_t environment(void *opaque, uint32_t self, uint64_t mask, uint64_t value)
{
    struct machine *m = opaque;

    return sbi_vcpu_environment(m->vcpus[self], mask, value);
}

static struct sbi_trigger trigger(void *opaque, uint32_t self, uint32_t index, const struct sbi_trigger *set)
{
    struct machine *m = opaque;

    return sbi_vcpu_trigger(m->vcpus[self], index, set);
}

/* What the host's scheduler has counted: nothing in a run that is to repeat, nor where it does not count. */
static uint64_t stolen_ns(void *opaque, uint32_t self)
{
    struct machine *m = opaque;
    struct machine_hart *hart = &m->harts[self];
    char text[128], *waited_ns; /* "RAN_NS WAITED_NS SLICES" */

    if (hart->schedstat_fd < 0)
        return 0;
    ssize_t len = pread(hart->schedstat_fd, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return 0;
    text[len] = 0;
    waited_ns = strchr(text, ' ');
    return waited_ns ? strtoull(waited_ns, NULL, 10) : 0;
}

const struct sbi_ops machine_sbi_ops = {
    .hart_state = hart_state,
    .hart_start = hart_start,
    .hart_stop = hart_stop,
    .hart_suspend = hart_suspend,
    .send_ipi = send_ipi,
    .remote_fence = remote_fence,
    .set_timer = set_timer,
    .system_reset = system_reset,
    .console_write = console_write,
    .console_read = console_read,
    .counter_control = counter_control,
    .counter_event = counter_event,
    .environment = environment,
    .trigger = trigger,
    .stolen_ns = stolen_ns,
};

/* ---- threads ---- */

/* Fields of menvcfg in `keep` stay what they are. */
static void enter_supervisor(struct machine_hart *hart, uint64_t keep)
{
    struct vcpu_state state;

    vcpu_get_state(hart->vcpu, &state);
    uint64_t kept = state.menvcfg & keep;
    pthread_mutex_lock(&hart->lock);
    boot_supervisor_state(&state, hart->machine->config.isa, hart->start_pc, hart->start_arg);
    pthread_mutex_unlock(&hart->lock);
    state.menvcfg = (state.menvcfg & ~keep) | kept;
    if (vcpu_set_state(hart->vcpu, &state) != 0)
        machine_end(hart->machine, MACHINE_END_ERROR, 0);
}

/* SUSPEND_PENDING: sleep until an enabled interrupt is pending, then go on. */
static void suspend(struct machine_hart *hart)
{
    atomic_store(&hart->state, SBI_HSM_SUSPENDED);
    halt(hart);
    if (atomic_load(&hart->machine->ending))
        return;
    atomic_store(&hart->state, SBI_HSM_RESUME_PENDING);
    if (!hart->resume_retentive)
        enter_supervisor(hart, sbi_fwft_environment);
    atomic_store(&hart->state, SBI_HSM_STARTED);
}

static void run_started(struct machine_hart *hart)
{
    struct machine *m = hart->machine;

    while (!atomic_load(&m->ending)) {
        machine_hart_yield(m);
        if (machine_gdb_holds(hart)) {
            wait_signal(hart, UINT64_MAX);
            continue;
        }
        uint64_t retired = vcpu_instret(hart->vcpu);
        uint64_t snapshot_at = hart->index == 0 ? machine_snapshots_at(m) : UINT64_MAX;
        uint64_t until = m->config.max_insns < snapshot_at ? m->config.max_insns : snapshot_at;
        uint64_t left = until == UINT64_MAX ? UINT64_MAX : until > retired ? until - retired : 0;
        switch (machine_gdb_run(hart, left)) {
        case VCPU_EXIT_BUDGET:
            if (until == snapshot_at && vcpu_instret(hart->vcpu) >= until) {
                machine_snapshots_reached(m);
                break;
            }
            machine_end(m, MACHINE_END_MAX_INSNS, 0);
            return;
        case VCPU_EXIT_HALTED:
            halt(hart);
            break;
        case VCPU_EXIT_STOPPED:
            if (atomic_load(&hart->state) == SBI_HSM_STOP_PENDING)
                return;
            if (atomic_load(&hart->state) == SBI_HSM_SUSPEND_PENDING)
                suspend(hart);
            break;
        case VCPU_EXIT_INTERRUPTED:
            if (atomic_exchange(&hart->counts, false))
                vcpu_book_tiers(hart->vcpu);
            break;
        case VCPU_EXIT_DEBUG:
            break;
        case VCPU_EXIT_CRITICAL:
            machine_end(m, MACHINE_END_CRITICAL, 0);
            return;
        case VCPU_EXIT_ERROR:
            machine_end(m, MACHINE_END_ERROR, 0);
            return;
        }
    }
}

static void *hart_main(void *opaque)
{
    struct machine_hart *hart = opaque;
    struct machine *m = hart->machine;

    atomic_store(&hart->thread_id, gettid());
    if (m->sbi && m->config.clock != MACHINE_CLOCK_INSNS)
        hart->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    machine_hart_enter(m);
    placement_enter(&m->placement, PLACEMENT_VCPU, hart->index, NULL);
    sandbox_enter(SANDBOX_VCPU);
    while (!atomic_load(&m->ending)) {
        machine_hart_yield(m);
        if (atomic_load(&hart->state) == SBI_HSM_START_PENDING) {
            enter_supervisor(hart, 0);
            atomic_store(&hart->state, SBI_HSM_STARTED);
        }
        /* A restored hart may be in any of its states. */
        int state = atomic_load(&hart->state);
        if (state == SBI_HSM_SUSPENDED || state == SBI_HSM_SUSPEND_PENDING || state == SBI_HSM_RESUME_PENDING)
            suspend(hart);
        if (atomic_load(&hart->state) == SBI_HSM_STARTED) {
            run_started(hart);
            int pending = SBI_HSM_STOP_PENDING;
            (void)atomic_compare_exchange_strong(&hart->state, &pending, SBI_HSM_STOPPED);
        } else {
            wait_signal(hart, UINT64_MAX);
        }
    }
    if (hart->schedstat_fd >= 0)
        close(hart->schedstat_fd);
    vcpu_book_tiers(hart->vcpu);
    atomic_store(&hart->thread_id, 0);
    machine_hart_leave(m);
    return NULL;
}

static uint64_t env_time_now(void *opaque)
{
    return machine_ticks(opaque);
}

static void env_timer_arm(void *opaque, struct vcpu *vcpu, uint64_t deadline)
{
    struct machine *m = opaque;
    uint32_t hart = vcpu_hart_id(vcpu);

    loop_timer_arm(m->harts[hart].timer, machine_tick_to_ns(m, deadline));
    /* A kernel sets its timer at each tick, and reads its steal time then. */
    if (m->sbi)
        sbi_steal_time_update(m->sbi, hart);
}

/* Of the kernel's pool, which does not run dry once it is filled. */
static int env_entropy(void *opaque, void *bytes, size_t len)
{
    (void)opaque;
    ssize_t got = getrandom(bytes, len, GRND_NONBLOCK);

    return got == (ssize_t)len ? 0 : got < 0 ? -errno : -EAGAIN;
}

static enum vcpu_action env_ecall(void *opaque, struct vcpu *vcpu)
{
    struct machine *m = opaque;

    return sbi_ecall(m->sbi, vcpu);
}

/* Of what KVM leaves to this program it has the console, and the end. */
static enum vcpu_action env_kernel_sbi(void *opaque, uint32_t hart, const uint64_t args[8], uint64_t ret[2])
{
    struct machine *m = opaque;
    struct sbi_ret answer = {.error = SBI_ERR_NOT_SUPPORTED};
    enum vcpu_action action = VCPU_ACTION_RESUME;

    if (args[7] == SBI_EID_DBCN || args[7] == SBI_EID_SRST)
        action = sbi_handle(m->sbi, hart, args, &answer);
    ret[0] = (uint64_t)answer.error;
    ret[1] = answer.value;
    return action;
}

static void timer_expired(void *opaque)
{
    struct machine_hart *hart = opaque;

    vcpu_timer_expired(hart->vcpu);
}

static int create_one(struct machine *m, uint32_t index)
{
    struct machine_hart *hart = &m->harts[index];
    struct vcpu_config config = {
        .hart_id = index,
        .hart_count = m->hart_count,
        .mem = m->mem,
        .env = &m->env,
        .env_opaque = m,
        .isa = m->config.isa,
        .reset_pc = BOARD_RAM_GPA,
        .timebase_hz = BOARD_TIMEBASE_HZ,
        .clock_insns = m->config.clock == MACHINE_CLOCK_INSNS,
        .insns_per_tick = MACHINE_INSNS_PER_TICK,
        .region_cache = m->regions,
        .accel = m->accel,
        .baseline_after = m->config.baseline && !m->config.jit.verify ? m->config.jit.tunables.baseline : 0,
    };
    pthread_condattr_t attr;

    hart->machine = m;
    hart->index = index;
    hart->schedstat_fd = -1;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&hart->lock, NULL);
    pthread_cond_init(&hart->changed, &attr);
    pthread_condattr_destroy(&attr);
    atomic_store(&hart->state, SBI_HSM_STOPPED);
    int rc = vcpu_create(m->accel ? accel_vcpu_ops(m->pc ? VCPU_GUEST_X86_64 : VCPU_GUEST_RISCV64) : &vcpu_riscv_ops,
                         &config, &hart->vcpu);
    if (rc)
        return rc;
    m->vcpus[index] = hart->vcpu;
    vcpu_set_wake(hart->vcpu, wake, hart);
    return loop_timer_create(m->loop, timer_expired, hart, &hart->timer);
}

int machine_harts_create(struct machine *m, struct error *err)
{
    int rc;

    m->env.time_now = env_time_now;
    m->env.timer_arm = env_timer_arm;
    m->env.entropy = env_entropy;
    m->env.ecall = m->sbi ? env_ecall : NULL;
    m->env.kernel_sbi = m->sbi ? env_kernel_sbi : NULL;
    if (m->config.aia == MACHINE_AIA_APLIC_IMSIC) {
        m->env.imsic_access = machine_imsic_access;
        m->env.imsic_top = machine_imsic_top;
    }
    m->harts = calloc(m->config.cpus, sizeof(*m->harts));
    if (!m->harts)
        return error_set(err, -ENOMEM, "no memory for %u harts", m->config.cpus);
    m->hart_count = m->config.cpus;
    for (uint32_t i = 0; i < m->hart_count; i++) {
        rc = create_one(m, i);
        if (rc)
            return error_set(err, rc, "hart %u could not be created: %s", i, strerror(-rc));
    }
    for (uint32_t i = 0; i < m->hart_count; i++) {
        rc = vcpu_set_peers(m->vcpus[i], m->vcpus, m->hart_count);
        if (rc)
            return error_set(err, rc, "no memory for %u harts", m->hart_count);
    }
    return 0;
}

void machine_harts_destroy(struct machine *m)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        struct machine_hart *hart = &m->harts[i];
        if (!hart->machine)
            continue;
        loop_timer_destroy(hart->timer);
        vcpu_destroy(hart->vcpu);
        pthread_cond_destroy(&hart->changed);
        pthread_mutex_destroy(&hart->lock);
    }
    free(m->harts);
}

int machine_harts_start(struct machine *m, struct error *err)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        struct machine_hart *hart = &m->harts[i];
        char name[16];
        int rc = pthread_create(&hart->thread, NULL, hart_main, hart);
        if (rc) {
            machine_end(m, MACHINE_END_ERROR, 0);
            return error_set(err, -rc, "the thread of hart %u could not be started: %s", i, strerror(rc));
        }
        hart->thread_started = true;
        snprintf(name, sizeof(name), "hart%u", i);
        pthread_setname_np(hart->thread, name);
    }
    return 0;
}

void machine_harts_join(struct machine *m)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        if (m->harts[i].thread_started)
            pthread_join(m->harts[i].thread, NULL);
        m->harts[i].thread_started = false;
    }
}
