/* Fuzz target: 9P messages to a server of a directory. The bytes choose requests, their fids, names and numbers, and
 * how a message is cut or spoilt. Besides not crashing:
 *
 *   - every reply has the size it says, the request's tag, and the request's type or is an error
 *   - nothing outside the directory changes, and no descriptor is left when the server is gone
 */
#include "dev/share/p9_server.h"
#include "dev/share/p9_wire.h"
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 2048, MESSAGES_MAX = 200, REPLY_BYTES = 70000 };

static char parent[64], shared[96], outside[96];

static const struct {
    uint8_t type;
    const char *shape; /* f: fid, s: name, 1 2 4 8: number */
} shapes[] = {
    {P9_TWALK, "ff2ss"},     {P9_TWALK, "ff2s"},     {P9_TLOPEN, "f4"},
    {P9_TLCREATE, "fs444"},  {P9_TSYMLINK, "fss4"},  {P9_TMKNOD, "fs4444"},
    {P9_TREADLINK, "f"},     {P9_TGETATTR, "f8"},    {P9_TSETATTR, "f444888888"},
    {P9_TREADDIR, "f84"},    {P9_TFSYNC, "f4"},      {P9_TLOCK, "f14884s"},
    {P9_TGETLOCK, "f1884s"}, {P9_TLINK, "ffs"},      {P9_TMKDIR, "fs44"},
    {P9_TRENAMEAT, "fsfs"},  {P9_TUNLINKAT, "fs4"},  {P9_TVERSION, "4s"},
    {P9_TATTACH, "f4ss4"},   {P9_TFLUSH, "2"},       {P9_TREAD, "f84"},
    {P9_TWRITE, "f84s"},     {P9_TCLUNK, "f"},       {P9_TREMOVE, "f"},
    {P9_TSTATFS, "f"},       {P9_TXATTRWALK, "ffs"}, {P9_TXATTRCREATE, "fs84"},
    {P9_TAUTH, "fss4"},      {255, "4444"},
};

static const char *const names[] = {"a",
                                    "b",
                                    "file",
                                    "dir",
                                    "link",
                                    "up",
                                    "..",
                                    ".",
                                    "",
                                    "../outside",
                                    "/",
                                    "dir/file",
                                    "9P2000.L",
                                    "/etc/passwd",
                                    "x\\y",
                                    "fifo",
                                    "user.a",
                                    "user.",
                                    "security.capability"};

/* Small numbers mostly, and those at limits. */
static uint64_t take_number(struct reader *r)
{
    uint8_t byte = take(r, 1);

    if (byte < 0xf0)
        return byte;
    return byte & 1 ? UINT64_MAX >> (byte & 14) * 4 : UINT64_C(1) << (byte & 14) * 4;
}

static void put_field(struct p9_out *out, char kind, struct reader *r)
{
    uint64_t value;

    if (kind == 's') {
        const char *name = names[take(r, 1) % (sizeof(names) / sizeof(names[0]))];
        p9_put_string(out, name, strlen(name));
        return;
    }
    value = kind == 'f' ? take(r, 1) % 5 : take_number(r);
    p9_put(out, &value, kind == 'f' ? 4 : (size_t)(kind - '0'));
}

static void one_message(struct p9_server *server, struct reader *r)
{
    uint8_t bytes[MESSAGE_BYTES];
    static uint8_t reply[REPLY_BYTES];
    struct p9_out out = {.start = bytes, .size = sizeof(bytes)};
    uint8_t choice = take(r, 1), how = take(r, 1);
    unsigned shape = choice % (sizeof(shapes) / sizeof(shapes[0]));

    p9_put_u32(&out, 0);
    p9_put_u8(&out, shapes[shape].type);
    p9_put_u16(&out, how);
    for (const char *c = shapes[shape].shape; *c; c++)
        put_field(&out, *c, r);
    if (how >= 0xe0) /* cut */
        out.len = take(r, 1) % (out.len + 1);
    else if (how >= 0xc0) /* spoilt */
        bytes[take(r, 1) % out.len] = take(r, 1);
    uint32_t size = (uint32_t)out.len;
    if (how % 16 && size >= 4)
        memcpy(bytes, &size, sizeof(size));
    size_t room = how & 8 ? REPLY_BYTES : 7 + take(r, 1);
    struct iovec in_iov = {bytes, out.len}, out_iov[] = {{reply, 3}, {reply + 3, room - 3}};
    struct p9_buffers in = {&in_iov, 1, out.len}, answer = {out_iov, 2, room};
    int64_t len = p9_server_handle(server, &in, &answer);
    if (len < 0)
        return;
    uint32_t said;
    memcpy(&said, reply, sizeof(said));
    require(len <= (int64_t)room && said == len && !memcmp(reply + 5, bytes + 5, 2));
    require(reply[4] == P9_RLERROR || reply[4] == (uint8_t)(bytes[4] + 1));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (ftw->level)
        require(remove(path) == 0);
    return 0;
}

static void remove_all(void)
{
    nftw(parent, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    rmdir(parent);
}

static void in_directory(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", shared, name);
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    require(fd >= 0 && write(fd, "content", 7) == 7);
    close(fd);
}

static void make_tree(void)
{
    char path[128];

    if (!parent[0]) {
        strcpy(parent, "/tmp/tuff-fuzz-9p-XXXXXX");
        require(mkdtemp(parent) != NULL);
        snprintf(shared, sizeof(shared), "%s/shared", parent);
        snprintf(outside, sizeof(outside), "%s/outside", parent);
        require(mkdir(shared, 0700) == 0);
        touch(outside);
        require(chmod(outside, 0400) == 0);
        atexit(remove_all);
    }
    chmod(shared, 0700); /* which may have been changed */
    nftw(shared, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    in_directory("dir", path);
    require(mkdir(path, 0700) == 0);
    in_directory("file", path);
    touch(path);
    in_directory("dir/file", path);
    touch(path);
    in_directory("link", path);
    require(symlink("../outside", path) == 0);
    in_directory("up", path);
    require(symlink("..", path) == 0);
    in_directory("fifo", path);
    require(mkfifo(path, 0600) == 0);
}

static unsigned open_descriptors(void)
{
    DIR *fds = opendir("/proc/self/fd");
    unsigned count = 0;

    require(fds != NULL);
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

static void check_outside(void)
{
    struct stat st;
    DIR *entries = opendir(parent);
    unsigned count = 0;

    require(lstat(outside, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 7 && st.st_nlink == 1 &&
            (st.st_mode & 07777) == 0400);
    require(entries != NULL);
    while (readdir(entries))
        count++;
    closedir(entries);
    require(count == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {data, data + len};
    struct p9_server *server;

    make_tree();
    unsigned descriptors = open_descriptors();
    uint8_t kind = take(&r, 1);
    struct share_config config = {.path = shared, .read_only = kind & 1, .squash = kind & 2};
    require(p9_server_create(&config, &server, NULL) == 0);
    for (unsigned i = 0; r.at < r.end && i < MESSAGES_MAX; i++)
        one_message(server, &r);
    p9_server_destroy(server);
    require(open_descriptors() == descriptors);
    check_outside();
    return 0;
}
