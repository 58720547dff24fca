/* A keyboard (virtio 1.2, 5.8) on which bare-test presses the key A all the time: what it says of itself, and the key.
 */
#include "virtio_driver.h"

enum {
    INPUT = 18,
    EVENTS = 0,
    STATUS = 1,
    SELECT = 0,
    SUBSELECT = 1,
    SIZE = 2,
    VALUE = 8,

    ID_NAME = 1,
    EVENT_BITS = 0x11,
    NO_SELECT = 0x77,
    EV_SYN = 0,
    EV_KEY = 1,
    EV_LED = 0x11,
    KEY_A = 30,
};

static struct {
    uint16_t type, code;
    uint32_t value;
} event;

static volatile uint8_t *config(unsigned offset)
{
    return (volatile uint8_t *)driver_reg(DRIVER_CONFIG) + offset;
}

static unsigned size_of(uint8_t select, uint8_t subselect)
{
    *config(SELECT) = select;
    *config(SUBSELECT) = subselect;
    return *config(SIZE);
}

static void describe(void)
{
    rt_expect(size_of(ID_NAME, 0) > 0, "it has a name");
    rt_expect(size_of(EVENT_BITS, EV_KEY) > KEY_A / 8 && *config(VALUE + KEY_A / 8) & 1 << KEY_A % 8, "and the key A");
    rt_expect(size_of(NO_SELECT, 0) == 0 && size_of(EVENT_BITS, 0xfe) == 0, "and nothing else there");
    *config(SIZE) = 99;
    *config(VALUE) = 99;
    rt_expect(size_of(ID_NAME, 0) > 0 && size_of(ID_NAME, 0) < 99, "its size is not written");
}

static bool key_comes(void)
{
    for (unsigned i = 0; i < 50; i++) {
        if (driver_request(EVENTS, &(struct driver_part){&event, sizeof(event), true}, 1) != sizeof(event))
            return false;
        if (event.type == EV_KEY)
            return event.code == KEY_A && event.value <= 1;
        if (event.type != EV_SYN)
            return false;
    }
    return false;
}

void bare_main(void)
{
    bool started = driver_find(DRIVER_SLOTS, INPUT) && driver_start(0, 2);

    rt_expect(started, "a keyboard");
    if (!started)
        return;
    describe();
    bool came = key_comes();
    rt_print("key: %d", (int64_t)came);
    rt_expect(came, "the key comes");

    event.type = EV_LED;
    event.code = 0;
    event.value = 1;
    rt_expect(driver_request(STATUS, &(struct driver_part){&event, sizeof(event), false}, 1) >= 0,
              "a lamp is lit, or not");
    (void)driver_request(STATUS, &(struct driver_part){&event, 3, false}, 1);
    (void)driver_request(STATUS, &(struct driver_part){&event, sizeof(event), true}, 1);
    /* Too little room for an event. */
    driver_start(0, 2);
    (void)driver_request(EVENTS, &(struct driver_part){&event, 3, true}, 1);
    driver_start(0, 2);
    came = key_comes();
    rt_print("key.again: %d", (int64_t)came);
    rt_expect(came, "the key comes after all that");
}
