/* The Supervisor Binary Interface that the VM serves to kernels started directly in S-mode (RISC-V SBI
 * specification 3.0).
 *
 * Extensions: BASE, TIME, IPI, RFENCE, HSM, SRST, SUSP, DBCN, PMU, STA, FWFT and, where harts have Sdtrig, DBTR. Left
 * out are CPPC (there is no clock to scale), NACL (no hypervisor extension), SSE (no event of the platform's is urgent
 * enough to interrupt a kernel that has its interrupts off) and MPXY (there is no message channel). The legacy
 * extensions (EIDs 0 to 8, SBI 0.1) are not offered and answer SBI_ERR_NOT_SUPPORTED like anything unknown. What is
 * machine-wide (hart states, interrupts, power, console) is asked of the machine through `struct sbi_ops`; this module
 * checks parameters, keeps the PMU's counters and answers.
 *
 * Calls of different harts run at the same time, each on its hart's thread. A hart's counters are changed by its own
 * thread only, except the totals of firmware events, which are atomic.
 */
#ifndef TUFF_MACHINE_SBI_H
#define TUFF_MACHINE_SBI_H

#include "base/compiler.h"
#include "dev/device.h"
#include "engine/vcpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;
struct sbi;

enum sbi_error {
    SBI_SUCCESS = 0,
    SBI_ERR_FAILED = -1,
    SBI_ERR_NOT_SUPPORTED = -2,
    SBI_ERR_INVALID_PARAM = -3,
    SBI_ERR_DENIED = -4,
    SBI_ERR_INVALID_ADDRESS = -5,
    SBI_ERR_ALREADY_AVAILABLE = -6,
    SBI_ERR_ALREADY_STARTED = -7,
    SBI_ERR_ALREADY_STOPPED = -8,
    SBI_ERR_NO_SHMEM = -9,
    SBI_ERR_BAD_RANGE = -11,
    SBI_ERR_DENIED_LOCKED = -14,
};

enum sbi_extension_id {
    SBI_EID_BASE = 0x10,
    SBI_EID_TIME = 0x54494d45,
    SBI_EID_IPI = 0x735049,
    SBI_EID_RFENCE = 0x52464e43,
    SBI_EID_HSM = 0x48534d,
    SBI_EID_SRST = 0x53525354,
    SBI_EID_DBCN = 0x4442434e,
    SBI_EID_PMU = 0x504d55,
    SBI_EID_SUSP = 0x53555350,
    SBI_EID_STA = 0x535441,
    SBI_EID_FWFT = 0x46574654,
    SBI_EID_DBTR = 0x44425452,
};

enum {
    SBI_SPEC_VERSION = 3 << 24, /* major 3, minor 0 */
    /* The specification's table has no entry for Tuff; this value ("TUFF") is far from those given out. */
    SBI_IMPL_ID = 0x54554646,
    SBI_IMPL_VERSION = 0x000100, /* 0.1.0 */
    SBI_HARTS_MAX = 64,
};

/* HSM hart states, table "HSM Hart States". */
enum sbi_hsm_state {
    SBI_HSM_STARTED,
    SBI_HSM_STOPPED,
    SBI_HSM_START_PENDING,
    SBI_HSM_STOP_PENDING,
    SBI_HSM_SUSPENDED,
    SBI_HSM_SUSPEND_PENDING,
    SBI_HSM_RESUME_PENDING,
};

enum sbi_reset_type { SBI_RESET_SHUTDOWN, SBI_RESET_COLD_REBOOT, SBI_RESET_WARM_REBOOT };

struct sbi_ret {
    int64_t error; /* enum sbi_error */
    uint64_t value;
};

/* A hart's trigger (Sdtrig). */
struct sbi_trigger {
    uint64_t tdata1, tdata2, tdata3;
};

/* What the machine does for the SBI. Called on the thread of the hart that made the call (`self` where it matters);
 * hart numbers and masks are valid, addresses lie in RAM. None may block, remote_fence excepted. */
struct sbi_ops {
    enum sbi_hsm_state (*hart_state)(void *opaque, uint32_t hart);
    /* Starts a stopped hart in S-mode (boot_supervisor_state()). 0, -EALREADY (not stopped; decided and claimed in one
     * step: two harts may ask at once), or another negative errno. */
    int (*hart_start)(void *opaque, uint32_t hart, uint64_t start_gpa, uint64_t arg);
    /* Marks the calling hart stopped; its vcpu_run() returns VCPU_EXIT_STOPPED next. */
    int (*hart_stop)(void *opaque, uint32_t self);
    /* Marks it suspended, likewise, until an interrupt enabled in sie is pending. A retentive suspend then goes on
     * behind the call, whose registers already say success; another enters boot_supervisor_state(resume_gpa, arg). */
    int (*hart_suspend)(void *opaque, uint32_t self, bool retentive, uint64_t resume_gpa, uint64_t arg);
    /* Makes the supervisor software interrupt pending in each hart of the mask. */
    void (*send_ipi)(void *opaque, uint64_t mask);
    void (*remote_fence)(void *opaque, uint32_t self, uint64_t mask, const struct vcpu_fence *fence);
    /* vcpu_set_supervisor_timer(): what was pending is no longer, unless the deadline has passed. */
    void (*set_timer)(void *opaque, uint32_t self, uint64_t deadline_ticks);
    /* The machine ends; the calling hart's vcpu_run() returns VCPU_EXIT_STOPPED. */
    int (*system_reset)(void *opaque, enum sbi_reset_type type, bool system_failure);
    /* Return how many bytes were taken or given, 0 when there is no room or nothing to read. */
    size_t (*console_write)(void *opaque, const uint8_t *bytes, size_t len);
    size_t (*console_read)(void *opaque, uint8_t *bytes, size_t len);
    /* Lets a hardware counter (user CSR number: cycle, instret or hpmcounter) of the calling hart count or not, and
     * sets it first unless `value` is NULL. sbi_vcpu_counter_control() does it. */
    void (*counter_control)(void *opaque, uint32_t self, uint32_t csr, bool running, const uint64_t *value);
    /* What a programmable counter (hpmcounter3 and on) of the calling hart counts: its mhpmevent. */
    void (*counter_event)(void *opaque, uint32_t self, uint32_t csr, uint64_t event);
    /* Gives the fields `mask` of the calling hart's menvcfg the bits of `value`; returns what it was before. With mask
     * 0 it only reads. sbi_vcpu_environment() does it. */
    uint64_t (*environment)(void *opaque, uint32_t self, uint64_t mask, uint64_t value);
    /* Gives a trigger of the calling hart (0 to SBI_TRIGGERS - 1) what `set` has, if it is not NULL; returns what it
     * has now, which a write may have changed to something legal. Only of harts with Sdtrig. sbi_vcpu_trigger() does
     * it. */
    struct sbi_trigger (*trigger)(void *opaque, uint32_t self, uint32_t index, const struct sbi_trigger *set);
    /* How long the calling hart was ready and had no processor of the host's, in nanoseconds since some moment. */
    uint64_t (*stolen_ns)(void *opaque, uint32_t self);
};

struct sbi_config {
    uint32_t hart_count; /* 1 .. SBI_HARTS_MAX, hart ids 0 .. hart_count - 1 */
    struct mem *mem;     /* borrowed; outlives the SBI */
    const struct sbi_ops *ops;
    void *opaque;
    bool overflow_interrupts; /* harts have Sscofpmf: programmable counters are offered */
    isa_set isa;              /* of every hart: the features that there can be (FWFT), triggers (DBTR) */
};

/* Returns 0, -EINVAL (hart_count) or -ENOMEM. */
TUFF_MUST_CHECK int sbi_create(const struct sbi_config *config, struct sbi **out);
void sbi_destroy(struct sbi *sbi);

/* vcpu_env_ops.ecall with a `struct sbi *` as opaque: takes a0..a7 from the vCPU, answers in a0 and a1. After anything
 * but RESUME the machine looks at what its ops were asked to do. */
enum vcpu_action sbi_ecall(void *opaque, struct vcpu *vcpu);

/* The same without a vCPU: `args` are a0..a7. With VCPU_ACTION_STOP `ret` is what the caller sees if it ever goes on.
 */
enum vcpu_action sbi_handle(struct sbi *sbi, uint32_t hart, const uint64_t args[8], struct sbi_ret *ret);

/* sbi_ops.counter_control for a vCPU, through mcountinhibit and the counters' values; a programmable one that starts
 * may overflow again. Own thread. */
void sbi_vcpu_counter_control(struct vcpu *vcpu, uint32_t csr, bool running, const uint64_t *value);
/* sbi_ops.counter_event for a vCPU. Own thread. */
void sbi_vcpu_counter_event(struct vcpu *vcpu, uint32_t csr, uint64_t event);

/* sbi_ops.environment for a vCPU. Own thread. */
uint64_t sbi_vcpu_environment(struct vcpu *vcpu, uint64_t mask, uint64_t value);
/* sbi_ops.trigger for a vCPU. Own thread. */
struct sbi_trigger sbi_vcpu_trigger(struct vcpu *vcpu, uint32_t index, const struct sbi_trigger *set);
/* The fields of menvcfg that FWFT sets: what a hart keeps over a non-retentive suspend. */
extern const uint64_t sbi_fwft_environment;

/* Writes the hart's stolen time to where the guest wants it (STA), if it does. Own thread, while the hart runs: whoever
 * runs it calls this now and then, some times a guest's timer tick. */
void sbi_steal_time_update(struct sbi *sbi, uint32_t hart);

/* The hart's state that a snapshot saves: its PMU, what FWFT, STA and DBTR have set beyond its CSRs. Hart states and
 * timers are saved by the machine and the vCPU. */
enum { SBI_COUNTERS = 27, SBI_FW_EVENTS = 22, SBI_TRIGGERS = 4, SBI_STATE_VERSION = 4 };

struct sbi_hart_state {
    uint32_t event_idx[SBI_COUNTERS]; /* what each counter counts; 0: not configured */
    uint8_t started[SBI_COUNTERS];
    uint64_t value[SBI_COUNTERS];     /* firmware counters: the value; less the event's total while started */
    uint64_t fw_total[SBI_FW_EVENTS]; /* firmware events since the start, by code; atomic */
    uint8_t features_locked;          /* FWFT: bits of enum sbi_feature; since version 3, as the rest */
    uint8_t misaligned_to_firmware;   /* FWFT: misaligned exceptions are not delegated */
    uint64_t steal_gpa;               /* STA: 64 bytes of RAM; 0: not wanted, there is no RAM at 0 */
    uint64_t steal_ns;                /* STA: what has been told since it was switched on */
    uint8_t triggers[SBI_TRIGGERS];   /* DBTR: trig_state's low bits; since version 4 */
    uint64_t triggers_gpa;            /* DBTR: the shared memory; 0: none */
};

extern const struct device_field sbi_hart_fields[];

/* Borrowed; read and written while no vCPU runs. Any content is safe. */
struct sbi_hart_state *sbi_hart_state(struct sbi *sbi, uint32_t hart);

#endif
