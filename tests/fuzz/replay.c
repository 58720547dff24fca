/* Stands in for libFuzzer in ordinary builds: runs a fuzz target over the files of its corpus and over mutations of
 * them.
 *
 *   <target> [--mutations N] PATH...     files or directories; those that do not exist count as empty
 *
 * With TUFF_FUZZ_SECONDS=N it goes on behind the last mutation until so many seconds have passed. The mutations are the
 * same in every run, however far it gets. A finding is a crash, as with libFuzzer; the input is then the one whose
 * number was printed last with TUFF_FUZZ_VERBOSE set.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 1 << 20, RANDOM_BYTES_MAX = 512 };

struct input {
    uint8_t *bytes;
    size_t len;
};

static struct {
    struct input inputs[INPUTS_MAX];
    size_t count;
} corpus;

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % bound;
}

/* libFuzzer hands out exact heap copies, so that a sanitizer sees a read past the end. */
static void run_copy(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        exit(1);
    memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || corpus.count == INPUTS_MAX) {
        fprintf(stderr, "cannot read '%s', or the corpus is too large\n", path);
        exit(1);
    }
    struct input *input = &corpus.inputs[corpus.count++];
    input->bytes = malloc(INPUT_BYTES_MAX);
    if (!input->bytes)
        exit(1);
    input->len = fread(input->bytes, 1, INPUT_BYTES_MAX, file);
    fclose(file);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void add_path(const char *path)
{
    struct stat info;
    if (stat(path, &info))
        return;
    if (!S_ISDIR(info.st_mode)) {
        add_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        add_path(name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static size_t random_bytes(uint8_t *out)
{
    size_t len = random_below(RANDOM_BYTES_MAX);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)random_below(256);
    return len;
}

static void change_somewhere(uint8_t *bytes, size_t len)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff};
    size_t at = random_below((uint32_t)len);
    switch (random_below(4)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        bytes[at] = telling[random_below(sizeof(telling))];
        break;
    case 2:
        bytes[at] = (uint8_t)random_below(256);
        break;
    default: /* a whole field of ones or zeros */
        for (size_t i = at & ~(size_t)3; i < len && i < (at & ~(size_t)3) + 4; i++)
            bytes[i] = random_below(2) ? 0xff : 0;
        break;
    }
}

static size_t mutate(const struct input *from, uint8_t *out)
{
    size_t len = from->len;
    memcpy(out, from->bytes, len);
    if (len > 0 && random_below(4) == 0)
        len = random_below((uint32_t)len + 1);
    for (unsigned i = 0; len > 0 && i <= random_below(8); i++)
        change_somewhere(out, len);
    return len;
}

static void write_file(const char *path, const uint8_t *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file)) {
        fprintf(stderr, "cannot write '%s'\n", path);
        exit(1);
    }
}

/* Returns how many there were. */
static long run_mutations(long count)
{
    const char *seconds = getenv("TUFF_FUZZ_SECONDS");
    time_t until = time(NULL) + (seconds ? strtol(seconds, NULL, 10) : 0);
    const char *keep = getenv("TUFF_FUZZ_KEEP");
    uint8_t *buffer = malloc(INPUT_BYTES_MAX);
    if (!buffer)
        exit(1);
    long done = 0;
    for (; done < count || (seconds && time(NULL) < until); done++) {
        /* One in four from nothing, the rest from the corpus. */
        size_t len = corpus.count == 0 || random_below(4) == 0
                         ? random_bytes(buffer)
                         : mutate(&corpus.inputs[random_below((uint32_t)corpus.count)], buffer);
        if (keep)
            write_file(keep, buffer, len);
        run_copy(buffer, len);
    }
    free(buffer);
    return done;
}

int main(int argc, char **argv)
{
    long mutations = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc)
            mutations = strtol(argv[++i], NULL, 10);
        else
            add_path(argv[i]);
    }
    run_copy((const uint8_t *)"", 0);
    for (size_t i = 0; i < corpus.count; i++)
        run_copy(corpus.inputs[i].bytes, corpus.inputs[i].len);
    mutations = run_mutations(mutations);
    printf("%zu files, %ld mutations\n", corpus.count, mutations);
    for (size_t i = 0; i < corpus.count; i++)
        free(corpus.inputs[i].bytes);
    return 0;
}
