/* --share DIR[,tag=TAG][,readonly][,squash=UID:GID], several times: an item that is no setting begins a directory.
 * Those without a tag are share, share1 and so on. */
#include "cli/share.h"

#include "cli/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const default_tags[MACHINE_SHARES_MAX] = {"share",  "share1", "share2", "share3",
                                                             "share4", "share5", "share6", "share7"};

static bool parse_squash(char *text, struct machine_share *share)
{
    char *gid = strchr(text, ':');
    uint64_t numbers[2];

    if (!gid)
        return false;
    *gid = '\0';
    bool good =
        !values_number(text, 0, UINT32_MAX - 1, &numbers[0]) && !values_number(gid + 1, 0, UINT32_MAX - 1, &numbers[1]);
    *gid = ':';
    if (!good)
        return false;
    share->squash = true;
    share->uid = (uint32_t)numbers[0];
    share->gid = (uint32_t)numbers[1];
    return true;
}

/* What follows `name` and '=' in the item, or NULL. */
static char *value_of(char *item, const char *name)
{
    size_t len = strlen(name);

    return strncmp(item, name, len) == 0 && item[len] == '=' ? item + len + 1 : NULL;
}

static int parse_item(struct machine_config *config, char *item, struct error *err)
{
    struct machine_share *share = config->share_count ? &config->shares[config->share_count - 1] : NULL;
    char *tag = value_of(item, "tag"), *squash = value_of(item, "squash");

    if (tag && share && tag[0]) {
        share->tag = tag;
        return 0;
    }
    if (squash && share && parse_squash(squash, share))
        return 0;
    if (share && strcmp(item, "readonly") == 0) {
        share->read_only = true;
        return 0;
    }
    if (tag || squash || !item[0] || strcmp(item, "readonly") == 0)
        return error_set(err, -EINVAL,
                         "--share, '%s', is not understood: give DIR[,tag=TAG][,readonly][,squash=UID:GID]", item);
    if (config->share_count == MACHINE_SHARES_MAX)
        return error_set(err, -EINVAL, "--share, more than %d directories, is refused: leave some out",
                         MACHINE_SHARES_MAX);
    config->shares[config->share_count] =
        (struct machine_share){.path = item, .tag = default_tags[config->share_count]};
    config->share_count++;
    return 0;
}

static int check_tags(const struct machine_config *config, struct error *err)
{
    for (unsigned i = 0; i < config->share_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(config->shares[i].tag, config->shares[j].tag) == 0)
                return error_set(err, -EINVAL, "--share, two directories have the tag '%s': give tag= to one",
                                 config->shares[i].tag);
        }
    }
    return 0;
}

int share_parse(const char *share, struct machine_config *config, char **text, struct error *err)
{
    char *item, *rest;
    int rc = 0;

    if (!share)
        return 0;
    *text = rest = strdup(share);
    if (!rest)
        return error_set(err, -ENOMEM, "--share, not enough host memory, free some");
    while (!rc && (item = strsep(&rest, ",")))
        rc = parse_item(config, item, err);
    return rc ? rc : check_tags(config, err);
}
