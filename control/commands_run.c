/* Commands that steer the run: standing still and going on, reset, the end. What they set is kept over reboots. */
#include "control/control_internal.h"

#include <errno.h>
#include <stdlib.h>

/* ---- status ---- */

const char *control_status(const struct control *control)
{
    if (!control->machine)
        return control->status;
    return control->paused ? "paused" : "running";
}

static int query_status(struct control_call *call)
{
    const struct control *control = call->control;

    call->result =
        json_pack("{s:b, s:s}", "running", control->machine && !control->paused, "status", control_status(control));
    return 0;
}

/* ---- standing still ---- */

/* A machine that is ending cannot; the one after it will, if there is one. */
static void pause_now(struct control *control)
{
    control->paused = control->machine && machine_pause(control->machine) == 0;
}

static int stop(struct control_call *call)
{
    struct control *control = call->control;

    if (control->stopped)
        return 0;
    control->stopped = true;
    pause_now(control);
    control_event(control, "STOP", NULL);
    return 0;
}

static int cont(struct control_call *call)
{
    struct control *control = call->control;

    if (!control->stopped)
        return 0;
    control->stopped = false;
    if (control->paused)
        machine_resume(control->machine);
    control->paused = false;
    control_event(control, "RESUME", NULL);
    return 0;
}

/* ---- the end ---- */

static int system_reset(struct control_call *call)
{
    call->control->reset_by_client = true;
    machine_reset(call->machine);
    return 0;
}

/* Neither QEMU's board nor this one has a button of its own, and Debian's riscv64 kernel no gpio-keys; it does have the
 * driver of virtio keyboards, and systemd-logind takes their power key. */
static int system_powerdown(struct control_call *call)
{
    int rc = machine_powerdown(call->machine);

    if (rc == -ENODEV)
        return error_set(&call->err, rc, "this machine has no power key: start it with --input=keyboard");
    if (rc)
        return error_set(&call->err, rc, "the guest has no driver for its keyboard (yet)");
    control_event(call->control, "POWERDOWN", NULL);
    return 0;
}

/* Also where a reset was on its way, or is: the machine that follows ends at once. */
static int quit(struct control_call *call)
{
    struct control *control = call->control;

    control->quitting = true;
    if (control->machine)
        machine_quit(control->machine);
    return 0;
}

void control_tell_end(struct control *control, const struct machine_result *result)
{
    const char *event = "SHUTDOWN", *reason = "guest-shutdown", *status = "shutdown";
    bool guest = true;

    switch (result->end) {
    case MACHINE_END_POWEROFF:
        break;
    case MACHINE_END_REBOOT:
        event = "RESET";
        reason = "guest-reset";
        status = "prelaunch";
        break;
    case MACHINE_END_QUIT:
        guest = false;
        reason = "host-qmp-quit";
        break;
    case MACHINE_END_MAX_INSNS:
        guest = false;
        reason = "host-error";
        break;
    case MACHINE_END_CRITICAL:
        reason = "guest-panic";
        status = "guest-panicked";
        break;
    case MACHINE_END_ERROR:
        guest = false;
        reason = "host-error";
        status = "internal-error";
        break;
    }
    pthread_mutex_lock(&control->lock);
    if (control->reset_by_client && result->end == MACHINE_END_REBOOT) {
        guest = false;
        reason = "host-qmp-system-reset";
    }
    control->reset_by_client = false;
    control->status = status;
    pthread_mutex_unlock(&control->lock);
    control_event(control, event, json_pack("{s:b, s:s}", "guest", guest, "reason", reason));
}

/* ---- a machine after a reboot ---- */

void control_set_again(struct control *control)
{
    for (unsigned i = 0; i < MACHINE_DISKS_MAX; i++) {
        if (control->disks[i].set)
            (void)!machine_set_disk_limits(control->machine, i, control->disks[i].bytes_per_s,
                                           control->disks[i].ops_per_s);
    }
    for (unsigned i = 0; i < MACHINE_NETS_MAX; i++) {
        if (control->nets[i].set)
            (void)!machine_set_net_rates(control->machine, i, control->nets[i].bytes_per_s, control->nets[i].ops_per_s);
    }
    if (control->balloon_set)
        (void)!machine_set_balloon(control->machine, control->balloon_bytes);
    if (control->quitting)
        machine_quit(control->machine);
    if (control->stopped)
        pause_now(control);
}

/* ---- for people ---- */

static int human_monitor(struct control_call *call)
{
    uint64_t cpu; /* all lines are about the whole machine */
    char *text;

    int rc = control_uint(call, "cpu-index", 0, &cpu);
    if (rc)
        return rc;
    text = monitor_run(call->control, control_string(call, "command-line", ""));
    if (!text)
        return error_set(&call->err, -ENOMEM, "not enough host memory");
    call->result = json_string(text);
    free(text);
    return call->result ? 0 : error_set(&call->err, -EINVAL, "the answer is not UTF-8");
}

const struct control_command control_run_commands[] = {
    {"query-status", "does it run?", false, query_status, {{0}}},
    {"stop", "let all harts stand still; the guest's time stands still with them", false, stop, {{0}}},
    {"cont", "go on after stop", false, cont, {{0}}},
    {"system_reset", "start the guest again, as its reset button would", true, system_reset, {{0}}},
    {"system_powerdown",
     "press the power key (--input=keyboard), which the guest may obey",
     true,
     system_powerdown,
     {{0}}},
    {"quit", "end at once, without a word to the guest", false, quit, {{0}}},
    {"human-monitor-command",
     "a command line for people, answered by text: command-line=help lists them",
     false,
     human_monitor,
     {{"command-line", JSON_STRING, false}, {"cpu-index", JSON_INTEGER, true}, {0}}},
    {0},
};
