/* The vCPU back end on KVM: running, kicking, accesses to memory and ports of devices. What depends on the architecture
 * is behind struct kvm_arch.
 *
 * A kick sets `kicked`, then the flag by which the kernel does not enter the guest, then sends a signal whose handler
 * does nothing, which ends a stay in the guest. Whichever comes too late, an earlier one was seen.
 */
#include "accel/kvm_debug.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- kicking ---- */

static int kick_signal(void)
{
    return SIGRTMIN + 2;
}

static void on_kick(int number)
{
    (void)number;
}

static void install_handler(void)
{
    struct sigaction action = {.sa_handler = on_kick}; /* without SA_RESTART: ioctl() ends */

    sigemptyset(&action.sa_mask);
    (void)sigaction(kick_signal(), &action, NULL);
}

static void kick(struct vcpu *vcpu)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    atomic_store(&v->kicked, true);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&v->lock);
    if (v->running && !pthread_equal(v->thread, pthread_self()))
        (void)pthread_kill(v->thread, kick_signal());
    pthread_mutex_unlock(&v->lock);
}

static void set_running(struct kvm_vcpu *v, bool running)
{
    if (running) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, kick_signal());
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    pthread_mutex_lock(&v->lock);
    v->running = running;
    v->thread = pthread_self();
    pthread_mutex_unlock(&v->lock);
}

/* ---- accesses ---- */

/* In halves where the device does not take it as a whole. Where nothing answers, reads give ones and stores are lost,
 * as on the bus. */
static uint64_t bus_read(const struct mem *mem, uint64_t gpa, unsigned size_bytes)
{
    uint64_t value;

    if (!(size_bytes & (size_bytes - 1)) && mem_mmio_read(mem, gpa, size_bytes, &value) == 0)
        return value;
    if (size_bytes == 1) {
        log_guest_error("load from 0x%llx: nothing answers", (unsigned long long)gpa);
        return 0xff;
    }
    unsigned half = size_bytes / 2;
    uint64_t low = bus_read(mem, gpa, half);
    return low | bus_read(mem, gpa + half, size_bytes - half) << (8 * half);
}

static void bus_write(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    if (!(size_bytes & (size_bytes - 1)) && mem_mmio_write(mem, gpa, size_bytes, value) == 0)
        return;
    if (size_bytes == 1) {
        log_guest_error("store to 0x%llx: nothing answers", (unsigned long long)gpa);
        return;
    }
    unsigned half = size_bytes / 2;
    bus_write(mem, gpa, half, value & ((UINT64_C(1) << (8 * half)) - 1));
    bus_write(mem, gpa + half, size_bytes - half, value >> (8 * half));
}

static void access_memory(struct kvm_vcpu *v)
{
    unsigned len = v->run->mmio.len;
    uint64_t value = 0;

    KVM_COUNT(v, mmio_accesses, 1);
    if (len == 0 || len > sizeof(v->run->mmio.data))
        return;
    if (v->run->mmio.is_write) {
        memcpy(&value, v->run->mmio.data, len);
        bus_write(v->config.mem, v->run->mmio.phys_addr, len, value);
    } else {
        value = bus_read(v->config.mem, v->run->mmio.phys_addr, len);
        memcpy(v->run->mmio.data, &value, len);
    }
}

/* One access, or those of a string instruction. */
static void access_ports(struct kvm_vcpu *v)
{
    const struct vcpu_env_ops *env = v->config.env;
    uint8_t *data = (uint8_t *)v->run + v->run->io.data_offset;
    unsigned size = v->run->io.size;

    for (uint32_t i = 0; i < v->run->io.count; i++, data += size) {
        uint64_t value = UINT64_MAX;
        KVM_COUNT(v, port_accesses, 1);
        if (v->run->io.direction == KVM_EXIT_IO_OUT) {
            value = 0;
            memcpy(&value, data, size);
            if (env->port_write)
                env->port_write(v->config.env_opaque, v->run->io.port, size, value);
        } else {
            if (env->port_read)
                value = env->port_read(v->config.env_opaque, v->run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

/* ---- running ---- */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Returns 0, -EINTR, or another negative errno. */
static int enter(struct kvm_vcpu *v)
{
    uint64_t begin = now_ns();
    int rc = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;

    KVM_COUNT(v, guest_ns, now_ns() - begin);
    KVM_COUNT(v, exits, 1);
    if (rc == -EINTR || rc == -EAGAIN)
        KVM_COUNT(v, signal_exits, 1);
    return rc;
}

/* Returns true when run() goes on. */
static bool handle(struct kvm_vcpu *v, enum vcpu_exit *exit)
{
    switch (v->run->exit_reason) {
    case KVM_EXIT_MMIO:
        access_memory(v);
        v->unfinished = true;
        return true;
    case KVM_EXIT_IO:
        access_ports(v);
        v->unfinished = true;
        return true;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return true;
    case KVM_EXIT_FAIL_ENTRY:
        log_write(LOG_LEVEL_ERROR, LOG_ACCEL, "vCPU %u: the processor did not enter the guest (0x%llx)",
                  v->config.hart_id, (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
        *exit = VCPU_EXIT_ERROR;
        return false;
    case KVM_EXIT_DEBUG:
        *exit = VCPU_EXIT_DEBUG;
        return !kvm_debug_stopped(v);
    case KVM_EXIT_INTERNAL_ERROR:
        if (kvm_debug_stopped(v)) {
            *exit = VCPU_EXIT_DEBUG;
            return false;
        }
        log_write(LOG_LEVEL_ERROR, LOG_ACCEL, "vCPU %u: KVM failed (%u) at 0x%llx: an instruction it does not emulate?",
                  v->config.hart_id, v->run->internal.suberror, (unsigned long long)v->vm->arch->pc(v));
        *exit = VCPU_EXIT_ERROR;
        return false;
    }
    return v->vm->arch->handle(v, exit);
}

/* So that the vCPU's state is that between two instructions. True: the instruction was a debugger's step. */
static bool finish_access(struct kvm_vcpu *v)
{
    if (!v->unfinished)
        return false;
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    v->unfinished = false;
    return enter(v) == 0 && v->run->exit_reason == KVM_EXIT_DEBUG && kvm_debug_stopped(v);
}

static enum vcpu_exit run(struct vcpu *vcpu, uint64_t max_insns)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;
    enum vcpu_exit exit = VCPU_EXIT_INTERRUPTED;

    (void)max_insns; /* KVM does not count instructions; machines that want them counted are refused */
    set_running(v, true);
    kvm_debug_enter(v);
    for (;;) {
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        if (atomic_exchange(&v->kicked, false))
            break;
        int rc = enter(v);
        if (rc == -EINTR || rc == -EAGAIN)
            continue;
        v->unfinished = false;
        if (rc) {
            log_write(LOG_LEVEL_ERROR, LOG_ACCEL, "vCPU %u cannot be run: %s", v->config.hart_id, strerrordesc_np(-rc));
            exit = VCPU_EXIT_ERROR;
            break;
        }
        if (!handle(v, &exit))
            break;
    }
    if (finish_access(v))
        exit = VCPU_EXIT_DEBUG;
    kvm_debug_leave(v);
    log_debug(LOG_ACCEL, "vCPU %u left the guest at 0x%llx", v->config.hart_id, (unsigned long long)v->vm->arch->pc(v));
    set_running(v, false);
    return exit;
}

/* ---- state and counters ---- */

static void get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    memset(state, 0, sizeof(*state));
    state->version = VCPU_STATE_VERSION;
    state->hart_id = v->config.hart_id;
    state->guest = v->vm->arch->guest;
    v->vm->arch->get_state(v, state);
}

static int set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    if (state->version != VCPU_STATE_VERSION || state->guest != v->vm->arch->guest)
        return -EINVAL;
    return v->vm->arch->set_state(v, state);
}

static void set_irq(struct vcpu *vcpu, enum vcpu_irq irq, bool level)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    if (v->vm->arch->set_irq)
        v->vm->arch->set_irq(v, irq, level);
}

isa_set accel_hart_isa(struct vcpu *vcpu, isa_set wanted)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    return v->vm->arch->isa ? v->vm->arch->isa(v, wanted) : wanted;
}

int accel_hart_timebase(struct vcpu *vcpu, uint64_t *hz)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    return v->vm->arch->timebase ? v->vm->arch->timebase(v, hz) : -ENOTSUP;
}

static uint32_t hart_id(const struct vcpu *vcpu)
{
    return ((const struct kvm_vcpu *)vcpu)->config.hart_id;
}

static void counters_read(struct vcpu *vcpu, struct vcpu_counters *out)
{
    const struct kvm_vcpu *v = (const struct kvm_vcpu *)vcpu;

#define X(name, text) out->name = __atomic_load_n(&v->counters.name, __ATOMIC_RELAXED);
    VCPU_COUNTERS(X)
#undef X
    out->interrupts = kvm_stat_read(v->stats_fd, v->interrupts_at);
}

/* ---- creation ---- */

static void destroy(struct vcpu *vcpu)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    if (v->run)
        munmap(v->run, v->vm->run_bytes);
    if (v->stats_fd >= 0)
        close(v->stats_fd);
    if (v->fd >= 0)
        close(v->fd);
    pthread_mutex_destroy(&v->lock);
    free(v->arch_data);
    free(v);
}

static int create(const struct vcpu_config *config, struct vcpu **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc = 0;

    if (!config->accel)
        return -EINVAL;
    struct kvm_vcpu *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    pthread_once(&once, install_handler);
    v->vcpu.ops = &kvm_vcpu_ops;
    v->vm = config->accel;
    v->config = *config;
    v->stats_fd = KVM_DEVICE_FD_NONE;
    pthread_mutex_init(&v->lock, NULL);
    v->fd = kvm_ioctl_number(v->vm->vm_fd, KVM_CREATE_VCPU, config->hart_id);
    if (v->fd < 0) {
        rc = v->fd;
    } else {
        v->run = mmap(NULL, v->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
        if (v->run == MAP_FAILED) {
            rc = -errno;
            v->run = NULL;
        }
    }
    if (rc == 0)
        rc = v->vm->arch->vcpu_init(v);
    if (rc == 0)
        v->stats_fd = kvm_stat_open(v->fd, "irq_injections", &v->interrupts_at);
    if (rc) {
        destroy(&v->vcpu);
        return rc;
    }
    *out = &v->vcpu;
    return 0;
}

const struct vcpu_ops kvm_vcpu_ops = {
    .name = "kvm",
    .create = create,
    .destroy = destroy,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .set_irq = set_irq,
    .counters_read = counters_read,
    .hart_id = hart_id,
    .set_points = kvm_debug_set_points,
    .last_stop = kvm_debug_last_stop,
    .step = kvm_debug_step,
    .translate = kvm_debug_translate,
    .memory = kvm_debug_memory,
};
