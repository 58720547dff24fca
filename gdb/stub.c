/* The stub: attaching, going on, stopping, registers; see stub.h. */
#include "gdb/stub_internal.h"

#include "gdb/registers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNAL_INT = 2, SIGNAL_TRAP = 5 }; /* gdb's numbers */

struct gdb_writer *gdb_reply(struct gdb_stub *stub)
{
    gdb_writer_begin(&stub->writer);
    return &stub->writer;
}

void gdb_reply_end(struct gdb_stub *stub)
{
    if (stub->writer.full) {
        gdb_writer_begin(&stub->writer);
        gdb_writer_print(&stub->writer, "E%02x", ENOMEM);
    }
    gdb_writer_end(&stub->writer);
    stub->send(stub->send_opaque, stub->writer.data, stub->writer.len);
}

void gdb_reply_text(struct gdb_stub *stub, const char *text)
{
    gdb_writer_print(gdb_reply(stub), "%s", text);
    gdb_reply_end(stub);
}

void gdb_reply_error(struct gdb_stub *stub, unsigned number)
{
    gdb_writer_print(gdb_reply(stub), "E%02x", number & 255);
    gdb_reply_end(stub);
}

bool gdb_parse_thread(const struct gdb_stub *stub, const char **at, uint32_t *hart)
{
    uint64_t number;

    *hart = stub->target.hart_count;
    if ((*at)[0] == '-' && (*at)[1] == '1') {
        *at += 2;
        return true;
    }
    if (!gdb_parse_number(at, &number) || number > stub->target.hart_count)
        return false;
    if (number)
        *hart = (uint32_t)number - 1;
    return true;
}

int gdb_stub_create(const struct gdb_target *target, gdb_send_fn *send, void *send_opaque, struct gdb_stub **out)
{
    struct gdb_stub *stub = target->hart_count <= GDB_HARTS_MAX ? calloc(1, sizeof(*stub)) : NULL;

    if (!stub)
        return -ENOMEM;
    stub->target = *target;
    stub->send = send;
    stub->send_opaque = send_opaque;
    *out = stub;
    return 0;
}

void gdb_stub_destroy(struct gdb_stub *stub)
{
    if (!stub)
        return;
    free(stub->description);
    free(stub);
}

/* ---- standing and going ---- */

/* Says why the machine stands. */
static void say_stop(struct gdb_stub *stub, unsigned number, const struct vcpu_stop *stop)
{
    static const char *const watches[] = {
        [VCPU_STOP_READ] = "rwatch", [VCPU_STOP_WRITE] = "watch", [VCPU_STOP_ACCESS] = "awatch"};
    const struct gdb_point *breakpoint = NULL;
    struct gdb_writer *w = gdb_reply(stub);

    gdb_writer_print(w, "T%02xthread:%" PRIx32 ";", number, stub->stopped + 1);
    if (stop && stop->kind >= VCPU_STOP_READ)
        gdb_writer_print(w, "%s:%" PRIx64 ";", watches[stop->kind], stop->gva);
    else if (stop && stop->kind == VCPU_STOP_BREAKPOINT)
        breakpoint = gdb_breakpoint_at(stub, stop->gva);
    if (breakpoint && stub->names_breaks)
        gdb_writer_print(w, "%s:;", breakpoint->type == 0 ? "swbreak" : "hwbreak");
    gdb_reply_end(stub);
}

/* A hart that has stopped and of which that was not said yet; hart_count: none. */
static uint32_t find_stopped(const struct gdb_stub *stub)
{
    uint32_t i = 0;

    while (i < stub->target.hart_count && (stub->told[i] || !stub->target.has_stopped(stub->target.opaque, i)))
        i++;
    return i;
}

static void tell_stopped(struct gdb_stub *stub, uint32_t hart)
{
    struct vcpu_stop stop = vcpu_last_stop(stub->target.vcpus[hart]);

    stub->told[hart] = true;
    stub->stopped = stub->hart = hart;
    say_stop(stub, SIGNAL_TRAP, &stop);
}

/* Of the harts that stopped as well, those at a breakpoint will meet it again if it is still there, and a step's end is
 * nothing that could be missed. What a watchpoint saw is told later. */
static void forget_stops(struct gdb_stub *stub)
{
    for (uint32_t i = 0; i < stub->target.hart_count; i++) {
        enum vcpu_stop_kind kind = vcpu_last_stop(stub->target.vcpus[i]).kind;
        if (kind == VCPU_STOP_STEP || kind == VCPU_STOP_BREAKPOINT)
            stub->told[i] = true;
    }
}

static void resume(struct gdb_stub *stub, const enum gdb_action *actions)
{
    bool runs = false, goes = false;

    for (uint32_t i = 0; i < stub->target.hart_count; i++) {
        runs |= actions[i] == GDB_RUN;
        goes |= actions[i] != GDB_HOLD;
    }
    int rc = runs ? gdb_points_apply(stub) : 0;
    if (rc || !goes) {
        gdb_reply_error(stub, rc ? (unsigned)-rc : EINVAL);
        return;
    }
    uint32_t earlier = find_stopped(stub);
    if (earlier < stub->target.hart_count) {
        tell_stopped(stub, earlier);
        return;
    }
    if (stub->code_written) {
        const struct vcpu_fence fence = {.kind = VCPU_FENCE_I};
        vcpu_remote_fence(NULL, stub->target.vcpus, stub->target.hart_count, UINT64_MAX, &fence);
        stub->code_written = false;
    }
    memset(stub->told, 0, sizeof(stub->told));
    stub->running = true;
    stub->target.resume(stub->target.opaque, actions);
}

static bool stand(struct gdb_stub *stub)
{
    if (stub->target.pause(stub->target.opaque) != 0)
        return false; /* it is ending, which is told soon */
    stub->running = false;
    return true;
}

void gdb_stub_poll(struct gdb_stub *stub)
{
    uint32_t hart = stub->attached && stub->running ? find_stopped(stub) : stub->target.hart_count;

    if (hart == stub->target.hart_count || !stand(stub))
        return;
    tell_stopped(stub, hart);
    forget_stops(stub);
}

static void break_in(struct gdb_stub *stub)
{
    if (!stub->running || !stand(stub))
        return;
    uint32_t hart = find_stopped(stub);
    if (hart < stub->target.hart_count)
        tell_stopped(stub, hart);
    else
        say_stop(stub, SIGNAL_INT, NULL);
    forget_stops(stub);
}

int gdb_stub_attach(struct gdb_stub *stub, bool standing)
{
    int rc = standing ? 0 : stub->target.pause(stub->target.opaque);

    if (rc)
        return rc;
    stub->attached = true;
    stub->running = stub->no_ack = stub->names_breaks = stub->physical = false;
    stub->hart = stub->stopped = 0;
    stub->hart_to_go = stub->target.hart_count;
    for (uint32_t i = 0; i < stub->target.hart_count; i++)
        stub->told[i] = true;
    memset(&stub->reader, 0, sizeof(stub->reader));
    gdb_writer_begin(&stub->writer);
    gdb_writer_end(&stub->writer);
    return 0;
}

void gdb_stub_detach(struct gdb_stub *stub)
{
    enum gdb_action actions[GDB_HARTS_MAX] = {GDB_RUN};

    if (!stub->attached)
        return;
    stub->attached = false;
    if (stub->running && !stand(stub))
        return;
    stub->point_count = 0;
    for (uint32_t i = 0; i < stub->target.hart_count; i++)
        (void)!vcpu_set_points(stub->target.vcpus[i], NULL, 0);
    if (stub->code_written) {
        const struct vcpu_fence fence = {.kind = VCPU_FENCE_I};
        vcpu_remote_fence(NULL, stub->target.vcpus, stub->target.hart_count, UINT64_MAX, &fence);
        stub->code_written = false;
    }
    stub->target.resume(stub->target.opaque, actions);
}

bool gdb_stub_is_attached(const struct gdb_stub *stub)
{
    return stub->attached;
}

void gdb_stub_ended(struct gdb_stub *stub, uint8_t exit_code)
{
    if (!stub->attached)
        return;
    stub->attached = false;
    gdb_writer_print(gdb_reply(stub), "W%02x", exit_code);
    gdb_reply_end(stub);
}

/* ---- c, s, vCont ---- */

static void go(struct gdb_stub *stub, enum gdb_action action)
{
    enum gdb_action actions[GDB_HARTS_MAX];

    for (uint32_t i = 0; i < stub->target.hart_count; i++)
        actions[i] = stub->hart_to_go == stub->target.hart_count || i == stub->hart_to_go ? action : GDB_HOLD;
    /* A step is one hart's. */
    if (action == GDB_STEP && stub->hart_to_go == stub->target.hart_count) {
        for (uint32_t i = 0; i < stub->target.hart_count; i++)
            actions[i] = i == stub->hart ? GDB_STEP : GDB_RUN;
    }
    resume(stub, actions);
}

/* ";ACTION[:THREAD]"...: the first that names a hart, or all, is the hart's. */
static bool parse_actions(const struct gdb_stub *stub, const char *at, enum gdb_action *actions)
{
    bool decided[GDB_HARTS_MAX] = {false};

    for (uint32_t i = 0; i < stub->target.hart_count; i++)
        actions[i] = GDB_HOLD;
    while (*at) {
        uint32_t hart = stub->target.hart_count;
        uint64_t signal;
        if (!gdb_parse_char(&at, ';') || !*at || !strchr("cCsS", *at))
            return false;
        char letter = *at++;
        if ((letter == 'C' || letter == 'S') && !gdb_parse_number(&at, &signal))
            return false;
        if (gdb_parse_char(&at, ':') && !gdb_parse_thread(stub, &at, &hart))
            return false;
        for (uint32_t i = 0; i < stub->target.hart_count; i++) {
            if (decided[i] || (hart < stub->target.hart_count && i != hart))
                continue;
            decided[i] = true;
            actions[i] = letter == 's' || letter == 'S' ? GDB_STEP : GDB_RUN;
        }
    }
    return true;
}

static void do_v(struct gdb_stub *stub, const char *at)
{
    enum gdb_action actions[GDB_HARTS_MAX];

    if (strcmp(at, "Cont?") == 0) {
        gdb_reply_text(stub, "vCont;c;C;s;S");
    } else if (strncmp(at, "Cont;", 5) == 0) {
        if (parse_actions(stub, at + 4, actions))
            resume(stub, actions);
        else
            gdb_reply_error(stub, EINVAL);
    } else if (strncmp(at, "Kill", 4) == 0) {
        gdb_reply_text(stub, "OK");
        stub->target.quit(stub->target.opaque);
    } else {
        gdb_reply_text(stub, "");
    }
}

/* 'c' and 's' may say where; 'C' and 'S' begin with a signal, which a machine has no use for. */
static void do_go(struct gdb_stub *stub, const char *at, enum gdb_action action)
{
    struct vcpu_state state;
    uint64_t pc;

    if (*at && gdb_parse_number(&at, &pc)) {
        vcpu_get_state(stub->target.vcpus[stub->hart], &state);
        gdb_registers_of(&state)->set_pc(&state, pc);
        if (vcpu_set_state(stub->target.vcpus[stub->hart], &state) != 0) {
            gdb_reply_error(stub, EINVAL);
            return;
        }
    }
    go(stub, action);
}

/* ---- registers ---- */

static void read_all(struct gdb_stub *stub)
{
    struct gdb_writer *w = gdb_reply(stub);
    struct vcpu_state state;
    uint8_t value[GDB_REGISTER_BYTES_MAX];

    vcpu_get_state(stub->target.vcpus[stub->hart], &state);
    const struct gdb_registers *registers = gdb_registers_of(&state);
    for (unsigned i = 0; i < registers->count_g; i++) {
        (void)registers->read(&state, i, value);
        gdb_writer_hex(w, value, registers->bytes(i));
    }
    gdb_reply_end(stub);
}

static void write_all(struct gdb_stub *stub, const char *at, const char *end)
{
    enum { COUNT_G_MAX = 64 };
    uint8_t values[COUNT_G_MAX * GDB_REGISTER_BYTES_MAX];
    struct vcpu_state state;
    size_t len = 0;

    vcpu_get_state(stub->target.vcpus[stub->hart], &state);
    const struct gdb_registers *registers = gdb_registers_of(&state);
    for (unsigned i = 0; i < registers->count_g; i++)
        len += registers->bytes(i);
    bool ok = gdb_parse_hex(at, (size_t)(end - at), values, sizeof(values)) == (long)len;
    const uint8_t *value = values;
    for (unsigned i = 0; ok && i < registers->count_g; value += registers->bytes(i++))
        (void)registers->write(&state, i, value);
    if (ok && vcpu_set_state(stub->target.vcpus[stub->hart], &state) == 0)
        gdb_reply_text(stub, "OK");
    else
        gdb_reply_error(stub, EINVAL);
}

static void read_one(struct gdb_stub *stub, const char *at)
{
    struct vcpu_state state;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    uint64_t number;

    vcpu_get_state(stub->target.vcpus[stub->hart], &state);
    const struct gdb_registers *registers = gdb_registers_of(&state);
    if (!gdb_parse_number(&at, &number) || *at || !registers->read(&state, number, value)) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    gdb_writer_hex(gdb_reply(stub), value, registers->bytes(number));
    gdb_reply_end(stub);
}

static void write_one(struct gdb_stub *stub, const char *at, const char *end)
{
    struct vcpu_state state;
    uint8_t value[GDB_REGISTER_BYTES_MAX] = {0};
    uint64_t number;

    vcpu_get_state(stub->target.vcpus[stub->hart], &state);
    const struct gdb_registers *registers = gdb_registers_of(&state);
    bool ok = gdb_parse_number(&at, &number) && gdb_parse_char(&at, '=') &&
              gdb_parse_hex(at, (size_t)(end - at), value, sizeof(value)) == (long)registers->bytes(number) &&
              registers->write(&state, number, value);
    if (ok && vcpu_set_state(stub->target.vcpus[stub->hart], &state) == 0)
        gdb_reply_text(stub, "OK");
    else
        gdb_reply_error(stub, EINVAL);
}

/* ---- packets ---- */

/* "OPERATION THREAD" without the space */
static void choose_thread(struct gdb_stub *stub, const char *at)
{
    bool to_go = gdb_parse_char(&at, 'c');
    uint32_t hart;

    if ((!to_go && !gdb_parse_char(&at, 'g')) || !gdb_parse_thread(stub, &at, &hart) || *at) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    if (to_go)
        stub->hart_to_go = hart;
    else
        stub->hart = hart < stub->target.hart_count ? hart : stub->stopped;
    gdb_reply_text(stub, "OK");
}

static void ask_alive(struct gdb_stub *stub, const char *at)
{
    uint32_t hart;

    if (gdb_parse_thread(stub, &at, &hart) && !*at && hart < stub->target.hart_count)
        gdb_reply_text(stub, "OK");
    else
        gdb_reply_error(stub, EINVAL);
}

static void do_packet(struct gdb_stub *stub)
{
    const char *at = stub->reader.data + 1, *end = stub->reader.data + stub->reader.len;

    switch (stub->reader.len ? stub->reader.data[0] : 0) {
    case '?':
        say_stop(stub, SIGNAL_TRAP, NULL);
        break;
    case 'g':
        read_all(stub);
        break;
    case 'G':
        write_all(stub, at, end);
        break;
    case 'p':
        read_one(stub, at);
        break;
    case 'P':
        write_one(stub, at, end);
        break;
    case 'm':
        gdb_do_read(stub, at);
        break;
    case 'M':
        gdb_do_write(stub, at, end, false);
        break;
    case 'X':
        gdb_do_write(stub, at, end, true);
        break;
    case 'Z':
        gdb_do_point(stub, at, true);
        break;
    case 'z':
        gdb_do_point(stub, at, false);
        break;
    case 'H':
        choose_thread(stub, at);
        break;
    case 'T':
        ask_alive(stub, at);
        break;
    case 'c':
        do_go(stub, at, GDB_RUN);
        break;
    case 's':
        do_go(stub, at, GDB_STEP);
        break;
    case 'C':
        go(stub, GDB_RUN);
        break;
    case 'S':
        go(stub, GDB_STEP);
        break;
    case 'v':
        do_v(stub, at);
        break;
    case 'q':
        gdb_do_query(stub, at, end);
        break;
    case 'Q':
        gdb_do_set(stub, at);
        break;
    case 'D':
        gdb_reply_text(stub, "OK");
        gdb_stub_detach(stub);
        break;
    case 'k':
        stub->target.quit(stub->target.opaque);
        break;
    default:
        gdb_reply_text(stub, "");
        break;
    }
}

void gdb_stub_input(struct gdb_stub *stub, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && stub->attached; i++) {
        switch (gdb_reader_take(&stub->reader, bytes[i])) {
        case GDB_EVENT_NONE:
            break;
        case GDB_EVENT_BREAK:
            break_in(stub);
            break;
        case GDB_EVENT_RESEND:
            if (!stub->running && !stub->no_ack)
                stub->send(stub->send_opaque, stub->writer.data, stub->writer.len);
            break;
        case GDB_EVENT_REFUSED:
            if (!stub->no_ack)
                stub->send(stub->send_opaque, "-", 1);
            break;
        case GDB_EVENT_PACKET:
            if (!stub->no_ack)
                stub->send(stub->send_opaque, "+", 1);
            /* While the guest runs there is nothing that could be answered. */
            if (!stub->running)
                do_packet(stub);
            break;
        }
    }
}
