/* The 9P server, message by message: what each request does to the files, and what no request may do. */
#include "dev/share/p9_server.h"
#include "dev/share/p9_wire.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { ROOT = 1, MESSAGE_BYTES = 64 << 10 };

static char dir[64], share_path[128];
static struct p9_server *server;
static uint8_t message[MESSAGE_BYTES], answer[MESSAGE_BYTES];
static struct p9_out out;
static struct p9_in in;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static char *host_path(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *at = path[next++ % 4];

    snprintf(at, sizeof(path[0]), "%s/%s", share_path, name);
    return at;
}

static void write_host(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* ---- messages ---- */

static void begin(uint8_t type)
{
    out = (struct p9_out){.start = message, .size = sizeof(message)};
    p9_put_u32(&out, 0);
    p9_put_u8(&out, type);
    p9_put_u16(&out, 7);
}

/* Numbers and strings: 1, 2, 4, 8: an integer of that many bytes, s: a string. */
static void put(const char *shape, ...)
{
    va_list args;

    va_start(args, shape);
    for (; *shape; shape++) {
        if (*shape == 's') {
            const char *text = va_arg(args, const char *);
            p9_put_string(&out, text, strlen(text));
        } else {
            uint64_t value = va_arg(args, uint64_t);
            p9_put(&out, &value, (size_t)(*shape - '0'));
        }
    }
    va_end(args);
}

#define N(value) ((uint64_t)(value))

/* Sends what was put together. Returns 0 with `in` behind the reply's header, or the error's number. */
static int transact(void)
{
    uint32_t size = (uint32_t)out.len;
    uint8_t type = message[4];
    struct iovec request_iov[2] = {{message, 5}, {message + 5, out.len - 5}};
    struct iovec reply_iov[2] = {{answer, 9}, {answer + 9, sizeof(answer) - 9}};
    struct p9_buffers request = {request_iov, 2, out.len}, reply = {reply_iov, 2, sizeof(answer)};

    ck_assert(!out.full);
    memcpy(message, &size, sizeof(size));
    int64_t len = p9_server_handle(server, &request, &reply);
    ck_assert_int_ge(len, P9_HEADER_BYTES);
    in = (struct p9_in){.at = answer, .left = (size_t)len};
    ck_assert_uint_eq(p9_u32(&in), len);
    uint8_t got = p9_u8(&in);
    ck_assert_uint_eq(p9_u16(&in), 7);
    if (got == P9_RLERROR) {
        ck_assert_int_eq(len, 11);
        return (int)p9_u32(&in);
    }
    ck_assert_uint_eq(got, type + 1);
    return 0;
}

#define REQUEST(type, ...) (begin(type), put(__VA_ARGS__), transact())

static int attach(uint32_t fid)
{
    return REQUEST(P9_TATTACH, "44ss4", N(fid), N(P9_NO_FID), "root", "", N(P9_NO_FID));
}

static int walk(uint32_t from, uint32_t to, const char *name)
{
    return REQUEST(P9_TWALK, "442s", N(from), N(to), N(1), name);
}

static int clunk(uint32_t fid)
{
    return REQUEST(P9_TCLUNK, "4", N(fid));
}

static int lopen(uint32_t fid, uint32_t flags)
{
    return REQUEST(P9_TLOPEN, "44", N(fid), N(flags));
}

static void start(bool read_only, bool squash)
{
    struct share_config config = {
        .path = share_path, .read_only = read_only, .squash = squash, .uid = 1234, .gid = 5678};
    struct error err;

    ck_assert_msg(p9_server_create(&config, &server, &err) == 0, "%s", err.text);
    ck_assert_int_eq(REQUEST(P9_TVERSION, "4s", N(65536), "9P2000.L"), 0);
    ck_assert_uint_eq(p9_u32(&in), 65536);
    ck_assert_int_eq(attach(ROOT), 0);
}

static void restart(bool read_only, bool squash)
{
    p9_server_destroy(server);
    start(read_only, squash);
}

static void set_up(void)
{
    strcpy(dir, "/tmp/tuff-9p-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(share_path, sizeof(share_path), "%s/share", dir);
    ck_assert_int_eq(mkdir(share_path, 0755), 0);
    char secret[128];
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    write_host(secret, "secret");
    ck_assert_int_eq(mkdir(host_path("sub"), 0755), 0);
    write_host(host_path("file"), "hello");
    write_host(host_path("sub/inner"), "inner");
    start(false, false);
}

static void tear_down(void)
{
    p9_server_destroy(server);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What a file's bytes read as through a new fid; the error's number when it cannot be read. */
static int read_file(uint32_t from, const char *name, char *text, size_t size)
{
    int rc = walk(from, 90, name);

    if (rc)
        return rc;
    rc = lopen(90, 0);
    if (!rc)
        rc = REQUEST(P9_TREAD, "484", N(90), N(0), N(size - 1));
    if (!rc) {
        uint32_t count = p9_u32(&in);
        ck_assert_uint_eq(count, in.left);
        memcpy(text, in.at, count);
        text[count] = '\0';
    }
    clunk(90);
    return rc;
}

static uint32_t fids(void)
{
    struct p9_stats stats;

    p9_server_stats(server, &stats);
    return stats.fids;
}

/* ---- sessions ---- */

START_TEST(version_settles_the_size_and_forgets_fids)
{
    static const uint64_t sizes[][2] = {{4096, 4096}, {65536, 65536}, {1u << 30, P9_MSIZE_MAX}};

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(REQUEST(P9_TVERSION, "4s", sizes[i][0], "9P2000.L"), 0);
        ck_assert_uint_eq(p9_u32(&in), sizes[i][1]);
        ck_assert_uint_eq(fids(), 0);
    }
    ck_assert_int_eq(REQUEST(P9_TVERSION, "4s", N(65536), "9P2000.u"), 0);
    p9_u32(&in);
    char text[16];
    p9_string(&in, text, sizeof(text));
    ck_assert_str_eq(text, "unknown");
    ck_assert_int_eq(REQUEST(P9_TVERSION, "4s", N(100), "9P2000.L"), EINVAL);
}
END_TEST

START_TEST(attach_gives_the_directory_once_a_fid)
{
    ck_assert_int_eq(attach(ROOT), EEXIST);
    ck_assert_int_eq(attach(2), 0);
    ck_assert_uint_eq(p9_u8(&in), 0x80);
    ck_assert_int_eq(attach(P9_NO_FID), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TAUTH, "4ss4", N(3), "root", "", N(0)), EOPNOTSUPP);
    ck_assert_int_eq(clunk(2), 0);
    ck_assert_int_eq(clunk(2), EBADF);
}
END_TEST

START_TEST(fids_are_bounded)
{
    unsigned count = 0;

    while (REQUEST(P9_TWALK, "442", N(ROOT), N(100 + count), N(0)) == 0)
        count++;
    ck_assert_uint_le(count + 1, P9_FIDS_MAX);
    ck_assert_uint_gt(count, 200);
    ck_assert_int_eq(clunk(100), 0);
    ck_assert_int_eq(walk(ROOT, 100, "sub"), 0);
}
END_TEST

/* ---- finding ---- */

START_TEST(walk_goes_as_far_as_names_lead)
{
    ck_assert_int_eq(REQUEST(P9_TWALK, "442ss", N(ROOT), N(2), N(2), "sub", "inner"), 0);
    ck_assert_uint_eq(p9_u16(&in), 2);
    ck_assert_uint_eq(fids(), 2);
    ck_assert_int_eq(REQUEST(P9_TWALK, "442sss", N(ROOT), N(3), N(3), "sub", "nothing", "x"), 0);
    ck_assert_uint_eq(p9_u16(&in), 1);
    ck_assert_int_eq(clunk(3), EBADF);
    ck_assert_int_eq(walk(ROOT, 3, "nothing"), ENOENT);
    ck_assert_int_eq(walk(ROOT, 2, "file"), EEXIST); /* taken */
    ck_assert_int_eq(walk(2, 2, "x"), ENOTDIR);
    ck_assert_int_eq(walk(99, 3, "file"), EBADF);
    ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(ROOT), N(3), N(17)), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TWALK, "442s", N(ROOT), N(3), N(2), "sub"), EINVAL); /* one name of two */
    ck_assert_uint_eq(fids(), 2);
    attach(5);
    ck_assert_int_eq(walk(5, 5, "sub"), 0); /* a fid can become what it leads to */
    ck_assert_int_eq(walk(5, 6, "inner"), 0);
}
END_TEST

/* ---- escapes ---- */

static void expect_no_secret(uint32_t from, const char *name)
{
    char text[64];

    ck_assert_msg(read_file(from, name, text, sizeof(text)) != 0, "'%s' was read: %s", name, text);
}

START_TEST(names_never_lead_out)
{
    static const char *const names[] = {"..",          ".",      "",          "/",     "../secret",
                                        "/etc/passwd", "sub/..", "sub/inner", "file/", "./file"};
    char longest[400];

    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    ck_assert_int_eq(walk(ROOT, 2, "sub"), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_msg(walk(ROOT, 3, names[i]) == EINVAL, "'%s'", names[i]);
        ck_assert_int_eq(walk(2, 3, names[i]), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(2), names[i], N(2), N(0644), N(0)), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TMKDIR, "4s44", N(2), names[i], N(0755), N(0)), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TSYMLINK, "4ss4", N(2), names[i], "x", N(0)), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TMKNOD, "4s4444", N(2), names[i], N(0100644), N(0), N(0), N(0)), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(2), names[i], N(0)), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TRENAMEAT, "4s4s", N(ROOT), names[i], N(2), "x"), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TRENAMEAT, "4s4s", N(ROOT), "file", N(2), names[i]), EINVAL);
        ck_assert_int_eq(REQUEST(P9_TLINK, "44s", N(2), N(2), names[i]), EINVAL);
    }
    ck_assert_int_eq(walk(ROOT, 3, longest), EINVAL);
    begin(P9_TWALK); /* a zero inside a name */
    put("442", N(ROOT), N(3), N(1));
    p9_put_string(&out, "fi\0le", 5);
    ck_assert_int_eq(transact(), EINVAL);
}
END_TEST

START_TEST(symbolic_links_are_the_guests_to_follow)
{
    char target[64];

    ck_assert_int_eq(symlink("/", host_path("root")), 0);
    ck_assert_int_eq(symlink("..", host_path("up")), 0);
    ck_assert_int_eq(symlink("../secret", host_path("leak")), 0);
    ck_assert_int_eq(symlink("/proc/self/root", host_path("magic")), 0);
    ck_assert_int_eq(symlink("sub", host_path("inside")), 0);
    for (const char *const *name = (const char *const[]){"root", "up", "leak", "magic", "inside", NULL}; *name;
         name++) {
        ck_assert_int_eq(walk(ROOT, 2, *name), 0);
        p9_u16(&in);
        ck_assert_uint_eq(p9_u8(&in), 0x02);
        ck_assert_int_eq(walk(2, 3, "secret"), ENOTDIR);
        ck_assert_int_eq(walk(2, 3, "share"), ENOTDIR);
        ck_assert_int_eq(lopen(2, 0), ELOOP);
        ck_assert_int_eq(REQUEST(P9_TSETATTR, "4444488888", N(2), N(8), N(0), N(0), N(0), N(0), N(0), N(0), N(0), N(0)),
                         ELOOP); /* its size */
        ck_assert_int_eq(
            REQUEST(P9_TSETATTR, "4444488888", N(2), N(1), N(0777), N(0), N(0), N(0), N(0), N(0), N(0), N(0)), ELOOP);
        ck_assert_int_eq(REQUEST(P9_TLINK, "44s", N(ROOT), N(2), "hard"), ELOOP);
        ck_assert_int_eq(REQUEST(P9_TREADLINK, "4", N(2)), 0);
        p9_string(&in, target, sizeof(target));
        ck_assert_uint_gt(strlen(target), 0);
        clunk(2);
        expect_no_secret(ROOT, *name);
        /* Creating through one does not either. */
        attach(4);
        ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(4), *name, N(2), N(0644), N(0)), ELOOP);
        clunk(4);
    }
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TREADLINK, "4", N(2)), EINVAL);
}
END_TEST

START_TEST(devices_fifos_and_sockets_are_not_opened)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mkfifo(host_path("fifo"), 0666), 0);
    strcpy(address.sun_path, host_path("socket"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    bool device = mknod(host_path("device"), S_IFCHR | 0666, 1 << 8 | 3) == 0; /* as root only */
    for (const char *const *name = (const char *const[]){"fifo", "socket", device ? "device" : "fifo", NULL}; *name;
         name++) {
        ck_assert_int_eq(walk(ROOT, 2, *name), 0);
        ck_assert_int_eq(lopen(2, 0), EPERM);
        ck_assert_int_eq(lopen(2, 1), EPERM);
        ck_assert_int_eq(REQUEST(P9_TGETATTR, "48", N(2), N(0x7ff)), 0);
        clunk(2);
        attach(4);
        ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(4), *name, N(2), N(0644), N(0)), EPERM);
        clunk(4);
    }
    static const uint64_t kinds[] = {S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFDIR, S_IFLNK};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        ck_assert_int_eq(REQUEST(P9_TMKNOD, "4s4444", N(ROOT), "new", kinds[i] | 0644, N(1), N(3), N(0)), EPERM);
    ck_assert_int_eq(REQUEST(P9_TMKNOD, "4s4444", N(ROOT), "new", N(S_IFREG | 0644), N(0), N(0), N(0)), 0);
    close(fd);
}
END_TEST

START_TEST(bits_that_lend_rights_are_not_set)
{
    struct stat st;

    attach(2);
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(2), "new", N(2), N(06755), N(getgid())), 0);
    ck_assert_int_eq(stat(host_path("new"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 06000, 0);
    ck_assert_int_eq(REQUEST(P9_TSETATTR, "4444488888", N(2), N(1), N(06777), N(0), N(0), N(0), N(0), N(0), N(0), N(0)),
                     0);
    ck_assert_int_eq(stat(host_path("new"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0777);
}
END_TEST

/* A directory and a link that leads out change places all the time; nothing outside is ever seen. */
static _Atomic bool racing;

static void *swap_places(void *opaque)
{
    char a[256], b[256];

    strcpy(a, host_path("race"));
    strcpy(b, host_path("other"));
    while (racing)
        (void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
    return NULL;
}

START_TEST(races_do_not_lead_out)
{
    pthread_t thread;
    unsigned found = 0, refused = 0;
    char text[64];

    ck_assert_int_eq(mkdir(host_path("race"), 0755), 0);
    write_host(host_path("race/secret"), "public");
    ck_assert_int_eq(symlink("..", host_path("other")), 0);
    racing = true;
    ck_assert_int_eq(pthread_create(&thread, NULL, swap_places, NULL), 0);
    for (unsigned i = 0; i < 20000; i++) {
        int rc = REQUEST(P9_TWALK, "442ss", N(ROOT), N(2), N(2), "race", "secret");
        if (rc || p9_u16(&in) < 2) {
            refused++;
        } else {
            ck_assert_int_eq(lopen(2, 0), 0);
            ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(0), N(60)), 0);
            memset(text, 0, sizeof(text));
            memcpy(text, in.at + 4, in.left - 4);
            ck_assert_str_eq(text, "public");
            clunk(2);
            found++;
        }
        attach(3);
        rc = REQUEST(P9_TLCREATE, "4s444", N(3), "race", N(01002), N(0644), N(0));
        ck_assert(rc == EISDIR || rc == ELOOP);
        clunk(3);
    }
    racing = false;
    pthread_join(thread, NULL);
    ck_assert_uint_gt(found, 0);
    ck_assert_uint_gt(refused, 0);
    char secret[128];
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    struct stat st;
    ck_assert_int_eq(stat(secret, &st), 0);
    ck_assert_uint_eq(st.st_size, 6);
}
END_TEST

/* ---- files ---- */

START_TEST(created_file_is_written_read_and_truncated)
{
    char text[64];
    struct stat st;

    attach(2);
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(2), "new", N(0102), N(0640), N(getgid())), 0);
    p9_take(&in, 13);
    ck_assert_uint_eq(p9_u32(&in), 65536 - 23);
    begin(P9_TWRITE);
    put("484", N(2), N(3), N(5));
    p9_put(&out, "world", 5);
    ck_assert_int_eq(transact(), 0);
    ck_assert_uint_eq(p9_u32(&in), 5);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(0), N(100)), 0);
    ck_assert_uint_eq(p9_u32(&in), 8);
    ck_assert_mem_eq(in.at, "\0\0\0world", 8);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(8), N(100)), 0);
    ck_assert_uint_eq(p9_u32(&in), 0);
    ck_assert_int_eq(REQUEST(P9_TFSYNC, "44", N(2), N(0)), 0);
    ck_assert_int_eq(REQUEST(P9_TFSYNC, "44", N(2), N(1)), 0);
    ck_assert_int_eq(REQUEST(P9_TSETATTR, "4444488888", N(2), N(8), N(0), N(0), N(0), N(4), N(0), N(0), N(0), N(0)), 0);
    ck_assert_int_eq(stat(host_path("new"), &st), 0);
    ck_assert_uint_eq(st.st_size, 4);
    /* Unlinked, it is still there for who has it open. */
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "new", N(0)), 0);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(3), N(100)), 0);
    ck_assert_uint_eq(p9_u32(&in), 1);
    ck_assert_int_eq(read_file(ROOT, "new", text, sizeof(text)), ENOENT);
    attach(3);
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(3), "file", N(0302), N(0640), N(0)), EEXIST); /* O_EXCL */
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(3), "file", N(0102), N(0640), N(getgid())), 0);
    ck_assert_int_eq(read_file(ROOT, "file", text, sizeof(text)), 0);
    ck_assert_str_eq(text, "hello");
}
END_TEST

START_TEST(offsets_and_counts_that_cannot_be_are_refused)
{
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(0), N(5)), EBADF); /* not open */
    ck_assert_int_eq(lopen(2, 2), 0);
    ck_assert_int_eq(lopen(2, 2), EBUSY);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), UINT64_MAX, N(5)), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TWRITE, "484", N(2), N(0), N(5)), EINVAL); /* no data */
    ck_assert_int_eq(REQUEST(P9_TWRITE, "484", N(2), N(0), N(0xffffffff)), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(2), N(0), N(0xffffffff)), 0); /* as much as fits */
    ck_assert_uint_eq(p9_u32(&in), 5);
    ck_assert_int_eq(REQUEST(P9_TREADDIR, "484", N(2), N(0), N(1000)), ENOTDIR);
    ck_assert_int_eq(
        REQUEST(P9_TSETATTR, "4444488888", N(2), N(8), N(0), N(0), N(0), UINT64_MAX, N(0), N(0), N(0), N(0)), EFBIG);
}
END_TEST

static void expect_names(uint32_t count, const char *const *names)
{
    unsigned seen = 0, total = 0;
    uint64_t offset = 0;

    ck_assert_int_eq(lopen(2, 0200000), 0);
    for (;;) {
        ck_assert_int_eq(REQUEST(P9_TREADDIR, "484", N(2), offset, N(count)), 0);
        uint32_t bytes = p9_u32(&in);
        ck_assert_uint_le(bytes, count);
        ck_assert_uint_eq(bytes, in.left);
        if (!bytes)
            break;
        while (in.left) {
            char name[256];
            p9_take(&in, 13);
            offset = p9_u64(&in);
            p9_u8(&in);
            p9_string(&in, name, sizeof(name));
            ck_assert(!in.bad);
            for (const char *const *want = names; *want; want++)
                seen += strcmp(*want, name) == 0;
            total++;
        }
    }
    unsigned wanted = 0;
    while (names[wanted])
        wanted++;
    ck_assert_uint_eq(seen, wanted);
    ck_assert_uint_eq(total, wanted + 2); /* . and .. */
}

START_TEST(directories_are_read_in_pieces_of_any_size)
{
    static const uint32_t counts[] = {300, 100, 65536};

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(ROOT), N(2), N(0)), 0);
        expect_names(counts[i], (const char *const[]){"file", "sub", NULL});
        clunk(2);
    }
    ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(ROOT), N(2), N(0)), 0);
    ck_assert_int_eq(lopen(2, 0), 0);
    ck_assert_int_eq(REQUEST(P9_TREADDIR, "484", N(2), N(0), N(10)), EINVAL); /* not one fits */
}
END_TEST

START_TEST(large_directory_has_each_name_once)
{
    char names[500][16];
    const char *list[501] = {NULL};

    for (unsigned i = 0; i < 500; i++) {
        snprintf(names[i], sizeof(names[i]), "name-%u", i);
        char path[256];
        snprintf(path, sizeof(path), "%s/sub/%s", share_path, names[i]);
        write_host(path, "");
        list[i] = names[i];
    }
    unlink(host_path("sub/inner"));
    ck_assert_int_eq(walk(ROOT, 2, "sub"), 0);
    expect_names(4096, list);
}
END_TEST

START_TEST(entries_are_made_renamed_linked_and_removed)
{
    struct stat a, b;
    char text[64];

    ck_assert_int_eq(REQUEST(P9_TMKDIR, "4s44", N(ROOT), "new", N(0755), N(getgid())), 0);
    ck_assert_uint_eq(p9_u8(&in), 0x80);
    ck_assert_int_eq(REQUEST(P9_TMKDIR, "4s44", N(ROOT), "new", N(0755), N(0)), EEXIST);
    ck_assert_int_eq(walk(ROOT, 2, "new"), 0);
    ck_assert_int_eq(walk(ROOT, 3, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TLINK, "44s", N(2), N(3), "second"), 0);
    ck_assert_int_eq(stat(host_path("file"), &a), 0);
    ck_assert_int_eq(stat(host_path("new/second"), &b), 0);
    ck_assert_uint_eq(a.st_ino, b.st_ino);
    ck_assert_int_eq(REQUEST(P9_TSYMLINK, "4ss4", N(2), "link", "../../anything", N(getgid())), 0);
    ck_assert_uint_eq(p9_u8(&in), 0x02);
    ck_assert_int_eq(REQUEST(P9_TRENAMEAT, "4s4s", N(2), "second", N(ROOT), "moved"), 0);
    ck_assert_int_eq(read_file(ROOT, "moved", text, sizeof(text)), 0);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "new", N(0)), EISDIR);
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "new", N(0x200)), ENOTEMPTY);
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(2), "link", N(0)), 0);
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "new", N(0x200)), 0);
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "file", N(1)), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TREMOVE, "4", N(3)), EOPNOTSUPP);
    ck_assert_int_eq(clunk(3), EBADF);
    ck_assert_int_eq(REQUEST(P9_TRENAME, "44s", N(2), N(ROOT), "x"), EOPNOTSUPP);
}
END_TEST

START_TEST(attributes_and_file_system_are_the_hosts)
{
    struct stat st;

    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TSETATTR, "4444488888", N(2), N(1 | 16 | 32 | 128 | 256), N(0604), N(0), N(0), N(0),
                             N(111), N(222), N(333), N(444)),
                     0);
    ck_assert_int_eq(stat(host_path("file"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0604);
    ck_assert_int_eq(st.st_atim.tv_sec, 111);
    ck_assert_int_eq(st.st_mtim.tv_nsec, 444);
    ck_assert_int_eq(REQUEST(P9_TGETATTR, "48", N(2), N(0x7ff)), 0);
    ck_assert_uint_eq(in.left, 153);
    ck_assert_uint_eq(p9_u64(&in), 0x7ff);
    p9_take(&in, 13);
    ck_assert_uint_eq(p9_u32(&in), st.st_mode);
    ck_assert_uint_eq(p9_u32(&in), st.st_uid);
    p9_take(&in, 4 + 8 + 8);
    ck_assert_uint_eq(p9_u64(&in), 5);
    ck_assert_int_eq(
        REQUEST(P9_TSETATTR, "4444488888", N(2), N(32 | 256), N(0), N(0), N(0), N(0), N(0), N(0), N(0), N(1000000000)),
        EINVAL);
    ck_assert_int_eq(REQUEST(P9_TSTATFS, "4", N(ROOT)), 0);
    ck_assert_uint_eq(in.left, 4 + 4 + 6 * 8 + 4);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "user.x"), ENODATA);
}
END_TEST

static int xattr_create(uint32_t fid, const char *name, uint64_t size, uint32_t flags)
{
    return REQUEST(P9_TXATTRCREATE, "4s84", N(fid), name, N(size), N(flags));
}

static int xattr_write(uint32_t fid, uint64_t offset, const char *text)
{
    begin(P9_TWRITE);
    put("484", N(fid), N(offset), N(strlen(text)));
    p9_put(&out, text, strlen(text));
    return transact();
}

/* What is behind a fid from an offset on. */
static const char *xattr_read(uint32_t fid, uint64_t offset, uint32_t count, uint32_t *len)
{
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(fid), N(offset), N(count)), 0);
    *len = p9_u32(&in);
    return (const char *)p9_take(&in, *len);
}

START_TEST(extended_attributes_of_users_are_the_files)
{
    char value[64];
    uint32_t len;

    write_host(host_path("file"), "content");
    if (setxattr(host_path("file"), "user.first", "one", 3, 0))
        return; /* this file system has none */
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "user.first"), 0);
    ck_assert_uint_eq(p9_u64(&in), 3);
    ck_assert_mem_eq(xattr_read(3, 0, 100, &len), "one", 3);
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(xattr_read(3, 1, 1, &len), "n", 1);
    ck_assert_uint_eq(len, 1);
    (void)xattr_read(3, UINT32_MAX, 1, &len);
    ck_assert_uint_eq(len, 0);
    ck_assert_int_eq(xattr_write(3, 3, "x"), EINVAL); /* it is for reading */
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "user.first"), EEXIST);
    ck_assert_int_eq(clunk(3), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "user.none"), ENODATA);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "security.capability"), EOPNOTSUPP);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), "user."), EOPNOTSUPP);
    ck_assert_int_eq(clunk(3), EBADF);
    /* Written in pieces, stored when the fid goes. */
    ck_assert_int_eq(walk(2, 4, "."), EINVAL);
    ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(2), N(4), N(0)), 0);
    ck_assert_int_eq(xattr_create(4, "user.second", 6, 0), 0);
    ck_assert_int_eq(xattr_create(4, "user.second", 6, 0), EBADF);
    ck_assert_int_eq(lopen(4, 0), EBUSY);
    ck_assert_int_eq(xattr_write(4, 1, "b"), EINVAL);
    ck_assert_int_eq(xattr_write(4, 0, "abc"), 0);
    ck_assert_int_eq(xattr_write(4, 3, "defg"), EINVAL);
    ck_assert_int_eq(xattr_write(4, 3, "def"), 0);
    ck_assert_int_eq(getxattr(host_path("file"), "user.second", value, sizeof(value)), -1);
    ck_assert_int_eq(clunk(4), 0);
    ck_assert_int_eq(getxattr(host_path("file"), "user.second", value, sizeof(value)), 6);
    ck_assert_mem_eq(value, "abcdef", 6);
    /* Their names. */
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(3), ""), 0);
    const char *names = xattr_read(3, 0, 1000, &len);
    ck_assert_uint_eq(len, strlen("user.first") + strlen("user.second") + 2);
    ck_assert_ptr_nonnull(memmem(names, len, "user.second", 12));
    ck_assert_int_eq(clunk(3), 0);
    /* Not all of it came: nothing changes. Nothing at all: it is removed. */
    ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(2), N(4), N(0)), 0);
    ck_assert_int_eq(xattr_create(4, "user.second", 6, 0), 0);
    ck_assert_int_eq(clunk(4), EINVAL);
    ck_assert_int_eq(getxattr(host_path("file"), "user.second", value, sizeof(value)), 6);
    ck_assert_int_eq(REQUEST(P9_TWALK, "442", N(2), N(4), N(0)), 0);
    ck_assert_int_eq(xattr_create(4, "user.second", 0, XATTR_REPLACE), 0);
    ck_assert_int_eq(clunk(4), 0);
    ck_assert_int_eq(getxattr(host_path("file"), "user.second", value, sizeof(value)), -1);
    ck_assert_int_eq(xattr_create(2, "trusted.x", 1, 0), EOPNOTSUPP);
    ck_assert_int_eq(xattr_create(2, "user.x", 65537, 0), E2BIG);
    ck_assert_int_eq(xattr_create(2, "user.x", 1, 77), EINVAL);
    /* Not of what is neither file nor directory. */
    ck_assert_int_eq(symlink("file", host_path("link")), 0);
    ck_assert_int_eq(walk(ROOT, 5, "link"), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(5), N(6), "user.first"), EOPNOTSUPP);
    /* So many at a time. */
    for (uint32_t i = 0; i < 64; i++)
        ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(100 + i), "user.first"), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(99), "user.first"), EMFILE);
    ck_assert_int_eq(clunk(100), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(99), "user.first"), 0);
    restart(true, false);
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(xattr_create(2, "user.x", 1, 0), EROFS);
}
END_TEST

START_TEST(locks_are_those_of_the_open_file)
{
    for (uint32_t fid = 2; fid < 4; fid++) {
        ck_assert_int_eq(walk(ROOT, fid, "file"), 0);
        ck_assert_int_eq(lopen(fid, 2), 0);
    }
#define LOCK(fid, type, start, len) \
    REQUEST(P9_TLOCK, "414884s", N(fid), N(type), N(1), N(start), N(len), N(77), "guest")
    ck_assert_int_eq(LOCK(2, 1, 0, 0), 0);
    ck_assert_uint_eq(p9_u8(&in), 0);
    ck_assert_int_eq(LOCK(3, 1, 2, 1), 0);
    ck_assert_uint_eq(p9_u8(&in), 1); /* blocked: asked again by the client */
    ck_assert_int_eq(REQUEST(P9_TGETLOCK, "41884s", N(3), N(1), N(0), N(0), N(77), "guest"), 0);
    ck_assert_uint_eq(p9_u8(&in), 1);
    ck_assert_int_eq(LOCK(2, 2, 0, 0), 0);
    ck_assert_int_eq(LOCK(3, 1, 2, 1), 0);
    ck_assert_uint_eq(p9_u8(&in), 0);
    ck_assert_int_eq(LOCK(3, 3, 0, 0), EINVAL);
    ck_assert_int_eq(LOCK(3, 1, UINT64_MAX, 1), EINVAL);
    ck_assert_int_eq(LOCK(3, 1, 1, INT64_MAX), EINVAL);
}
END_TEST

START_TEST(read_only_share_changes_nothing)
{
    char text[64];

    restart(true, false);
    ck_assert_int_eq(read_file(ROOT, "file", text, sizeof(text)), 0);
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(walk(ROOT, 3, "sub"), 0);
    ck_assert_int_eq(lopen(2, 1), EROFS);
    ck_assert_int_eq(lopen(2, 2), EROFS);
    ck_assert_int_eq(lopen(2, 01000), EROFS);
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(3), "x", N(2), N(0644), N(0)), EROFS);
    ck_assert_int_eq(REQUEST(P9_TLCREATE, "4s444", N(ROOT), "file", N(0), N(0644), N(0)), EROFS);
    ck_assert_int_eq(REQUEST(P9_TMKDIR, "4s44", N(3), "x", N(0755), N(0)), EROFS);
    ck_assert_int_eq(REQUEST(P9_TSYMLINK, "4ss4", N(3), "x", "y", N(0)), EROFS);
    ck_assert_int_eq(REQUEST(P9_TMKNOD, "4s4444", N(3), "x", N(0100644), N(0), N(0), N(0)), EROFS);
    ck_assert_int_eq(REQUEST(P9_TLINK, "44s", N(3), N(2), "x"), EROFS);
    ck_assert_int_eq(REQUEST(P9_TRENAMEAT, "4s4s", N(ROOT), "file", N(3), "x"), EROFS);
    ck_assert_int_eq(REQUEST(P9_TUNLINKAT, "4s4", N(ROOT), "file", N(0)), EROFS);
    for (uint64_t valid = 1; valid < 64; valid <<= 1)
        ck_assert_int_eq(
            REQUEST(P9_TSETATTR, "4444488888", N(2), valid, N(0), N(0), N(0), N(0), N(0), N(0), N(0), N(0)), EROFS);
}
END_TEST

START_TEST(squash_shows_one_owner)
{
    restart(false, true);
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(REQUEST(P9_TGETATTR, "48", N(2), N(0x7ff)), 0);
    p9_take(&in, 8 + 13 + 4);
    ck_assert_uint_eq(p9_u32(&in), 1234);
    ck_assert_uint_eq(p9_u32(&in), 5678);
    ck_assert_int_eq(
        REQUEST(P9_TSETATTR, "4444488888", N(2), N(6), N(0), N(1234), N(5678), N(0), N(0), N(0), N(0), N(0)), 0);
    ck_assert_int_eq(REQUEST(P9_TSETATTR, "4444488888", N(2), N(2), N(0), N(1), N(0), N(0), N(0), N(0), N(0), N(0)),
                     EPERM);
}
END_TEST

/* ---- what is no message ---- */

START_TEST(messages_cut_anywhere_are_errors)
{
    static const struct {
        uint8_t type;
        const char *shape;
    } shapes[] = {{P9_TWALK, "442s"},      {P9_TLCREATE, "4s444"}, {P9_TREAD, "484"},     {P9_TWRITE, "484"},
                  {P9_TRENAMEAT, "4s4s"},  {P9_TATTACH, "44ss4"},  {P9_TVERSION, "4s"},   {P9_TSETATTR, "4444488888"},
                  {P9_TGETLOCK, "41884s"}, {P9_TLINK, "44s"},      {P9_TMKDIR, "4s44"},   {P9_TSYMLINK, "4ss4"},
                  {P9_TUNLINKAT, "4s4"},   {P9_TREADDIR, "484"},   {P9_TLOCK, "414884s"}, {P9_TGETATTR, "48"}};

    int before = dup(0), after;
    close(before);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (size_t len = P9_HEADER_BYTES;; len++) {
            begin(shapes[i].type);
            for (const char *c = shapes[i].shape; *c; c++)
                *c == 's' ? put("s", "name") : put((char[]){*c, 0}, N(0x7f7f));
            if (len >= out.len)
                break;
            out.len = len;
            ck_assert_msg(transact() != 0, "type %u of %zu bytes", shapes[i].type, len);
        }
    }
    after = dup(0); /* the lowest free number: none was left open */
    close(after);
    ck_assert_int_eq(after, before);
}
END_TEST

START_TEST(sizes_that_lie_are_no_messages)
{
    uint8_t bytes[32] = {0};
    struct iovec iov = {bytes, sizeof(bytes)}, small = {answer, 10};
    struct p9_buffers request = {&iov, 1, sizeof(bytes)}, reply = {&iov, 1, sizeof(bytes)}, tiny = {&small, 1, 10};
    static const uint32_t sizes[] = {0, 6, 33, 0xffffffff};

    bytes[4] = P9_TCLUNK;
    for (size_t i = 0; i < 4; i++) {
        memcpy(bytes, &sizes[i], 4);
        ck_assert_int_eq(p9_server_handle(server, &request, &reply), -EINVAL);
    }
    bytes[0] = 11;
    memset(bytes + 1, 0, 3);
    ck_assert_int_eq(p9_server_handle(server, &request, &tiny), -EINVAL);
    request.len = iov.iov_len = 6;
    ck_assert_int_eq(p9_server_handle(server, &request, &tiny), -EINVAL);
}
END_TEST

START_TEST(reply_without_room_is_an_error)
{
    struct iovec iov = {message, 0}, room = {answer, 11};
    struct p9_buffers request = {&iov, 1, 0}, reply = {&room, 1, 11};

    begin(P9_TGETATTR);
    put("48", N(ROOT), N(0));
    iov.iov_len = request.len = out.len;
    message[0] = (uint8_t)out.len;
    ck_assert_int_eq(p9_server_handle(server, &request, &reply), 11);
    ck_assert_uint_eq(answer[4], P9_RLERROR);
    ck_assert_uint_eq(answer[7], EMSGSIZE);
}
END_TEST

/* ---- snapshots ---- */

/* A second server, as that of a restored machine, with the first one's session. */
static unsigned go_on(void)
{
    struct p9_saved saved;

    ck_assert_int_eq(p9_server_save(server, &saved), 0);
    restart(false, false);
    p9_server_reset(server);
    unsigned lost = p9_server_load(server, &saved);
    ck_assert_uint_eq(saved.count, lost + fids());
    p9_saved_free(&saved);
    return lost;
}

static void expect_bytes(uint32_t fid, const char *text)
{
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(fid), N(0), N(100)), 0);
    ck_assert_uint_eq(p9_u32(&in), strlen(text));
    ck_assert_mem_eq(in.at, text, strlen(text));
}

START_TEST(session_goes_on_from_what_was_saved)
{
    char text[32];

    ck_assert_int_eq(walk(ROOT, 2, "sub"), 0);
    ck_assert_int_eq(walk(2, 3, "inner"), 0);
    ck_assert_int_eq(lopen(3, 02 | 02000), 0); /* O_RDWR | O_APPEND */
    ck_assert_int_eq(walk(ROOT, 4, "file"), 0);
    ck_assert_int_eq(lopen(4, 01000), 0); /* O_TRUNC, which counted once */
    write_host(host_path("file"), "again");
    ck_assert_int_eq(walk(ROOT, 5, "sub"), 0);
    ck_assert_int_eq(lopen(5, 0200000), 0);
    ck_assert_int_eq(rename(host_path("sub"), host_path("moved")), 0);
    ck_assert_uint_eq(go_on(), 0);
    ck_assert_uint_eq(fids(), 5);
    expect_bytes(3, "inner");
    expect_bytes(4, "again");
    ck_assert_int_eq(REQUEST(P9_TWRITE, "4841", N(3), N(0), N(1), N('!')), 0);
    expect_bytes(3, "inner!");
    ck_assert_int_eq(REQUEST(P9_TREADDIR, "484", N(5), N(0), N(1000)), 0);
    ck_assert_uint_gt(p9_u32(&in), 3 * 24);
    ck_assert_int_eq(read_file(2, "inner", text, sizeof(text)), 0);
    ck_assert_str_eq(text, "inner!");
    ck_assert_int_eq(read_file(ROOT, "file", text, sizeof(text)), 0);
    ck_assert_int_eq(lopen(3, 0), EBUSY);
    /* The size of messages is the session's, too. */
    ck_assert_int_eq(REQUEST(P9_TREAD, "484", N(4), N(0), N(60000)), 0);
}
END_TEST

START_TEST(files_that_are_gone_or_others_are_lost)
{
    struct p9_saved saved;

    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
    ck_assert_int_eq(walk(ROOT, 3, "sub"), 0);
    ck_assert_int_eq(walk(3, 4, "inner"), 0);
    ck_assert_int_eq(lopen(4, 0), 0);
    ck_assert_int_eq(REQUEST(P9_TXATTRWALK, "44s", N(2), N(5), ""), 0);
    ck_assert_int_eq(p9_server_save(server, &saved), 0);
    ck_assert_uint_eq(saved.count, 4); /* an attribute is not kept */
    /* One is removed while it is in use, one gives way to another, one is behind a link now that leads out. */
    char elsewhere[128];
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", dir);
    ck_assert_int_eq(rename(host_path("sub"), elsewhere), 0);
    ck_assert_int_eq(symlink(elsewhere, host_path("sub")), 0);
    write_host(host_path("new"), "secret");
    ck_assert_int_eq(rename(host_path("new"), host_path("file")), 0);
    restart(false, false);
    p9_server_reset(server);
    ck_assert_uint_eq(p9_server_load(server, &saved), 3);
    ck_assert_uint_eq(fids(), 1);
    p9_saved_free(&saved);
    for (uint32_t fid = 2; fid <= 5; fid++)
        ck_assert_int_eq(clunk(fid), EBADF);
    ck_assert_int_eq(walk(ROOT, 2, "file"), 0);
}
END_TEST

START_TEST(saved_paths_never_lead_out)
{
    static const char *const paths[] = {"..",         "sub/..", "../secret",  "/etc/passwd",
                                        "sub//inner", "./file", "link/secret"};

    ck_assert_int_eq(symlink(dir, host_path("link")), 0);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(paths); i++) {
        struct stat st;
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", share_path, paths[i]);
        uint32_t id = 9, uid = 0, flags = P9_SAVED_CLOSED, end = (uint32_t)strlen(paths[i]);
        uint64_t inode = stat(path, &st) ? 1 : st.st_ino;
        char copy[32];
        strcpy(copy, paths[i]);
        struct p9_saved saved = {.msize = 65536,
                                 .count = 1,
                                 .ids = &id,
                                 .uids = &uid,
                                 .flags = &flags,
                                 .path_ends = &end,
                                 .inodes = &inode,
                                 .paths = copy};
        p9_server_reset(server);
        ck_assert_msg(p9_server_load(server, &saved) == 1, "%s", paths[i]);
    }
}
END_TEST

START_TEST(what_cannot_be_shared_is_reported)
{
    struct p9_server *other;
    struct error err;

    for (const char *const *path = (const char *const[]){"/nonexistent", "/etc/passwd", "", NULL}; *path; path++) {
        struct share_config config = {.path = *path};
        ck_assert_int_lt(p9_server_create(&config, &other, &err), 0);
        ck_assert_ptr_nonnull(strstr(err.text, *path));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("p9_server");
    TCase *tcase = tcase_create("p9_server");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, version_settles_the_size_and_forgets_fids);
    tcase_add_test(tcase, attach_gives_the_directory_once_a_fid);
    tcase_add_test(tcase, fids_are_bounded);
    tcase_add_test(tcase, walk_goes_as_far_as_names_lead);
    tcase_add_test(tcase, names_never_lead_out);
    tcase_add_test(tcase, symbolic_links_are_the_guests_to_follow);
    tcase_add_test(tcase, devices_fifos_and_sockets_are_not_opened);
    tcase_add_test(tcase, bits_that_lend_rights_are_not_set);
    tcase_add_test(tcase, races_do_not_lead_out);
    tcase_add_test(tcase, created_file_is_written_read_and_truncated);
    tcase_add_test(tcase, offsets_and_counts_that_cannot_be_are_refused);
    tcase_add_test(tcase, directories_are_read_in_pieces_of_any_size);
    tcase_add_test(tcase, large_directory_has_each_name_once);
    tcase_add_test(tcase, entries_are_made_renamed_linked_and_removed);
    tcase_add_test(tcase, attributes_and_file_system_are_the_hosts);
    tcase_add_test(tcase, extended_attributes_of_users_are_the_files);
    tcase_add_test(tcase, locks_are_those_of_the_open_file);
    tcase_add_test(tcase, read_only_share_changes_nothing);
    tcase_add_test(tcase, squash_shows_one_owner);
    tcase_add_test(tcase, messages_cut_anywhere_are_errors);
    tcase_add_test(tcase, sizes_that_lie_are_no_messages);
    tcase_add_test(tcase, reply_without_room_is_an_error);
    tcase_add_test(tcase, session_goes_on_from_what_was_saved);
    tcase_add_test(tcase, files_that_are_gone_or_others_are_lost);
    tcase_add_test(tcase, saved_paths_never_lead_out);
    tcase_add_test(tcase, what_cannot_be_shared_is_reported);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
