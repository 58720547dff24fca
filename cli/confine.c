/* See confine.h. What a machine without some device never does is refused to its threads. */
#include "cli/confine.h"

#include "cli/report.h"

#include "base/sandbox.h"

#include <unistd.h>

int confine(const struct machine_config *config, bool required)
{
    struct sandbox_settings settings = {
        .required = required,
        .device_sockets = config->sound.alsa || config->vsock.path || config->channel_count,
        .device_files = config->sound.alsa,
        .compile_files = config->cache || config->jit.dump.what || config->jit.jitdump || config->jit.perf_map ||
                         config->jit.plugins,
        .vcpu_compiles = config->jit.sync,
        .report_fd = STDERR_FILENO,
    };
    struct error err;
    int rc;

    for (unsigned i = 0; i < config->net_count; i++) {
        settings.device_sockets |= config->nets[i].kind != MACHINE_NET_TAP;
        settings.device_files |= config->nets[i].kind != MACHINE_NET_TAP; /* the host's resolvers; a wire's lock */
        settings.network_admin |= config->nets[i].kind == MACHINE_NET_TAP;
    }
    for (unsigned i = 0; i < config->share_count; i++)
        settings.shared[settings.shared_count++] = config->shares[i].path;
    rc = sandbox_start(&settings, &err);
    if (rc)
        report_error("%s", err.text);
    return rc;
}
