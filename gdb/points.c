/* Breakpoints and watchpoints. The client takes them out whenever the guest stands and puts them in before it goes on;
 * harts are only told when one of them goes on for more than a step, so that nothing is forgotten for nothing. */
#include "gdb/stub_internal.h"

#include <errno.h>
#include <string.h>

enum { POINT_SOFTWARE, POINT_HARDWARE, POINT_WRITE, POINT_READ, POINT_ACCESS, POINT_TYPES };
enum { WATCHED_MAX = 4096 };

static bool same(const struct gdb_point *a, const struct gdb_point *b)
{
    return a->type == b->type && a->gva == b->gva && a->len_bytes == b->len_bytes;
}

static int insert_point(struct gdb_stub *stub, const struct gdb_point *point)
{
    for (uint32_t i = 0; i < stub->point_count; i++) {
        if (same(&stub->points[i], point))
            return 0;
    }
    if (stub->point_count == GDB_POINTS_MAX)
        return ENOSPC;
    stub->points[stub->point_count++] = *point;
    return 0;
}

static int remove_point(struct gdb_stub *stub, const struct gdb_point *point)
{
    uint32_t i = 0;

    while (i < stub->point_count && !same(&stub->points[i], point))
        i++;
    if (i < stub->point_count) {
        stub->point_count--;
        memmove(&stub->points[i], &stub->points[i + 1], (stub->point_count - i) * sizeof(stub->points[0]));
    }
    return 0; /* the protocol wants it to succeed also when it was gone */
}

/* "TYPE,ADDRESS,KIND", and conditions that were not asked for. KIND is a length. */
void gdb_do_point(struct gdb_stub *stub, const char *at, bool insert)
{
    struct gdb_point point = {.type = (unsigned)*at - '0'};
    bool is_break = point.type == POINT_SOFTWARE || point.type == POINT_HARDWARE;

    if (point.type >= POINT_TYPES) {
        gdb_reply_text(stub, "");
        return;
    }
    at++;
    bool ok = gdb_parse_char(&at, ',') && gdb_parse_number(&at, &point.gva) && gdb_parse_char(&at, ',') &&
              gdb_parse_number(&at, &point.len_bytes) && (!*at || *at == ';');
    if (is_break)
        point.len_bytes = 1;
    if (!ok || !point.len_bytes || point.len_bytes > WATCHED_MAX || point.len_bytes - 1 > UINT64_MAX - point.gva) {
        gdb_reply_error(stub, EINVAL);
        return;
    }
    int rc = insert ? insert_point(stub, &point) : remove_point(stub, &point);
    if (rc)
        gdb_reply_error(stub, (unsigned)rc);
    else
        gdb_reply_text(stub, "OK");
}

int gdb_points_apply(struct gdb_stub *stub)
{
    static const uint32_t kinds[] = {[POINT_SOFTWARE] = VCPU_POINT_EXECUTE,
                                     [POINT_HARDWARE] = VCPU_POINT_EXECUTE,
                                     [POINT_WRITE] = VCPU_POINT_WRITE,
                                     [POINT_READ] = VCPU_POINT_READ,
                                     [POINT_ACCESS] = VCPU_POINT_READ | VCPU_POINT_WRITE};
    struct vcpu_point points[GDB_POINTS_MAX];

    for (uint32_t i = 0; i < stub->point_count; i++) {
        const struct gdb_point *p = &stub->points[i];
        points[i] = (struct vcpu_point){.gva = p->gva, .len_bytes = p->len_bytes, .kinds = kinds[p->type]};
    }
    for (uint32_t i = 0; i < stub->target.hart_count; i++) {
        int rc = vcpu_set_points(stub->target.vcpus[i], points, stub->point_count);
        if (rc)
            return rc;
    }
    return 0;
}

const struct gdb_point *gdb_breakpoint_at(const struct gdb_stub *stub, uint64_t gva)
{
    for (uint32_t i = 0; i < stub->point_count; i++) {
        const struct gdb_point *p = &stub->points[i];
        if (p->gva == gva && (p->type == POINT_SOFTWARE || p->type == POINT_HARDWARE))
            return p;
    }
    return NULL;
}
