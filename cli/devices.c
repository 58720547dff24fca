/* Options that are lists of settings; see devices.h. Each row is an option: what reads one of its items, and what is to
 * be right at the end. */
#include "cli/devices.h"

#include "cli/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What follows `name` and '=' in the item, or NULL. */
static const char *value_of(const char *item, const char *name)
{
    size_t len = strlen(name);

    return strncmp(item, name, len) == 0 && item[len] == '=' ? item + len + 1 : NULL;
}

/* ---- --vsock ---- */

static bool vsock_item(const char *item, struct machine_config *config)
{
    const char *cid = value_of(item, "cid"), *path = value_of(item, "path");
    uint64_t number;

    if (path && *path) {
        config->vsock.path = path;
        return true;
    }
    if (!cid || values_number(cid, 3, UINT32_MAX - 1, &number))
        return false;
    config->vsock.cid = (uint32_t)number;
    return true;
}

static bool vsock_is_whole(const struct machine_config *config)
{
    return config->vsock.path && config->vsock.cid;
}

/* ---- --input ---- */

static bool input_item(const char *item, struct machine_config *config)
{
    static const char *const kinds[] = {"keyboard", "mouse", "tablet"};
    const char *path = value_of(item, "path");
    unsigned count = config->input_count;

    if (path && *path && count && !config->inputs[count - 1].path) {
        config->inputs[count - 1].path = path;
        return true;
    }
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(kinds) && count < MACHINE_INPUTS_MAX; i++) {
        if (strcmp(item, kinds[i]) == 0) {
            config->inputs[config->input_count++].kind = (enum machine_input_kind)i;
            return true;
        }
    }
    return false;
}

static bool input_is_whole(const struct machine_config *config)
{
    for (unsigned i = 0; i < config->input_count; i++) {
        if (!config->inputs[i].path && config->inputs[i].kind != MACHINE_INPUT_KEYBOARD)
            return false;
    }
    return config->input_count != 0;
}

/* ---- --channel ---- */

static bool channel_item(const char *item, struct machine_config *config)
{
    const char *path = value_of(item, "path");
    unsigned count = config->channel_count;

    if (path) {
        if (!*path || !count || config->channels[count - 1].path)
            return false;
        config->channels[count - 1].path = path;
        return true;
    }
    if (!*item || strlen(item) > 63 || strchr(item, '=') || strchr(item, '/') || count == MACHINE_CHANNELS_MAX)
        return false;
    config->channels[config->channel_count++].name = item;
    return true;
}

static bool channel_is_whole(const struct machine_config *config)
{
    for (unsigned i = 0; i < config->channel_count; i++) {
        if (!config->channels[i].path)
            return false;
    }
    return config->channel_count != 0;
}

/* ---- --sound ---- */

static bool sound_item(const char *item, struct machine_config *config)
{
    static const struct {
        const char *name;
        size_t offset;
    } settings[] = {
        {"out", offsetof(struct machine_sound, wav)},
        {"alsa", offsetof(struct machine_sound, alsa)},
        {"in", offsetof(struct machine_sound, in)},
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(settings); i++) {
        const char *value = value_of(item, settings[i].name);
        if (value && *value) {
            *(const char **)((char *)&config->sound + settings[i].offset) = value;
            return true;
        }
    }
    return false;
}

static bool sound_is_whole(const struct machine_config *config)
{
    return !config->sound.wav || !config->sound.alsa;
}

/* ---- all ---- */

static const struct device_option {
    enum option_id id;
    const char *name, *wants;
    bool (*item)(const char *item, struct machine_config *config);
    bool (*is_whole)(const struct machine_config *config); /* NULL: nothing has to be given */
} device_options[DEVICES_TEXTS] = {
    {OPTION_VSOCK, "vsock", "cid=N,path=FILE with N from 3 on", vsock_item, vsock_is_whole},
    {OPTION_INPUT, "input", "keyboard, mouse or tablet, each (but a keyboard) with path=FILE, at most four", input_item,
     input_is_whole},
    {OPTION_SOUND, "sound", "out=FILE or alsa=DEVICE, and in=FILE", sound_item, sound_is_whole},
    {OPTION_CHANNEL, "channel", "NAME,path=FILE, at most seven times", channel_item, channel_is_whole},
};

static int parse_option(const struct device_option *option, const char *value, struct machine_config *config,
                        char **text, struct error *err)
{
    char *item, *rest = *text = strdup(value);

    if (!rest)
        return error_set(err, -ENOMEM, "--%s, not enough host memory, free some", option->name);
    while ((item = strsep(&rest, ","))) {
        if (!option->item(item, config))
            return error_set(err, -EINVAL, "--%s, '%s', is not understood: give %s", option->name, item, option->wants);
    }
    if (option->is_whole && !option->is_whole(config))
        return error_set(err, -EINVAL, "--%s, '%s', lacks something: give %s", option->name, value, option->wants);
    return 0;
}

int devices_parse(const struct option_values *values, struct machine_config *config, char *texts[DEVICES_TEXTS],
                  struct error *err)
{
    int rc = 0;

    for (size_t i = 0; i < DEVICES_TEXTS && !rc; i++) {
        const char *value = values->value[device_options[i].id];
        if (value)
            rc = parse_option(&device_options[i], value, config, &texts[i], err);
    }
    return rc;
}
