/* Guest time, and standing still: harts that wait outside vcpu_run() while somebody looks at the machine or changes it.
 */
#include "dev/sunxi_wdt.h"
#include "machine/machine_internal.h"

#include <errno.h>

enum { NS_PER_TICK = 1000000000 / BOARD_TIMEBASE_HZ };

/* ---- time ---- */

/* One word, so that who reads it beside a pause never sees half of one. While time runs: CLOCK_MONOTONIC at guest time
 * 0. While it stands: this bit, and guest time. */
#define CLOCK_STANDS (UINT64_C(1) << 63)

void machine_clock_start(struct machine *m)
{
    atomic_store(&m->clock, loop_now_ns());
}

void machine_clock_set(struct machine *m, uint64_t guest_ns)
{
    atomic_store(&m->clock, (loop_now_ns() - guest_ns) & ~CLOCK_STANDS);
}

/* CLOCK_MONOTONIC at guest time 0, if time went on from now. */
static uint64_t clock_origin_ns(struct machine *m)
{
    uint64_t clock = atomic_load(&m->clock);

    return clock & CLOCK_STANDS ? loop_now_ns() - (clock & ~CLOCK_STANDS) : clock;
}

uint64_t machine_guest_ns(struct machine *m)
{
    uint64_t clock = atomic_load(&m->clock);

    return clock & CLOCK_STANDS ? clock & ~CLOCK_STANDS : loop_now_ns() - clock;
}

uint64_t machine_guest_to_ns(struct machine *m, uint64_t guest_ns)
{
    uint64_t origin = clock_origin_ns(m);

    return guest_ns > UINT64_MAX - origin ? UINT64_MAX : origin + guest_ns;
}

static void stop_clock(struct machine *m)
{
    atomic_store(&m->clock, machine_guest_ns(m) | CLOCK_STANDS);
}

/* Timers were armed for moments of the host's clock that came too soon: each is looked at again. */
static void go_on_clock(struct machine *m)
{
    atomic_store(&m->clock, clock_origin_ns(m));
    for (uint32_t i = 0; i < m->hart_count; i++)
        vcpu_timer_expired(m->vcpus[i]);
}

uint64_t machine_ticks(struct machine *m)
{
    if (m->config.clock == MACHINE_CLOCK_INSNS)
        return vcpu_time(m->vcpus[0]);
    return machine_guest_ns(m) / NS_PER_TICK + (uint64_t)atomic_load(&m->tick_offset);
}

uint64_t machine_tick_to_ns(struct machine *m, uint64_t tick)
{
    uint64_t offset = (uint64_t)atomic_load(&m->tick_offset), origin = clock_origin_ns(m);

    if (tick == UINT64_MAX || tick - offset > (UINT64_MAX - origin) / NS_PER_TICK)
        return (int64_t)(tick - offset) < 0 && tick < offset ? origin : UINT64_MAX;
    /* Rounded up: at that moment the tick has been reached. */
    return origin + (tick - offset) * NS_PER_TICK;
}

/* ---- standing still ---- */

void machine_hart_enter(struct machine *m)
{
    pthread_mutex_lock(&m->pause_lock);
    while (m->pauses && !atomic_load(&m->ending))
        pthread_cond_wait(&m->pause_changed, &m->pause_lock);
    m->harts_running++;
    pthread_mutex_unlock(&m->pause_lock);
}

void machine_hart_leave(struct machine *m)
{
    pthread_mutex_lock(&m->pause_lock);
    if (--m->harts_running == 0)
        pthread_cond_broadcast(&m->pause_changed);
    pthread_mutex_unlock(&m->pause_lock);
}

void machine_hart_yield(struct machine *m)
{
    if (!atomic_load(&m->pausing))
        return;
    machine_hart_leave(m);
    machine_hart_enter(m);
}

void machine_pause_cancel(struct machine *m)
{
    pthread_mutex_lock(&m->pause_lock);
    pthread_cond_broadcast(&m->pause_changed);
    pthread_mutex_unlock(&m->pause_lock);
}

static void drop_pause(struct machine *m)
{
    if (--m->pauses)
        return;
    atomic_store(&m->pausing, false);
    go_on_clock(m);
    pthread_cond_broadcast(&m->pause_changed);
}

int machine_pause(struct machine *m)
{
    pthread_mutex_lock(&m->pause_lock);
    if (m->pauses++ == 0) {
        atomic_store(&m->pausing, true);
        for (uint32_t i = 0; i < m->hart_count; i++) {
            vcpu_kick(m->vcpus[i]);
            machine_hart_signal(&m->harts[i]);
        }
        stop_clock(m);
    }
    while (m->harts_running && !atomic_load(&m->ending))
        pthread_cond_wait(&m->pause_changed, &m->pause_lock);
    bool ending = atomic_load(&m->ending);
    if (ending)
        drop_pause(m);
    pthread_mutex_unlock(&m->pause_lock);
    return ending ? -ECANCELED : 0;
}

void machine_resume(struct machine *m)
{
    pthread_mutex_lock(&m->pause_lock);
    drop_pause(m);
    pthread_mutex_unlock(&m->pause_lock);
    /* Without the lock: it may end the machine. While time stands it only arms its timer anew. */
    if (m->watchdog)
        sunxi_wdt_check(m->watchdog);
}

bool machine_is_paused(struct machine *m)
{
    return atomic_load(&m->pausing);
}
