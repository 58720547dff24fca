/* --net KIND[,NAME=VALUE..], several times: an item without '=' that is a kind begins a device, what follows is its. */
#include "cli/net.h"

#include "cli/values.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MTU_MIN = 68, MTU_MAX = 65520 };

static const char *const kinds[] = {
    [MACHINE_NET_USER] = "user", [MACHINE_NET_TAP] = "tap", [MACHINE_NET_SOCKET] = "socket"};

static int find_kind(const char *item)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(kinds); i++) {
        if (strcmp(item, kinds[i]) == 0)
            return (int)i;
    }
    return -1;
}

/* Six bytes in hexadecimal with colons between them, of one machine (not a group). */
static bool parse_mac(const char *text, uint8_t mac[6])
{
    if (strlen(text) != 17)
        return false;
    for (unsigned i = 0; i < 6; i++) {
        const char *at = text + 3 * (size_t)i;
        if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]) || at[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac[i] = (uint8_t)strtoul(at, NULL, 16);
    }
    return !(mac[0] & 1);
}

static bool add_forward(struct machine_net *net, const char *text)
{
    if (net->forward_count == MACHINE_FORWARDS_MAX)
        return false;
    net->forwards[net->forward_count++] = text;
    return true;
}

static bool parse_u16(const char *text, uint64_t min, uint64_t max, uint16_t *out)
{
    uint64_t value;

    if (values_number(text, min, max, &value))
        return false;
    *out = (uint16_t)value;
    return true;
}

/* One NAME=VALUE. */
static bool parse_setting(struct machine_net *net, const char *name, const char *value)
{
    if (strcmp(name, "mtu") == 0)
        return parse_u16(value, MTU_MIN, MTU_MAX, &net->mtu);
    if (strcmp(name, "queues") == 0)
        return parse_u16(value, 1, MACHINE_NET_PAIRS_MAX, &net->pairs);
    if (strcmp(name, "mac") == 0)
        return parse_mac(value, net->mac);
    if (strcmp(name, "rate") == 0)
        return values_size(value, &net->bytes_per_s) == 0;
    if (strcmp(name, "packets") == 0)
        return values_number(value, 1, UINT64_MAX, &net->packets_per_s) == 0;
    if (strcmp(name, "forward") == 0 && net->kind == MACHINE_NET_USER)
        return add_forward(net, value);
    if ((strcmp(name, "ifname") == 0 && net->kind == MACHINE_NET_TAP) ||
        (strcmp(name, "path") == 0 && net->kind == MACHINE_NET_SOCKET)) {
        net->where = value;
        return value[0] != '\0';
    }
    return false;
}

static int add_net(struct machine_config *config, int kind, struct error *err)
{
    if (config->net_count == MACHINE_NETS_MAX)
        return error_set(err, -EINVAL, "--net, more than %d times, is refused: leave some out", MACHINE_NETS_MAX);
    config->nets[config->net_count++] = (struct machine_net){.kind = (enum machine_net_kind)kind};
    return 0;
}

/* One item of --net. */
static int parse_item(struct machine_config *config, char *item, struct error *err)
{
    struct machine_net *net = config->net_count ? &config->nets[config->net_count - 1] : NULL;
    char *value = strchr(item, '=');
    int kind = value ? -1 : find_kind(item);

    if (kind >= 0)
        return add_net(config, kind, err);
    if (net && !value && strcmp(item, "restrict") == 0 && net->kind == MACHINE_NET_USER) {
        net->restricted = true;
        return 0;
    }
    if (net && value) {
        *value = '\0';
        if (parse_setting(net, item, value + 1))
            return 0;
        *value = '=';
    }
    return error_set(err, -EINVAL,
                     "--net, '%s', is not understood: give user, tap or socket and then that kind's settings "
                     "(see --help)",
                     item);
}

static int check(const struct machine_config *config, struct error *err)
{
    for (unsigned i = 0; i < config->net_count; i++) {
        if (config->nets[i].kind == MACHINE_NET_SOCKET && !config->nets[i].where)
            return error_set(err, -EINVAL, "--net, 'socket', has no path: give one like --net=socket,path=/tmp/wire");
    }
    return 0;
}

/* --forward's items belong to the first user-mode network, which need not have been asked for. */
static int add_forwards(struct machine_config *config, char *rest, struct error *err)
{
    struct machine_net *net = NULL;
    char *item;

    for (unsigned i = 0; i < config->net_count && !net; i++)
        net = config->nets[i].kind == MACHINE_NET_USER ? &config->nets[i] : NULL;
    if (!net) {
        int rc = add_net(config, MACHINE_NET_USER, err);
        if (rc)
            return rc;
        net = &config->nets[config->net_count - 1];
    }
    while ((item = strsep(&rest, ","))) {
        if (!add_forward(net, item))
            return error_set(err, -EINVAL, "--forward, more than %d ports, is refused: leave some out",
                             MACHINE_FORWARDS_MAX);
    }
    return 0;
}

int net_parse(const char *net, const char *forward, struct machine_config *config, char **text, struct error *err)
{
    size_t net_bytes = net ? strlen(net) + 1 : 0, forward_bytes = forward ? strlen(forward) + 1 : 0;
    char *item, *rest;
    int rc = 0;

    if (!net && !forward)
        return 0;
    *text = malloc(net_bytes + forward_bytes);
    if (!*text)
        return error_set(err, -ENOMEM, "--net, not enough host memory, free some");
    if (net) {
        memcpy(*text, net, net_bytes);
        rest = *text;
        while (!rc && (item = strsep(&rest, ",")))
            rc = parse_item(config, item, err);
    }
    if (!rc)
        rc = check(config, err);
    if (!rc && forward) {
        memcpy(*text + net_bytes, forward, forward_bytes);
        rc = add_forwards(config, *text + net_bytes, err);
    }
    return rc;
}
