/* The crypto device; see virtio_crypto.h. Section numbers are those of virtio 1.2.
 *
 * A request's data is copied into a buffer of the device's, worked on there and copied to where the guest wants it: the
 * guest may change its own memory meanwhile, give source and destination that overlap, and cut both as it likes, and
 * none of that is libcrypto's business. Everything is done in the turn in which it is taken, on the loop's thread.
 *
 * Keys are in the device's memory and in its saved state, as they would be in the guest's.
 */
#include "dev/virtio/virtio_crypto.h"

#include "base/log.h"
#include "dev/crypto/crypto_session.h"
#include "dev/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICE_ID = 20,
    QUEUE_DATA = 0,
    QUEUE_CONTROL = 1, /* behind all data queues */
    QUEUES = 2,
    QUEUE_SIZE = 128,
    TURN_BYTES = 1 << 20,
    AAD_MAX = 1 << 16,
    HW_READY = 1,

    CREATE_SESSION = 2,
    DESTROY_SESSION = 3,
    OP_ENCRYPT = 1, /* of a session */
    SYM_CIPHER = 1, /* neither nothing nor a chain */
};

/* 5.9.4 */
struct config {
    uint32_t status, max_dataqueues, crypto_services;
    uint32_t cipher_algo_l, cipher_algo_h, hash_algo, mac_algo_l, mac_algo_h, aead_algo;
    uint32_t max_cipher_key_len, max_auth_key_len, akcipher_algo;
    uint64_t max_size;
};

_Static_assert(sizeof(struct config) == 56, "5.9.4");

/* 5.9.7.2: the fixed part of a control request. */
struct control {
    uint32_t opcode, algo, flag, queue_id;
    union {
        struct {
            uint32_t algo, key_len, op, padding;
            uint8_t rest[32];
            uint32_t op_type;
        } cipher;
        struct {
            uint32_t algo, result_len;
        } hash;
        struct {
            uint32_t algo, result_len, key_len;
        } mac;
        struct {
            uint32_t algo, key_len, result_len, aad_len, op;
        } aead;
        uint64_t session_id;
        uint8_t all[56];
    } u;
};

_Static_assert(sizeof(struct control) == 72, "5.9.7.2");

struct session_input {
    uint64_t id;
    uint32_t status, padding;
};

/* 5.9.7.4: and of a data request. */
struct data {
    uint32_t opcode, algo;
    uint64_t session_id;
    uint32_t flag, padding;
    union {
        struct {
            uint32_t iv_len, src_len, dst_len, padding;
            uint8_t rest[24];
            uint32_t op_type;
        } cipher;
        struct {
            uint32_t src_len, result_len;
        } hash; /* and MAC */
        struct {
            uint32_t iv_len, aad_len, src_len, dst_len;
        } aead;
        uint8_t all[48];
    } u;
};

_Static_assert(sizeof(struct data) == 72, "5.9.7.4");

struct virtio_crypto {
    struct virtio_device dev;
    struct crypto_session sessions[VIRTIO_CRYPTO_SESSIONS_MAX]; /* saved */
    /* Under the device's lock. */
    uint64_t requests, bytes, errors, session_count;
    struct virtq_chain chain; /* within one call, as the rest */
    uint8_t iv[CRYPTO_IV_BYTES], aad[AAD_MAX], result[CRYPTO_RESULT_BYTES];
    uint8_t data[VIRTIO_CRYPTO_DATA_MAX + CRYPTO_RESULT_BYTES]; /* and a tag */
};

static const struct device_field crypto_fields[] = {
    {"sessions", offsetof(struct virtio_crypto, sessions), 1, sizeof(((struct virtio_crypto *)0)->sessions), 1},
    {0},
};

/* ---- sessions ---- */

static struct crypto_session *session_at(struct virtio_crypto *crypto, uint64_t id)
{
    return id < VIRTIO_CRYPTO_SESSIONS_MAX && crypto->sessions[id].used ? &crypto->sessions[id] : NULL;
}

/* What a session is to be, without its key. false: nothing that can be. */
static bool describe_session(const struct control *control, struct crypto_session *session)
{
    session->service = (uint8_t)(control->opcode >> 8);
    switch (session->service) {
    case CRYPTO_CIPHER:
        session->algorithm = control->u.cipher.algo;
        session->key_bytes = control->u.cipher.key_len;
        session->encrypts = control->u.cipher.op == OP_ENCRYPT;
        return control->u.cipher.op_type == SYM_CIPHER;
    case CRYPTO_HASH:
        session->algorithm = control->u.hash.algo;
        session->result_bytes = control->u.hash.result_len;
        return true;
    case CRYPTO_MAC:
        session->algorithm = control->u.mac.algo;
        session->result_bytes = control->u.mac.result_len;
        session->key_bytes = control->u.mac.key_len;
        return true;
    default:
        session->algorithm = control->u.aead.algo;
        session->key_bytes = control->u.aead.key_len;
        session->result_bytes = control->u.aead.result_len;
        session->encrypts = control->u.aead.op == OP_ENCRYPT;
        return true;
    }
}

static enum crypto_status create_session(struct virtio_crypto *crypto, const struct control *control, uint64_t *id)
{
    const struct virtq_chain *chain = &crypto->chain;
    struct crypto_session session = {.used = 1};
    enum crypto_status status;

    if (!describe_session(control, &session))
        return CRYPTO_NOTSUPP;
    status = crypto_session_check(&session);
    if (status != CRYPTO_OK)
        return status;
    if (iov_to_buf(virtq_readable(chain), chain->readable_count, sizeof(*control), session.key, session.key_bytes) <
        session.key_bytes)
        return CRYPTO_ERR;
    for (*id = 0; *id < VIRTIO_CRYPTO_SESSIONS_MAX; (*id)++) {
        if (!crypto->sessions[*id].used) {
            crypto->sessions[*id] = session;
            crypto->session_count++;
            return CRYPTO_OK;
        }
    }
    return CRYPTO_NOSPC;
}

static enum crypto_status destroy_session(struct virtio_crypto *crypto, const struct control *control)
{
    struct crypto_session *session = session_at(crypto, control->u.session_id);

    if (!session || session->service != control->opcode >> 8)
        return CRYPTO_INVSESS;
    memset(session, 0, sizeof(*session));
    return CRYPTO_OK;
}

/* The request in crypto->chain. Returns how much of the answer was written. */
static size_t handle_control(struct virtio_crypto *crypto)
{
    const struct virtq_chain *chain = &crypto->chain;
    struct control control;
    struct session_input answer = {0};
    uint8_t status = CRYPTO_ERR;

    if (iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &control, sizeof(control)) == sizeof(control)) {
        uint32_t service = control.opcode >> 8, op = control.opcode & 0xff;
        if (service < CRYPTO_SERVICES && op == CREATE_SESSION) {
            answer.status = create_session(crypto, &control, &answer.id);
            crypto->errors += answer.status != CRYPTO_OK;
            return iov_from_buf(virtq_writable(chain), chain->writable_count, 0, &answer, sizeof(answer));
        }
        status = CRYPTO_NOTSUPP;
        if (service < CRYPTO_SERVICES && op == DESTROY_SESSION)
            status = (uint8_t)destroy_session(crypto, &control);
    }
    crypto->errors += status != CRYPTO_OK;
    return iov_from_buf(virtq_writable(chain), chain->writable_count, 0, &status, 1);
}

/* ---- data ---- */

/* Copies a part of the request in, and goes on behind it. */
static bool take_in(struct virtio_crypto *crypto, uint64_t *at, void *buf, size_t bytes)
{
    const struct virtq_chain *chain = &crypto->chain;
    bool all = iov_to_buf(virtq_readable(chain), chain->readable_count, *at, buf, bytes) == bytes;

    *at += bytes;
    return all;
}

/* The answer's data. Its last byte is the status. */
static enum crypto_status give_out(struct virtio_crypto *crypto, const void *buf, size_t bytes)
{
    const struct virtq_chain *chain = &crypto->chain;

    if (bytes > chain->writable_bytes - 1)
        return CRYPTO_ERR;
    iov_from_buf(virtq_writable(chain), chain->writable_count, 0, buf, bytes);
    return CRYPTO_OK;
}

static enum crypto_status do_cipher(struct virtio_crypto *crypto, const struct crypto_session *session, bool encrypt,
                                    const struct data *data)
{
    uint32_t iv_len = data->u.cipher.iv_len, len = data->u.cipher.src_len;
    uint64_t at = sizeof(*data);
    enum crypto_status status;

    if (data->u.cipher.op_type != SYM_CIPHER)
        return CRYPTO_NOTSUPP;
    if (iv_len > sizeof(crypto->iv) || len > VIRTIO_CRYPTO_DATA_MAX || data->u.cipher.dst_len < len ||
        !take_in(crypto, &at, crypto->iv, iv_len) || !take_in(crypto, &at, crypto->data, len))
        return CRYPTO_ERR;
    crypto->bytes += len;
    status = crypto_cipher(session, encrypt, crypto->iv, iv_len, crypto->data, len);
    return status == CRYPTO_OK ? give_out(crypto, crypto->data, len) : status;
}

static enum crypto_status do_digest(struct virtio_crypto *crypto, const struct crypto_session *session,
                                    const struct data *data)
{
    uint32_t len = data->u.hash.src_len;
    uint64_t at = sizeof(*data);
    enum crypto_status status;

    if (len > VIRTIO_CRYPTO_DATA_MAX || data->u.hash.result_len < session->result_bytes ||
        !take_in(crypto, &at, crypto->data, len))
        return CRYPTO_ERR;
    crypto->bytes += len;
    status = crypto_digest(session, crypto->data, len, crypto->result);
    return status == CRYPTO_OK ? give_out(crypto, crypto->result, session->result_bytes) : status;
}

static enum crypto_status do_aead(struct virtio_crypto *crypto, const struct crypto_session *session, bool encrypt,
                                  const struct data *data)
{
    uint32_t iv_len = data->u.aead.iv_len, aad_len = data->u.aead.aad_len, len = data->u.aead.src_len;
    uint64_t at = sizeof(*data);
    enum crypto_status status;

    if (iv_len > sizeof(crypto->iv) || aad_len > AAD_MAX || len > VIRTIO_CRYPTO_DATA_MAX ||
        !take_in(crypto, &at, crypto->iv, iv_len) || !take_in(crypto, &at, crypto->data, len) ||
        !take_in(crypto, &at, crypto->aad, aad_len))
        return CRYPTO_ERR;
    uint32_t out = encrypt ? len + session->result_bytes : len - session->result_bytes;
    if (!encrypt && len < session->result_bytes)
        return CRYPTO_ERR;
    if (data->u.aead.dst_len < out)
        return CRYPTO_ERR;
    crypto->bytes += len;
    status = crypto_aead(session, encrypt, crypto->iv, iv_len, crypto->aad, aad_len, crypto->data, len);
    return status == CRYPTO_OK ? give_out(crypto, crypto->data, out) : status;
}

static enum crypto_status do_request(struct virtio_crypto *crypto, const struct data *data)
{
    const struct crypto_session *session = session_at(crypto, data->session_id);
    uint32_t service = data->opcode >> 8, op = data->opcode & 0xff;

    if (service >= CRYPTO_SERVICES || op > (service == CRYPTO_CIPHER || service == CRYPTO_AEAD ? 1 : 0))
        return CRYPTO_NOTSUPP;
    if (!session || session->service != service)
        return CRYPTO_INVSESS;
    switch (service) {
    case CRYPTO_CIPHER:
        return do_cipher(crypto, session, op == 0, data);
    case CRYPTO_AEAD:
        return do_aead(crypto, session, op == 0, data);
    default:
        return do_digest(crypto, session, data);
    }
}

/* The request in crypto->chain. Returns how many bytes of the answer there are. */
static uint32_t handle_data(struct virtio_crypto *crypto)
{
    const struct virtq_chain *chain = &crypto->chain;
    struct data data;
    uint8_t status = CRYPTO_ERR;

    if (!chain->writable_bytes || chain->writable_bytes > UINT32_MAX) {
        log_guest_error("virtio-crypto: a request has no place for its status");
        return 0;
    }
    if (iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &data, sizeof(data)) == sizeof(data))
        status = (uint8_t)do_request(crypto, &data);
    crypto->requests++;
    crypto->errors += status != CRYPTO_OK;
    iov_from_buf(virtq_writable(chain), chain->writable_count, chain->writable_bytes - 1, &status, 1);
    return (uint32_t)chain->writable_bytes;
}

static bool crypto_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_crypto *crypto = (struct virtio_crypto *)dev;
    uint64_t before = crypto->bytes;
    unsigned count = 0;
    bool more = false;

    for (;; count++) {
        more = count == VIRTIO_TURN_CHAINS || crypto->bytes - before >= TURN_BYTES;
        if (more || !virtio_pop(dev, queue, &crypto->chain))
            break;
        size_t written = queue == QUEUE_CONTROL ? handle_control(crypto) : handle_data(crypto);
        virtq_push(&dev->queues[queue], &crypto->chain, (uint32_t)written);
    }
    virtio_interrupt(dev, queue);
    return more;
}

/* ---- the device ---- */

static void crypto_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    uint64_t ciphers = crypto_algorithms(CRYPTO_CIPHER), macs = crypto_algorithms(CRYPTO_MAC);
    const struct config config = {.status = HW_READY,
                                  .max_dataqueues = QUEUES - 1,
                                  .crypto_services = (1u << CRYPTO_SERVICES) - 1,
                                  .cipher_algo_l = (uint32_t)ciphers,
                                  .cipher_algo_h = (uint32_t)(ciphers >> 32),
                                  .hash_algo = (uint32_t)crypto_algorithms(CRYPTO_HASH),
                                  .mac_algo_l = (uint32_t)macs,
                                  .mac_algo_h = (uint32_t)(macs >> 32),
                                  .aead_algo = (uint32_t)crypto_algorithms(CRYPTO_AEAD),
                                  .max_cipher_key_len = CRYPTO_CIPHER_KEY_BYTES,
                                  .max_auth_key_len = CRYPTO_AUTH_KEY_BYTES,
                                  .max_size = VIRTIO_CRYPTO_DATA_MAX};

    memcpy(bytes, (const uint8_t *)&config + offset, len);
}

static void crypto_reset(struct virtio_device *dev)
{
    struct virtio_crypto *crypto = (struct virtio_crypto *)dev;

    memset(crypto->sessions, 0, sizeof(crypto->sessions));
}

/* A session that cannot be is none. */
static void crypto_post_restore(struct virtio_device *dev)
{
    struct virtio_crypto *crypto = (struct virtio_crypto *)dev;

    for (unsigned i = 0; i < VIRTIO_CRYPTO_SESSIONS_MAX; i++) {
        struct crypto_session *session = &crypto->sessions[i];
        if (session->used != 1 || crypto_session_check(session) != CRYPTO_OK)
            memset(session, 0, sizeof(*session));
        session->encrypts &= 1;
    }
}

static void crypto_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                         void *opaque)
{
    const struct virtio_crypto *crypto = (struct virtio_crypto *)dev;

    fn(opaque, "sessions", crypto->session_count);
    fn(opaque, "requests", crypto->requests);
    fn(opaque, "bytes", crypto->bytes);
    fn(opaque, "errors", crypto->errors);
}

static void crypto_destroy(struct virtio_device *dev)
{
    virtio_fini(dev);
    explicit_bzero(((struct virtio_crypto *)dev)->sessions, sizeof(((struct virtio_crypto *)dev)->sessions));
    free(dev);
}

static const struct virtio_ops crypto_ops = {
    .name = "virtio-crypto",
    .device_id = DEVICE_ID,
    .pci_class = 0x108000,
    .state_version = 1,
    .fields = crypto_fields,
    .config_read = crypto_config_read,
    .process = crypto_process,
    .reset = crypto_reset,
    .post_restore = crypto_post_restore,
    .destroy = crypto_destroy,
    .stats = crypto_stats,
};

int virtio_crypto_create(const struct virtio_crypto_config *config, struct virtio_device **out)
{
    struct virtio_crypto *crypto = calloc(1, sizeof(*crypto));

    if (!crypto)
        return -ENOMEM;
    int rc = virtio_init(&crypto->dev, &crypto_ops, config->mem, config->loop, VIRTIO_F_IN_ORDER, QUEUES,
                         sizeof(struct config));
    if (rc) {
        free(crypto);
        return rc;
    }
    for (unsigned i = 0; i < QUEUES; i++)
        crypto->dev.queues[i].size_max = QUEUE_SIZE;
    crypto_prepare();
    *out = &crypto->dev;
    return 0;
}
