/* An interrupt line as a value: a device raises and lowers it without knowing what it is wired to. */
#ifndef TUFF_DEV_IRQ_H
#define TUFF_DEV_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* `set` may be called from any thread and does not block. A zeroed line is not connected. */
struct irq_line {
    void (*set)(void *opaque, uint32_t number, bool level);
    void *opaque;
    uint32_t number;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set)
        line->set(line->opaque, line->number, level);
}

#endif
