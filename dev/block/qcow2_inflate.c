/* Reading compressed clusters of a qcow2 image: raw deflate, or zstd. */
#include "base/log.h"
#include "dev/block/qcow2_internal.h"
#include "dev/iov.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef TUFF_ZSTD
#include <zstd.h>
#endif

bool qcow2_has_compression(unsigned type)
{
#ifdef TUFF_ZSTD
    if (type == QCOW2_COMPRESSION_ZSTD)
        return true;
#endif
    return type == QCOW2_COMPRESSION_ZLIB;
}

/* Both: exactly `out_bytes` have to come out, what follows in the last sector does not matter. */
static bool inflate_zlib(uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    z_stream z = {.next_in = in, .avail_in = (uInt)in_bytes, .next_out = out, .avail_out = (uInt)out_bytes};
    int rc;

    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return false;
    rc = inflate(&z, Z_FINISH);
    (void)inflateEnd(&z);
    return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && z.avail_out == 0;
}

#ifdef TUFF_ZSTD
static bool inflate_zstd(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    ZSTD_inBuffer from = {.src = in, .size = in_bytes};
    ZSTD_outBuffer to = {.dst = out, .size = out_bytes};
    ZSTD_DCtx *context = ZSTD_createDCtx();
    bool ok = context != NULL;

    while (ok && to.pos < to.size) {
        size_t before_in = from.pos, before_out = to.pos, rc = ZSTD_decompressStream(context, &to, &from);
        ok = !ZSTD_isError(rc) && (from.pos > before_in || to.pos > before_out);
    }
    (void)ZSTD_freeDCtx(context);
    return ok;
}
#endif

static bool inflate_cluster(const struct qcow2 *q, uint8_t *in, size_t bytes)
{
#ifdef TUFF_ZSTD
    if (q->compression == QCOW2_COMPRESSION_ZSTD)
        return inflate_zstd(in, bytes, q->inflated, q->cluster_bytes);
#endif
    return inflate_zlib(in, bytes, q->inflated, q->cluster_bytes);
}

static int load(struct qcow2 *q, uint64_t entry)
{
    uint64_t offset, bytes;
    uint8_t *in;
    int rc;

    qcow2_compressed_range(q, entry, &offset, &bytes);
    if (bytes > 2 * q->cluster_bytes + BLOCK_SECTOR_BYTES)
        bytes = 2 * q->cluster_bytes + BLOCK_SECTOR_BYTES; /* no compressor makes more */
    if (!q->inflated)
        q->inflated = malloc(q->cluster_bytes);
    in = malloc(bytes);
    if (!in || !q->inflated) {
        free(in);
        return -ENOMEM;
    }
    q->inflated_entry = 0;
    rc = host_file_read(q->node.file, in, bytes, offset);
    if (!rc && !inflate_cluster(q, in, bytes)) {
        log_guest_error("%s: the compressed cluster at 0x%" PRIx64 " cannot be decompressed", q->name, offset);
        rc = -EIO;
    }
    if (!rc)
        q->inflated_entry = entry;
    free(in);
    return rc;
}

int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, const struct iovec *iov, unsigned count)
{
    int rc = 0;

    pthread_mutex_lock(&q->inflate_lock);
    if (q->inflated_entry != entry)
        rc = load(q, entry);
    if (!rc)
        iov_from_buf(iov, count, 0, q->inflated + skip, (size_t)iov_bytes(iov, count));
    pthread_mutex_unlock(&q->inflate_lock);
    return rc;
}
