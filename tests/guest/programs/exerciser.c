/* exerciser DIRECTORY OPERATIONS SEED: random operations on files of a directory, each compared with a model in memory:
 * what calls return, contents, lengths, lists of names, files that are removed or replaced while they are open. Ends
 * with 1 at the first difference. No second names of a file: Linux' 9P client has an inode for each, with a length of
 * its own. */
#include "guest.h"

enum {
    SYS_MKDIRAT = 34,
    SYS_UNLINKAT = 35,
    SYS_TRUNCATE = 45,
    SYS_CHDIR = 49,
    SYS_GETDENTS64 = 61,
    SYS_LSEEK = 62,
    SYS_RENAMEAT2 = 276,
    ENOENT_ = 2,
    EEXIST_ = 17,
    O_RDWR_ = 2,
    O_CREAT_ = 0100,
    O_DIRECTORY_ = 0200000,
    AT_REMOVEDIR_ = 0x200,

    DIRS = 3,
    NAMES = 24,
    INODES = 32,
    BYTES_MAX = 9000,
    HELD = 4,
    NONE = -1,
};

struct inode {
    unsigned users; /* names and held descriptors */
    unsigned size;
    uint8_t bytes[BYTES_MAX];
};

static struct inode inodes[INODES];
static int name_inode[NAMES];
static bool has_sub[DIRS];
static struct {
    int fd, inode;
} held[HELD];
static uint64_t state;
static uint8_t buf[BYTES_MAX + 1];

static unsigned pick(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 20) % below);
}

static const char *path_of(unsigned name)
{
    static char paths[2][8];
    static unsigned turn;
    char *path = paths[turn++ % 2];

    path[0] = 'd';
    path[1] = (char)('0' + name % DIRS);
    path[2] = '/';
    path[3] = (char)('a' + name);
    path[4] = '\0';
    return path;
}

static const char *sub_of(unsigned dir)
{
    static char path[] = "d0/sub";

    path[1] = (char)('0' + dir);
    return path;
}

static void expect(const char *what, long result, long wanted)
{
    if (result == wanted)
        return;
    uint8_t got[] = {(uint8_t)-result, (uint8_t)-wanted};
    say(what);
    say(": not as the model says, negated: ");
    say_hex(got, sizeof(got));
    say("\n");
    sys(SYS_EXIT, 1, 0, 0, 0, 0);
}

static long at(long number, const char *path, long c, long d)
{
    return sys(number, AT_FDCWD, (long)path, c, d, 0);
}

static int take_inode(void)
{
    for (int i = 0; i < INODES; i++) {
        if (!inodes[i].users) {
            inodes[i].users = 1;
            inodes[i].size = 0;
            return i;
        }
    }
    return NONE;
}

static void drop(int inode)
{
    if (inode != NONE)
        inodes[inode].users--;
}

static void resize(struct inode *inode, unsigned size)
{
    for (unsigned i = inode->size; i < size; i++)
        inode->bytes[i] = 0;
    inode->size = size;
}

static void check_fd(int fd, const struct inode *inode)
{
    unsigned len = 0;
    long got;

    expect("seek", sys(SYS_LSEEK, fd, 0, 0, 0, 0), 0);
    while ((got = sys(SYS_READ, fd, (long)buf + len, sizeof(buf) - len, 0, 0)) > 0)
        len += (unsigned)got;
    expect("read", got, 0);
    expect("length", len, inode->size);
    for (unsigned i = 0; i < len; i++) {
        if (buf[i] != inode->bytes[i])
            expect("contents", i, -1);
    }
}

static void do_write(unsigned name)
{
    if (name_inode[name] == NONE) {
        int made = take_inode();
        if (made == NONE)
            return;
        name_inode[name] = made;
    }
    struct inode *inode = &inodes[name_inode[name]];
    unsigned offset = pick(BYTES_MAX - 1000), len = 1 + pick(1000);
    int fd = (int)must("open to write", at(SYS_OPENAT, path_of(name), O_RDWR_ | O_CREAT_, 0644));
    if (offset + len > inode->size)
        resize(inode, offset + len);
    for (unsigned i = 0; i < len; i++)
        inode->bytes[offset + i] = (uint8_t)pick(256);
    expect("seek to write", sys(SYS_LSEEK, fd, offset, 0, 0, 0), offset);
    write_all(fd, inode->bytes + offset, len);
    must("close", sys(SYS_CLOSE, fd, 0, 0, 0, 0));
}

static void do_check(unsigned name)
{
    long fd = at(SYS_OPENAT, path_of(name), O_RDWR_, 0);

    if (name_inode[name] == NONE) {
        expect("open", fd, -ENOENT_);
        return;
    }
    check_fd((int)must("open", fd), &inodes[name_inode[name]]);
    must("close", sys(SYS_CLOSE, fd, 0, 0, 0, 0));
}

static void do_truncate(unsigned name)
{
    unsigned size = pick(BYTES_MAX);
    bool there = name_inode[name] != NONE;

    expect("truncate", sys(SYS_TRUNCATE, (long)path_of(name), size, 0, 0, 0), there ? 0 : -ENOENT_);
    if (there)
        resize(&inodes[name_inode[name]], size);
}

static void do_rename(unsigned from, unsigned to)
{
    int moved = name_inode[from], gone = name_inode[to];

    expect("rename", sys(SYS_RENAMEAT2, AT_FDCWD, (long)path_of(from), AT_FDCWD, (long)path_of(to), 0),
           moved == NONE ? -ENOENT_ : 0);
    if (moved == NONE || from == to)
        return;
    drop(gone);
    name_inode[to] = moved;
    name_inode[from] = NONE;
}

static void do_unlink(unsigned name)
{
    expect("unlink", at(SYS_UNLINKAT, path_of(name), 0, 0), name_inode[name] == NONE ? -ENOENT_ : 0);
    drop(name_inode[name]);
    name_inode[name] = NONE;
}

static void do_sub(unsigned dir, bool make)
{
    if (make)
        expect("mkdir", at(SYS_MKDIRAT, sub_of(dir), 0755, 0), has_sub[dir] ? -EEXIST_ : 0);
    else
        expect("rmdir", at(SYS_UNLINKAT, sub_of(dir), AT_REMOVEDIR_, 0), has_sub[dir] ? 0 : -ENOENT_);
    has_sub[dir] = make;
}

static void do_list(unsigned dir)
{
    static uint8_t entries[4096];
    char path[] = "d0";
    unsigned seen = 0, wanted = 2 + has_sub[dir];
    long got;

    path[1] = (char)('0' + dir);
    int fd = (int)must("open a directory", at(SYS_OPENAT, path, O_DIRECTORY_, 0));
    while ((got = must("list", sys(SYS_GETDENTS64, fd, (long)entries, sizeof(entries), 0, 0))) > 0) {
        for (long i = 0; i < got; i += entries[i + 16] | entries[i + 17] << 8)
            seen++;
    }
    must("close", sys(SYS_CLOSE, fd, 0, 0, 0, 0));
    for (unsigned i = dir; i < NAMES; i += DIRS)
        wanted += name_inode[i] != NONE;
    expect("number of names", seen, wanted);
}

/* What is held is compared and let go; then the file with the name is held, whatever becomes of the name. */
static void do_hold(unsigned which, unsigned name)
{
    if (held[which].inode != NONE) {
        check_fd(held[which].fd, &inodes[held[which].inode]);
        must("close", sys(SYS_CLOSE, held[which].fd, 0, 0, 0, 0));
        drop(held[which].inode);
    }
    held[which].inode = name_inode[name];
    if (name_inode[name] == NONE)
        return;
    inodes[name_inode[name]].users++;
    held[which].fd = (int)must("hold", at(SYS_OPENAT, path_of(name), O_RDWR_, 0));
}

static void operate(void)
{
    unsigned name = pick(NAMES);

    switch (pick(11)) {
    case 0:
    case 1:
    case 2:
        do_write(name);
        break;
    case 3:
    case 4:
        do_check(name);
        break;
    case 5:
        do_truncate(name);
        break;
    case 6:
        do_rename(name, pick(NAMES));
        break;
    case 7:
        do_unlink(name);
        break;
    case 8:
        do_sub(name % DIRS, pick(2));
        break;
    case 9:
        do_list(name % DIRS);
        break;
    default:
        do_hold(pick(HELD), name);
        break;
    }
}

int guest_main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint64_t operations = number(argv[2]);
    state = number(argv[3]) * 0x9e3779b97f4a7c15ull | 1;
    must("chdir", sys(SYS_CHDIR, (long)argv[1], 0, 0, 0, 0));
    for (unsigned i = 0; i < NAMES; i++)
        name_inode[i] = NONE;
    for (unsigned i = 0; i < HELD; i++)
        held[i].inode = NONE;
    for (char dir[] = "d0"; dir[1] < '0' + DIRS; dir[1]++)
        must("mkdir", at(SYS_MKDIRAT, dir, 0755, 0));
    while (operations--)
        operate();
    for (unsigned i = 0; i < HELD; i++)
        do_hold(i, 0);
    for (unsigned i = 0; i < NAMES; i++)
        do_check(i);
    for (unsigned i = 0; i < DIRS; i++)
        do_list(i);
    say("as the model says\n");
    return 0;
}
