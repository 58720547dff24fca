/* What the devices' device-tree writers have in common. All return 0 (or a node's offset) or a negative libfdt error.
 */
#ifndef TUFF_DEV_FDT_NODE_H
#define TUFF_DEV_FDT_NODE_H

#include "base/compiler.h"

#include <stdint.h>

/* Adds /soc/<name>@<gpa> with `reg` of two address and two size cells and the strings of the NULL-terminated list
 * `compatible`. Returns the node's offset, good until another node is changed. */
TUFF_MUST_CHECK int fdt_node_add(void *fdt, const char *name, uint64_t gpa, uint64_t size_bytes,
                                 const char *const *compatible);

/* Appends <irq> to a property; where the tree has the controller `parent` already and it takes two cells, the second
 * says that the level is high. */
TUFF_MUST_CHECK int fdt_node_append_level(void *fdt, int node, const char *name, uint32_t parent, uint32_t irq);

/* interrupt-parent = <parent>, and the interrupt, for a node that has none yet. */
TUFF_MUST_CHECK int fdt_node_set_irq(void *fdt, int node, uint32_t parent, uint32_t irq);

/* Appends <phandle irq> to interrupts-extended. */
TUFF_MUST_CHECK int fdt_node_append_irq(void *fdt, int node, uint32_t phandle, uint32_t irq);

#endif
