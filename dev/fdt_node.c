/* Device-tree helpers; see fdt_node.h. Bindings: Devicetree Specification 0.4, sections 2.3 and 2.4. */
#include "dev/fdt_node.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stdio.h>

int fdt_node_add(void *fdt, const char *name, uint64_t gpa, uint64_t size_bytes, const char *const *compatible)
{
    char full[64];
    int rc;
    int soc = fdt_path_offset(fdt, "/soc");

    if (soc < 0)
        return soc;
    snprintf(full, sizeof(full), "%s@%" PRIx64, name, gpa);
    int node = fdt_add_subnode(fdt, soc, full);
    if (node < 0)
        return node;
    for (; *compatible; compatible++) {
        rc = fdt_appendprop_string(fdt, node, "compatible", *compatible);
        if (rc)
            return rc;
    }
    rc = fdt_appendprop_u64(fdt, node, "reg", gpa);
    if (!rc)
        rc = fdt_appendprop_u64(fdt, node, "reg", size_bytes);
    return rc ? rc : node;
}

int fdt_node_append_level(void *fdt, int node, const char *name, uint32_t parent, uint32_t irq)
{
    enum { LEVEL_HIGH = 4 };
    int len, controller = fdt_node_offset_by_phandle(fdt, parent);
    const fdt32_t *cells = controller >= 0 ? fdt_getprop(fdt, controller, "#interrupt-cells", &len) : NULL;
    bool has_kind = cells && len == sizeof(*cells) && fdt32_to_cpu(*cells) == 2;
    int rc = fdt_appendprop_u32(fdt, node, name, irq);

    return rc || !has_kind ? rc : fdt_appendprop_u32(fdt, node, name, LEVEL_HIGH);
}

int fdt_node_set_irq(void *fdt, int node, uint32_t parent, uint32_t irq)
{
    int rc = fdt_setprop_u32(fdt, node, "interrupt-parent", parent);

    return rc ? rc : fdt_node_append_level(fdt, node, "interrupts", parent, irq);
}

int fdt_node_append_irq(void *fdt, int node, uint32_t phandle, uint32_t irq)
{
    int rc = fdt_appendprop_u32(fdt, node, "interrupts-extended", phandle);

    return rc ? rc : fdt_appendprop_u32(fdt, node, "interrupts-extended", irq);
}
