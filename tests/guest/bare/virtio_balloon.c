/* The balloon (virtio 1.2, 5.5): a page goes and comes back empty or as it was, statistics are asked for, pages that
 * are none do no harm. */
#include "virtio_driver.h"

enum {
    BALLOON = 5,
    INFLATE = 0,
    DEFLATE = 1,
    PAGE = 4096,
    PAGES = 3,
    ACTUAL = 4,
};

static uint8_t pages[PAGES][PAGE] __attribute__((aligned(4096)));
static uint32_t numbers[PAGES];

static int64_t tell(unsigned queue, uint32_t bytes)
{
    return driver_request(queue, &(struct driver_part){numbers, bytes, false}, 1);
}

/* All of a page are one byte: what it was filled with, or nothing. */
static int64_t byte_of(unsigned page)
{
    for (unsigned i = 1; i < PAGE; i++) {
        if (((volatile uint8_t *)pages[page])[i] != ((volatile uint8_t *)pages[page])[0])
            return -1;
    }
    return ((volatile uint8_t *)pages[page])[0];
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, BALLOON) && driver_start(0, 2);

    rt_expect(started, "a balloon");
    if (!started)
        return;
    for (unsigned i = 0; i < PAGES; i++) {
        for (unsigned n = 0; n < PAGE; n++)
            ((volatile uint8_t *)pages[i])[n] = (uint8_t)(0x11 + i);
    }
    /* The page in the middle goes. */
    numbers[0] = (uint32_t)((uint64_t)pages[1] / PAGE);
    rt_expect(tell(INFLATE, 4) >= 0, "a page is given away");
    *driver_reg(DRIVER_CONFIG + ACTUAL) = 1;
    rt_print("actual: %d", (int64_t)*driver_reg(DRIVER_CONFIG + ACTUAL));
    rt_expect(*driver_reg(DRIVER_CONFIG + ACTUAL) == 1, "the balloon's size is written");
    rt_expect(tell(DEFLATE, 4) >= 0, "and taken back");
    rt_print("neighbours: %d %d", byte_of(0), byte_of(2));
    rt_expect(byte_of(0) == 0x11 && byte_of(2) == 0x13, "its neighbours are as they were");
    rt_expect(byte_of(1) == 0 || byte_of(1) == 0x12, "it is empty, or as it was");
    for (unsigned n = 0; n < PAGE; n++)
        ((volatile uint8_t *)pages[1])[n] = 0x55;
    rt_expect(byte_of(1) == 0x55, "and can be used");

    /* Outside of RAM, the end of all numbers, a device's registers, part of a number, nothing. */
    numbers[0] = (uint32_t)(RT_HOLE / PAGE);
    numbers[1] = 0xffffffff;
    numbers[2] = (uint32_t)(RT_VIRTIO / PAGE);
    rt_expect(tell(INFLATE, sizeof(numbers)) >= 0, "pages that are not there come back");
    rt_expect(tell(DEFLATE, sizeof(numbers)) >= 0, "twice");
    rt_expect(tell(INFLATE, 3) >= 0, "part of a number comes back");
    (void)driver_request(INFLATE, &(struct driver_part){numbers, 4, true}, 1);
    if (!driver_is_up())
        driver_start(0, 2);
    numbers[0] = (uint32_t)((uint64_t)pages[1] / PAGE);
    rt_expect(tell(INFLATE, 4) >= 0 && tell(DEFLATE, 4) >= 0, "the balloon works after that");
    rt_expect(byte_of(0) == 0x11 && byte_of(2) == 0x13, "and nothing else has changed");
}
