/* What virtio-crypto's sessions and operations (virtio 1.2, 5.9) mean, by libcrypto. Data is in buffers of the caller
 * that nobody else changes meanwhile. Functions without state of their own, for any thread; none waits for anybody.
 */
#ifndef TUFF_DEV_CRYPTO_CRYPTO_SESSION_H
#define TUFF_DEV_CRYPTO_CRYPTO_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum crypto_service { CRYPTO_CIPHER, CRYPTO_HASH, CRYPTO_MAC, CRYPTO_AEAD, CRYPTO_SERVICES };

enum crypto_status {
    CRYPTO_OK,
    CRYPTO_ERR,
    CRYPTO_BADMSG, /* what was to be decrypted is not authentic */
    CRYPTO_NOTSUPP,
    CRYPTO_INVSESS,
    CRYPTO_NOSPC,
};

enum {
    CRYPTO_CIPHER_KEY_BYTES = 64,
    CRYPTO_AUTH_KEY_BYTES = 128,
    CRYPTO_IV_BYTES = 16,
    CRYPTO_RESULT_BYTES = 512, /* of a hash without a fixed length */
};

/* Keys and algorithm of a session. Fixed-width, as it is saved. */
struct crypto_session {
    uint32_t algorithm; /* VIRTIO_CRYPTO_CIPHER_.., HASH_.., MAC_.., AEAD_.. */
    uint32_t key_bytes;
    uint32_t result_bytes; /* hash, MAC, AEAD's tag */
    uint8_t used;
    uint8_t service; /* enum crypto_service */
    uint8_t encrypts;
    uint8_t unused;
    uint8_t key[CRYPTO_AUTH_KEY_BYTES];
};

/* libcrypto reads its configuration when it is first used, which a thread that serves the guest may not
 * (base/sandbox.h): called when a device is made. */
void crypto_prepare(void);

/* The algorithms there are of a service, a bit each by their numbers. */
uint64_t crypto_algorithms(enum crypto_service service);

/* Can there be such a session? CRYPTO_OK, CRYPTO_NOTSUPP (algorithm), CRYPTO_ERR (lengths). */
enum crypto_status crypto_session_check(const struct crypto_session *session);

/* CIPHER: changes `data` in place. */
enum crypto_status crypto_cipher(const struct crypto_session *session, bool encrypt, const uint8_t *iv, size_t iv_bytes,
                                 uint8_t *data, size_t bytes);
/* HASH, MAC: of `data`, session->result_bytes into `result`. */
enum crypto_status crypto_digest(const struct crypto_session *session, const uint8_t *data, size_t bytes,
                                 uint8_t result[CRYPTO_RESULT_BYTES]);
/* AEAD, in place: encrypting, the tag (session->result_bytes) is put behind the `bytes` of data; decrypting it is the
 * last of them. */
enum crypto_status crypto_aead(const struct crypto_session *session, bool encrypt, const uint8_t *iv, size_t iv_bytes,
                               const uint8_t *aad, size_t aad_bytes, uint8_t *data, size_t bytes);

#endif
