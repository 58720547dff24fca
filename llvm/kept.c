/* Objects to and from the store; see kept.h. An object has no address in it but by name, and the only name that differs
 * between runs is its function's, which a linker wants to be unique: it is stored as region_0000000000. */
#include "llvm/kept.h"

#include "base/log.h"
#include "engine/region/region.h"
#include "engine/region/shape.h"
#include "store/store.h"

#include <llvm/Config/llvm-config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool kept_by_this_llvm(void)
{
    unsigned major, minor, patch;

    LLVMGetVersion(&major, &minor, &patch);
    if (major == LLVM_VERSION_MAJOR && minor == LLVM_VERSION_MINOR && patch == LLVM_VERSION_PATCH)
        return true;
    log_warn(LOG_STORE, "built for LLVM " LLVM_VERSION_STRING ", run with %u.%u.%u: no compiled code is known or kept",
             major, minor, patch);
    return false;
}

void kept_name(const struct store *store, uint32_t id, char name[KEPT_NAME_BYTES])
{
    (void)snprintf(name, KEPT_NAME_BYTES, store ? "region_%010" PRIu32 : "region_%" PRIu32, id);
}

/* Each occurrence of a name by another of the same length. Returns how many there were. */
static unsigned rename_all(uint8_t *bytes, size_t len, const char *from, const char *to)
{
    size_t name_len = strlen(from);
    unsigned count = 0;
    uint8_t *at;

    while ((at = memmem(bytes, len, from, name_len))) {
        memcpy(at, to, name_len);
        len -= (size_t)(at - bytes) + name_len;
        bytes = at + name_len;
        count++;
    }
    return count;
}

/* The region's digest, from its shape. False: no memory. */
static bool find_digest(struct region *region)
{
    struct region_bytes shape = {0};

    if (region->has_digest)
        return true;
    region->has_digest = region_shape_write(region, &shape) == 0;
    if (region->has_digest)
        store_digest(shape.at, shape.len, region->digest);
    free(shape.at);
    return region->has_digest;
}

static LLVMMemoryBufferRef open_code(uint8_t *code, size_t code_bytes, struct region *region, const char *name)
{
    const uint8_t *object;
    size_t object_bytes;
    char stored_name[KEPT_NAME_BYTES];

    if (region_code_read(code, code_bytes, region, &object, &object_bytes)) {
        region_forget_code(region);
        return NULL;
    }
    (void)snprintf(stored_name, sizeof(stored_name), "region_%010u", 0);
    if (!rename_all(code + (object - code), object_bytes, stored_name, name)) {
        region_forget_code(region);
        return NULL;
    }
    return LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)object, object_bytes, name);
}

LLVMMemoryBufferRef kept_read(struct store *store, struct region *region, const char *name)
{
    LLVMMemoryBufferRef object = NULL;
    size_t code_bytes;
    uint8_t *code;

    if (!store || !find_digest(region))
        return NULL;
    int rc = store_code(store, region->digest, &code, &code_bytes);
    if (rc == 0)
        object = open_code(code, code_bytes, region, name);
    region->stored = object != NULL;
    region->rejected = !object && rc != -ENOENT;
    if (rc == 0)
        free(code);
    return object;
}

void kept_write(struct store *store, struct region *region, LLVMMemoryBufferRef object, const char *name,
                uint64_t compile_ns)
{
    struct region_bytes shape = {0}, profile = {0}, code = {0};
    char stored_name[KEPT_NAME_BYTES];

    if (!store || !region->has_digest)
        return;
    region->saved_us = compile_ns / 1000;
    if (region_shape_write(region, &shape) == 0 && region_profile_write(region, &profile) == 0 &&
        region_code_write(region, LLVMGetBufferStart(object), LLVMGetBufferSize(object), &code) == 0) {
        struct store_region stored = {.shape = shape.at,
                                      .shape_bytes = shape.len,
                                      .profile = profile.at,
                                      .profile_bytes = profile.len,
                                      .code = code.at,
                                      .code_bytes = code.len,
                                      .level = region->level,
                                      .insns = region->insn_count,
                                      .gva = region_gva(region),
                                      .compile_us = region->saved_us};
        (void)snprintf(stored_name, sizeof(stored_name), "region_%010u", 0);
        if (rename_all(code.at, code.len, name, stored_name)) {
            memcpy(stored.digest, region->digest, STORE_DIGEST_BYTES);
            store_put(store, &stored);
        }
    }
    free(shape.at);
    free(profile.at);
    free(code.at);
}
