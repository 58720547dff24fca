/* Points and steps; see kvm_debug.h. What a vCPU stops at was decided by vcpu_set_points(), while nothing ran; `lock`
 * is for patches that come and go as vCPUs begin and end to run. */
#include "accel/kvm_debug.h"

#include <errno.h>
#include <string.h>

enum { VCPUS_MAX = 64 }; /* bits of struct kvm_patch.vcpus */

/* ---- patches ---- */

/* With the lock held: into memory, or out of it. What cannot be reached any more stays as it is. */
static void put_in(struct accel_vm *vm, struct kvm_patch *patch)
{
    const struct kvm_debug_arch *arch = vm->arch->debug;

    if (patch->stands || mem_read(vm->config.mem, patch->gpa, patch->bytes, arch->instruction_bytes))
        return;
    patch->stands = mem_write(vm->config.mem, patch->gpa, arch->instruction, arch->instruction_bytes) == 0;
}

static void take_out(struct accel_vm *vm, struct kvm_patch *patch)
{
    if (patch->stands)
        (void)!mem_write(vm->config.mem, patch->gpa, patch->bytes, vm->arch->debug->instruction_bytes);
    patch->stands = false;
}

static struct kvm_patch *patch_at(struct kvm_vcpu *v, uint64_t gva)
{
    struct kvm_debug *debug = &v->vm->debug;

    for (uint32_t i = 0; i < debug->patch_count; i++) {
        if (debug->patches[i].gva == gva && debug->patches[i].vcpus >> v->config.hart_id & 1)
            return &debug->patches[i];
    }
    return NULL;
}

bool kvm_debug_has_patch(struct kvm_vcpu *v, uint64_t gva)
{
    return patch_at(v, gva) != NULL;
}

/* A step goes past a patch, which is away meanwhile; others of the machine may pass it, too, as the client chose by
 * letting them run. */
void kvm_debug_enter(struct kvm_vcpu *v)
{
    struct kvm_debug *debug = &v->vm->debug;

    pthread_mutex_lock(&debug->lock);
    v->lifted = v->stepping ? patch_at(v, v->vm->arch->pc(v)) : NULL;
    if (v->lifted)
        take_out(v->vm, v->lifted);
    if (!v->stepping && debug->running++ == 0) {
        for (uint32_t i = 0; i < debug->patch_count; i++)
            put_in(v->vm, &debug->patches[i]);
    }
    pthread_mutex_unlock(&debug->lock);
}

void kvm_debug_leave(struct kvm_vcpu *v)
{
    struct kvm_debug *debug = &v->vm->debug;

    pthread_mutex_lock(&debug->lock);
    if (v->lifted && debug->running)
        put_in(v->vm, v->lifted);
    if (!v->stepping && --debug->running == 0) {
        for (uint32_t i = debug->patch_count; i-- > 0;)
            take_out(v->vm, &debug->patches[i]);
    }
    pthread_mutex_unlock(&debug->lock);
}

/* ---- points ---- */

/* Nothing runs: patches do not stand. */
static void drop_patches(struct kvm_vcpu *v)
{
    struct kvm_debug *debug = &v->vm->debug;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < debug->patch_count; i++) {
        debug->patches[i].vcpus &= ~(UINT64_C(1) << v->config.hart_id);
        if (debug->patches[i].vcpus)
            debug->patches[kept++] = debug->patches[i];
    }
    debug->patch_count = kept;
}

static int add_patch(struct kvm_vcpu *v, uint64_t gva)
{
    struct kvm_debug *debug = &v->vm->debug;
    uint64_t bit = UINT64_C(1) << v->config.hart_id, gpa;
    int rc = v->config.hart_id < VCPUS_MAX ? kvm_debug_translate(&v->vcpu, gva, &gpa) : -ENOSPC;

    if (rc)
        return rc;
    if (!mem_ram_ptr(v->vm->config.mem, gpa, v->vm->arch->debug->instruction_bytes))
        return -EFAULT;
    for (uint32_t i = 0; i < debug->patch_count; i++) {
        if (debug->patches[i].gva == gva && debug->patches[i].gpa == gpa) {
            debug->patches[i].vcpus |= bit;
            return 0;
        }
    }
    if (debug->patch_count == VCPU_POINTS_MAX)
        return -ENOSPC;
    debug->patches[debug->patch_count++] = (struct kvm_patch){.gva = gva, .gpa = gpa, .vcpus = bit};
    return 0;
}

static int add_watch(struct kvm_vcpu *v, const struct vcpu_point *p)
{
    const struct kvm_debug_arch *arch = v->vm->arch->debug;

    for (uint64_t done = 0; done < p->len_bytes;) {
        uint64_t piece = arch->watchable_bytes(p->gva + done, p->len_bytes - done);
        if (!piece || v->debug_register_count == arch->registers)
            return -ENOSPC;
        v->debug_registers[v->debug_register_count++] =
            (struct vcpu_point){.gva = p->gva + done, .len_bytes = piece, .kinds = p->kinds};
        done += piece;
    }
    return 0;
}

/* Data first, as nothing else serves it. */
static int add_points(struct kvm_vcpu *v, const struct vcpu_point *points, uint32_t count)
{
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (points[i].kinds & (VCPU_POINT_READ | VCPU_POINT_WRITE))
            rc = add_watch(v, &points[i]);
    }
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (!(points[i].kinds & VCPU_POINT_EXECUTE))
            continue;
        if (v->debug_register_count < v->vm->arch->debug->registers)
            v->debug_registers[v->debug_register_count++] =
                (struct vcpu_point){.gva = points[i].gva, .len_bytes = 1, .kinds = VCPU_POINT_EXECUTE};
        else
            rc = add_patch(v, points[i].gva);
    }
    return rc;
}

int kvm_debug_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;
    struct kvm_debug *debug = &v->vm->debug;

    if (!v->vm->arch->debug)
        return -ENOTSUP;
    pthread_mutex_lock(&debug->lock);
    v->debug_register_count = 0;
    drop_patches(v);
    int rc = add_points(v, points, count);
    if (rc) {
        v->debug_register_count = 0;
        drop_patches(v);
    }
    pthread_mutex_unlock(&debug->lock);
    int applied = v->vm->arch->debug->apply(v, false);
    return rc ? rc : applied;
}

/* ---- stops and steps ---- */

bool kvm_debug_stopped(struct kvm_vcpu *v)
{
    return v->vm->arch->debug && v->vm->arch->debug->stopped(v, &v->last_stop);
}

struct vcpu_stop kvm_debug_last_stop(const struct vcpu *vcpu)
{
    return ((const struct kvm_vcpu *)vcpu)->last_stop;
}

enum vcpu_exit kvm_debug_step(struct vcpu *vcpu)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;

    v->stepping = true;
    int rc = v->vm->arch->debug ? v->vm->arch->debug->apply(v, true) : -ENOTSUP;
    enum vcpu_exit exit = rc ? VCPU_EXIT_ERROR : vcpu_run(vcpu, UINT64_MAX);
    v->stepping = false;
    if (rc == 0)
        rc = v->vm->arch->debug->apply(v, false);
    return rc ? VCPU_EXIT_ERROR : exit;
}

/* ---- memory ---- */

int kvm_debug_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa)
{
    struct kvm_vcpu *v = (struct kvm_vcpu *)vcpu;
    struct kvm_translation translation = {.linear_address = gva};

    if (kvm_ioctl(v->fd, KVM_TRANSLATE, &translation) || !translation.valid)
        return -EFAULT;
    *gpa = translation.physical_address;
    return 0;
}

struct mem *kvm_debug_memory(struct vcpu *vcpu)
{
    return ((struct kvm_vcpu *)vcpu)->vm->config.mem;
}

/* ---- the virtual machine's ---- */

void kvm_debug_init(struct accel_vm *vm)
{
    pthread_mutex_init(&vm->debug.lock, NULL);
}

void kvm_debug_fini(struct accel_vm *vm)
{
    pthread_mutex_destroy(&vm->debug.lock);
}
