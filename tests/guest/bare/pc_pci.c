/* The PC's PCI bus: the random number device (virtio-pci) behind a BAR that moves. Its doorbell, which KVM catches, is
 * where the BAR is and nowhere else. */
#include "pci.h"

static struct rng_ring ring;

static void place(uint64_t base, bool decoded)
{
    *pci16(RNG_SLOT, PCI_COMMAND) = PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
    pci_set_bar64(RNG_SLOT, RNG_BAR, base);
    if (decoded)
        *pci16(RNG_SLOT, PCI_COMMAND) = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
}

/* Do bytes come within some time of a store to the doorbell at `base`? */
static bool answers(uint64_t base, uint64_t ticks)
{
    for (unsigned i = 0; i < BUFFER_BYTES; i++)
        ((volatile uint8_t *)ring.buffer)[i] = 0;
    rng_ask(base, &ring);
    for (uint64_t end = rt_now() + ticks; *(volatile uint16_t *)&ring.used.index != ring.avail.index;) {
        if (rt_now() > end)
            return false;
    }
    rt_fence_io();
    return rng_came(&ring);
}

/* A store at `base` tells the device nothing. (It may look for itself, late, for what it was told before; not five
 * times.) */
static bool is_quiet(uint64_t base)
{
    for (unsigned i = 0; i < 5; i++) {
        if (!answers(base, 500000))
            return true;
    }
    return false;
}

static void finish(uint64_t base)
{
    *rng16(base, NOTIFY) = 0;
    rng_wait(&ring);
}

void bare_main(void)
{
    static const uint64_t places[] = {PCI_MEM32, PCI_MEM32 + 0x100000, PCI_MEM32 + 0x4000, PCI_MEM32};

    rt_expect(*pci32(RNG_SLOT, 0) == 0x10441af4, "the random number device is not in slot 1");
    for (size_t i = 0; i < RT_COUNT(places); i++) {
        place(places[i], true);
        rt_expect(rng_start(places[i], &ring, 0xffff), "the device does not start at %x", places[i]);
        for (unsigned n = 0; n < 6; n++) /* more than the ring has entries */
            rt_expect(answers(places[i], 200000000), "no random bytes came, request %d at %x", (int64_t)n, places[i]);
        if (i > 0) {
            rt_expect(is_quiet(places[i - 1]), "the doorbell at %x still rings", places[i - 1]);
            finish(places[i]);
        }
    }
    place(places[0], false);
    rt_expect(is_quiet(places[0]), "a doorbell rings that is not decoded");
    place(places[0], true);
    finish(places[0]);
    rt_print("moved: %d", (int64_t)RT_COUNT(places));
}
