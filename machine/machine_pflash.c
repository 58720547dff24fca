/* The board's flash and the files behind it. A file is read whole when the machine is made; what the guest programs or
 * erases is written to it at once. */
#include "dev/pflash.h"
#include "machine/loader_internal.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static int changed(void *opaque, unsigned bank, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
    struct machine *m = opaque;

    while (m->pflash_fds[bank] >= 0 && len) {
        ssize_t put = pwrite(m->pflash_fds[bank], bytes, len, offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            int rc = put < 0 ? -errno : -EIO;
            log_warn(LOG_DEV, "pflash%u: '%s' could not be written at byte %" PRIu32 ": %s", bank,
                     m->config.pflash[bank], offset, strerror(-rc));
            return rc;
        }
        bytes += put;
        offset += (uint32_t)put;
        len -= (uint32_t)put;
    }
    return 0;
}

static int read_file(struct machine *m, unsigned bank, struct error *err)
{
    const char *path = m->config.pflash[bank];
    struct loader_file file;
    int rc = loader_file_open(&file, "flash image", path, err);

    if (rc)
        return rc;
    if (file.size_bytes != PFLASH_BANK_BYTES)
        rc = error_set(err, -EINVAL,
                       "flash image '%s' has %" PRIu64 " bytes, a bank %d; make it that long (truncate --size=32M)",
                       path, file.size_bytes, PFLASH_BANK_BYTES);
    if (rc == 0)
        rc = loader_file_read(&file, 0, pflash_bank(m->pflash, bank), PFLASH_BANK_BYTES, err);
    loader_file_close(&file);
    if (rc || m->config.pflash_read_only[bank])
        return rc;
    m->pflash_fds[bank] = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (m->pflash_fds[bank] < 0) {
        rc = -errno;
        return error_set(err, rc, "flash image '%s' cannot be opened for writing: %s; append ,readonly", path,
                         strerror(-rc));
    }
    return 0;
}

int machine_pflash_create(struct machine *m, struct error *err)
{
    const struct machine_config *config = &m->config;
    struct pflash_config flash = {.mem = m->mem,
                                  .gpa = BOARD_FLASH_GPA,
                                  .read_only = {config->pflash_read_only[0], config->pflash_read_only[1]},
                                  .changed = changed,
                                  .opaque = m};

    m->pflash_fds[0] = m->pflash_fds[1] = -1;
    bool restored = config->restore && machine_restore_has(m, "flash");
    if (!config->pflash[0] && !config->pflash[1] && !restored)
        return 0;
    int rc = pflash_create(&flash, &m->pflash);
    if (rc)
        return error_set(err, rc, "the flash could not be created: %s", strerror(-rc));
    (void)machine_device_keep(m, m->pflash);
    for (unsigned bank = 0; bank < PFLASH_BANKS && rc == 0; bank++) {
        if (config->pflash[bank] && !restored)
            rc = read_file(m, bank, err);
    }
    return rc;
}

void machine_pflash_close(struct machine *m)
{
    for (unsigned bank = 0; m->pflash && bank < PFLASH_BANKS; bank++) {
        if (m->pflash_fds[bank] >= 0)
            close(m->pflash_fds[bank]);
    }
}
