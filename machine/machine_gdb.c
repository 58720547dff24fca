/* A debugger at the machine's harts: what gdb/stub.h wants of it. The machine stands and goes on as machine_pause() has
 * it; which harts go on, and how, each hart's `debug_action` says, which is set while it stands. A hart that comes to a
 * point, or has done its step, holds itself and tells. */
#include "gdb/server.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <string.h>

static int pause_all(void *opaque)
{
    return machine_pause(opaque);
}

static void resume(void *opaque, const enum gdb_action *actions)
{
    struct machine *m = opaque;

    for (uint32_t i = 0; i < m->hart_count; i++) {
        atomic_store(&m->harts[i].debug_stopped, false);
        atomic_store(&m->harts[i].debug_action, actions[i]);
        machine_hart_signal(&m->harts[i]);
    }
    machine_resume(m);
}

static bool has_stopped(void *opaque, uint32_t hart)
{
    struct machine *m = opaque;

    return atomic_load(&m->harts[hart].debug_stopped);
}

static const char *hart_text(void *opaque, uint32_t hart)
{
    static const char *const texts[] = {
        [SBI_HSM_STARTED] = "started",         [SBI_HSM_STOPPED] = "stopped",
        [SBI_HSM_START_PENDING] = "starting",  [SBI_HSM_STOP_PENDING] = "stopping",
        [SBI_HSM_SUSPENDED] = "suspended",     [SBI_HSM_SUSPEND_PENDING] = "suspending",
        [SBI_HSM_RESUME_PENDING] = "resuming",
    };
    struct machine *m = opaque;

    return texts[atomic_load(&m->harts[hart].state)];
}

static void quit(void *opaque)
{
    machine_quit(opaque);
}

int machine_gdb_create(struct machine *m, struct error *err)
{
    if (!m->config.gdb)
        return 0;
    if (!vcpu_can_debug(m->vcpus[0]))
        return error_set(err, -ENOTSUP, "this KVM has no debugger's breakpoints and steps: leave --gdb out");
    int rc = gdb_server_create(m->config.gdb, &m->gdb, err);
    if (rc == 0 && m->config.wait_gdb && machine_pause(m) != 0)
        return error_set(err, -ECANCELED, "the machine ended before it began");
    return rc;
}

int machine_gdb_start(struct machine *m)
{
    const struct gdb_target target = {
        .opaque = m,
        .hart_count = m->hart_count,
        .vcpus = m->vcpus,
        .mem = m->mem,
        .pause = pause_all,
        .resume = resume,
        .has_stopped = has_stopped,
        .hart_text = hart_text,
        .quit = quit,
    };

    return m->gdb ? gdb_server_start(m->gdb, &target, m->config.wait_gdb) : 0;
}

void machine_gdb_stop(struct machine *m, uint32_t exit_code)
{
    if (m->gdb)
        gdb_server_stop(m->gdb, (uint8_t)exit_code);
}

void machine_gdb_destroy(struct machine *m)
{
    gdb_server_destroy(m->gdb);
}

const char *machine_gdb_address(const struct machine *m)
{
    return m->gdb ? gdb_server_address(m->gdb) : NULL;
}

/* ---- the hart's side ---- */

static void hold_and_tell(struct machine_hart *hart)
{
    atomic_store(&hart->debug_action, GDB_HOLD);
    atomic_store(&hart->debug_stopped, true);
    gdb_server_notify(hart->machine->gdb);
}

bool machine_gdb_wants_step(struct machine_hart *hart)
{
    return atomic_load_explicit(&hart->debug_action, memory_order_relaxed) == GDB_STEP;
}

bool machine_gdb_holds(struct machine_hart *hart)
{
    return atomic_load(&hart->debug_action) == GDB_HOLD;
}

enum vcpu_exit machine_gdb_run(struct machine_hart *hart, uint64_t max_insns)
{
    bool step = max_insns && machine_gdb_wants_step(hart);
    enum vcpu_exit exit = step ? vcpu_step(hart->vcpu) : vcpu_run(hart->vcpu, max_insns);

    /* A step that put the hart to sleep or stopped it is one all the same. */
    if (exit == VCPU_EXIT_DEBUG || (step && exit == VCPU_EXIT_STOPPED))
        hold_and_tell(hart);
    return exit;
}
