/* What a file system does for many small files: metadata DIRECTORY COUNT. Prints "NAME OPERATIONS_A_SECOND" a line:
 * making, looking at, opening, listing, renaming and removing COUNT files of a fresh directory.
 * A static program of its own, which benchmarks/vm runs in the guest on a shared directory. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(int ok, const char *what)
{
    if (!ok) {
        printf("FAILED %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void make(int i)
{
    char name[32];

    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    check(fd >= 0 && write(fd, "text\n", 5) == 5 && close(fd) == 0, "make");
}

static void look(int i)
{
    char name[32];
    struct stat st;

    snprintf(name, sizeof(name), "f%d", i);
    check(stat(name, &st) == 0 && st.st_size == 5, "look");
}

static void read_back(int i)
{
    char name[32], buf[8];

    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && read(fd, buf, sizeof(buf)) == 5 && close(fd) == 0, "read");
}

static void rename_one(int i)
{
    char name[32], other[32];

    snprintf(name, sizeof(name), "f%d", i);
    snprintf(other, sizeof(other), "g%d", i);
    check(rename(name, other) == 0, "rename");
}

static void remove_one(int i)
{
    char name[32];

    snprintf(name, sizeof(name), "g%d", i);
    check(unlink(name) == 0, "remove");
}

static void list(int count)
{
    DIR *dir = opendir(".");
    int seen = 0;

    check(dir != NULL, "list");
    while (readdir(dir))
        seen++;
    closedir(dir);
    check(seen == count + 2, "list: another number of files");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*one)(int i);
    } steps[] = {{"9p-make", make},
                 {"9p-stat", look},
                 {"9p-read", read_back},
                 {"9p-rename", rename_one},
                 {"9p-remove", remove_one}};
    int count = argc == 3 ? atoi(argv[2]) : 0;

    check(count > 0 && mkdir(argv[1], 0755) == 0 && chdir(argv[1]) == 0, "arguments");
    for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++) {
        double start = now();
        for (int i = 0; i < count; i++)
            steps[s].one(i);
        printf("%s %.0f\n", steps[s].name, count / (now() - start));
        if (s == 2) {
            start = now();
            list(count);
            printf("9p-list %.0f\n", count / (now() - start));
        }
    }
    check(chdir("..") == 0 && rmdir(argv[1]) == 0, "the end");
    return 0;
}
