/* Ciphers, hashes and codes by libcrypto; see crypto_session.h. Of the algorithms that the specification lists, those
 * that libcrypto's default provider has: no ARC4, DES, KASUMI, SNOW3G or ZUC. */
#include "dev/crypto/crypto_session.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

/* A cipher by the length of its key. */
struct cipher_row {
    uint32_t algorithm, key_bytes;
    const EVP_CIPHER *(*get)(void);
};

static const struct cipher_row ciphers[] = {
    {2, 16, EVP_aes_128_ecb},  {2, 24, EVP_aes_192_ecb}, {2, 32, EVP_aes_256_ecb},  {3, 16, EVP_aes_128_cbc},
    {3, 24, EVP_aes_192_cbc},  {3, 32, EVP_aes_256_cbc}, {4, 16, EVP_aes_128_ctr},  {4, 24, EVP_aes_192_ctr},
    {4, 32, EVP_aes_256_ctr},  {7, 24, EVP_des_ede3},    {8, 24, EVP_des_ede3_cbc}, {13, 32, EVP_aes_128_xts},
    {13, 64, EVP_aes_256_xts},
};

static const struct cipher_row aeads[] = {
    {1, 16, EVP_aes_128_gcm}, {1, 24, EVP_aes_192_gcm}, {1, 32, EVP_aes_256_gcm},       {2, 16, EVP_aes_128_ccm},
    {2, 24, EVP_aes_192_ccm}, {2, 32, EVP_aes_256_ccm}, {3, 32, EVP_chacha20_poly1305},
};

enum { AEAD_GCM = 1, AEAD_CCM = 2, TAG_BYTES = 16 };

static const struct hash_row {
    const EVP_MD *(*get)(void); /* NULL: there is none with that number */
    bool any_length;
} hashes[] = {
    {NULL, false},         {EVP_md5, false},     {EVP_sha1, false},     {EVP_sha224, false},   {EVP_sha256, false},
    {EVP_sha384, false},   {EVP_sha512, false},  {EVP_sha3_224, false}, {EVP_sha3_256, false}, {EVP_sha3_384, false},
    {EVP_sha3_512, false}, {EVP_shake128, true}, {EVP_shake256, true},
};

enum { HASHES = sizeof(hashes) / sizeof(hashes[0]), HMAC_LAST = 6, CMAC_3DES = 25, CMAC_AES = 26 };

static const struct cipher_row *find_cipher(const struct cipher_row *rows, size_t count, uint32_t algorithm,
                                            uint32_t key_bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].algorithm == algorithm && (rows[i].key_bytes == key_bytes || !key_bytes))
            return &rows[i];
    }
    return NULL;
}

#define FIND(rows, algorithm, key_bytes) find_cipher(rows, sizeof(rows) / sizeof((rows)[0]), algorithm, key_bytes)

void crypto_prepare(void)
{
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
}

uint64_t crypto_algorithms(enum crypto_service service)
{
    uint64_t bits = 0;

    for (uint32_t algorithm = 1; algorithm < 64; algorithm++) {
        bool there =
            (service == CRYPTO_CIPHER && FIND(ciphers, algorithm, 0)) ||
            (service == CRYPTO_AEAD && FIND(aeads, algorithm, 0)) || (service == CRYPTO_HASH && algorithm < HASHES) ||
            (service == CRYPTO_MAC && (algorithm <= HMAC_LAST || algorithm == CMAC_3DES || algorithm == CMAC_AES));
        bits |= (uint64_t)there << algorithm;
    }
    return bits;
}

/* The block cipher of a CMAC. */
static const char *cmac_cipher(const struct crypto_session *session)
{
    if (session->algorithm == CMAC_3DES)
        return session->key_bytes == 24 ? "DES-EDE3-CBC" : NULL;
    return session->key_bytes == 16   ? "AES-128-CBC"
           : session->key_bytes == 24 ? "AES-192-CBC"
           : session->key_bytes == 32 ? "AES-256-CBC"
                                      : NULL;
}

static enum crypto_status check_digest(const struct crypto_session *session)
{
    uint32_t most;

    if (session->service == CRYPTO_MAC && session->algorithm > HMAC_LAST) {
        most = session->algorithm == CMAC_AES ? 16 : 8;
        if (!cmac_cipher(session))
            return CRYPTO_ERR;
    } else {
        const struct hash_row *row = &hashes[session->algorithm];
        most = row->any_length ? CRYPTO_RESULT_BYTES : (uint32_t)EVP_MD_get_size(row->get());
        if (session->service == CRYPTO_MAC && !session->key_bytes)
            return CRYPTO_ERR;
    }
    return session->result_bytes >= 1 && session->result_bytes <= most ? CRYPTO_OK : CRYPTO_ERR;
}

static bool is_aead_tag(const struct crypto_session *session)
{
    uint32_t bytes = session->result_bytes;

    if (session->algorithm == AEAD_CCM)
        return bytes >= 4 && bytes <= TAG_BYTES && bytes % 2 == 0;
    return bytes >= 4 && bytes <= TAG_BYTES;
}

enum crypto_status crypto_session_check(const struct crypto_session *session)
{
    if (session->service >= CRYPTO_SERVICES || session->algorithm >= 64 ||
        !(crypto_algorithms((enum crypto_service)session->service) >> session->algorithm & 1))
        return CRYPTO_NOTSUPP;
    if (session->key_bytes > sizeof(session->key))
        return CRYPTO_ERR;
    switch (session->service) {
    case CRYPTO_CIPHER:
        return session->key_bytes && FIND(ciphers, session->algorithm, session->key_bytes) ? CRYPTO_OK : CRYPTO_ERR;
    case CRYPTO_AEAD:
        return session->key_bytes && FIND(aeads, session->algorithm, session->key_bytes) && is_aead_tag(session)
                   ? CRYPTO_OK
                   : CRYPTO_ERR;
    default:
        return check_digest(session);
    }
}

/* Whole blocks where the mode wants them; a stream of bytes has blocks of one. */
static bool run_cipher(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const struct crypto_session *session,
                       bool encrypt, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    int len = 0;

    if (!EVP_CipherInit_ex(context, cipher, NULL, session->key, iv, encrypt) || !EVP_CIPHER_CTX_set_padding(context, 0))
        return false;
    return EVP_CipherUpdate(context, data, &len, data, (int)bytes) && (size_t)len == bytes;
}

enum crypto_status crypto_cipher(const struct crypto_session *session, bool encrypt, const uint8_t *iv, size_t iv_bytes,
                                 uint8_t *data, size_t bytes)
{
    const struct cipher_row *row = FIND(ciphers, session->algorithm, session->key_bytes);
    EVP_CIPHER_CTX *context;

    if (!row || bytes > INT_MAX)
        return CRYPTO_ERR;
    const EVP_CIPHER *cipher = row->get();
    if (iv_bytes != (size_t)EVP_CIPHER_get_iv_length(cipher) || bytes % (size_t)EVP_CIPHER_get_block_size(cipher))
        return CRYPTO_ERR;
    if (!bytes)
        return CRYPTO_OK;
    context = EVP_CIPHER_CTX_new();
    bool good = context && run_cipher(context, cipher, session, encrypt, iv, data, bytes);
    EVP_CIPHER_CTX_free(context);
    return good ? CRYPTO_OK : CRYPTO_ERR;
}

static bool run_hash(const struct crypto_session *session, const uint8_t *data, size_t bytes, uint8_t *result)
{
    const struct hash_row *row = &hashes[session->algorithm];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t whole[EVP_MAX_MD_SIZE];
    bool good = context && EVP_DigestInit_ex(context, row->get(), NULL) && EVP_DigestUpdate(context, data, bytes);

    if (good && row->any_length) {
        good = EVP_DigestFinalXOF(context, result, session->result_bytes);
    } else if (good) {
        good = EVP_DigestFinal_ex(context, whole, NULL);
        memcpy(result, whole, good ? session->result_bytes : 0);
    }
    EVP_MD_CTX_free(context);
    return good;
}

static bool run_mac(const struct crypto_session *session, const uint8_t *data, size_t bytes, uint8_t *result)
{
    bool hmac = session->algorithm <= HMAC_LAST;
    const char *name = hmac ? EVP_MD_get0_name(hashes[session->algorithm].get()) : cmac_cipher(session);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, hmac ? "HMAC" : "CMAC", NULL);
    EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(hmac ? OSSL_MAC_PARAM_DIGEST : OSSL_MAC_PARAM_CIPHER, (char *)name, 0),
        OSSL_PARAM_construct_end()};
    uint8_t whole[EVP_MAX_MD_SIZE];
    size_t len;
    bool good = context && EVP_MAC_init(context, session->key, session->key_bytes, parameters) &&
                EVP_MAC_update(context, data, bytes) && EVP_MAC_final(context, whole, &len, sizeof(whole)) &&
                len >= session->result_bytes;

    if (good)
        memcpy(result, whole, session->result_bytes);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    return good;
}

enum crypto_status crypto_digest(const struct crypto_session *session, const uint8_t *data, size_t bytes,
                                 uint8_t result[CRYPTO_RESULT_BYTES])
{
    bool good =
        session->service == CRYPTO_MAC ? run_mac(session, data, bytes, result) : run_hash(session, data, bytes, result);

    return good ? CRYPTO_OK : CRYPTO_ERR;
}

/* Lengths, tag and key in the order that all modes take. CCM is told the data's length before it sees any. */
static bool set_up_aead(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const struct crypto_session *session,
                        bool encrypt, const uint8_t *iv, size_t iv_bytes, uint8_t *tag, size_t bytes)
{
    int tag_bytes = (int)session->result_bytes, len;

    if (!EVP_CipherInit_ex(context, cipher, NULL, NULL, NULL, encrypt) ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int)iv_bytes, NULL) <= 0)
        return false;
    if ((!encrypt || session->algorithm == AEAD_CCM) &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_bytes, encrypt ? NULL : tag) <= 0)
        return false;
    if (!EVP_CipherInit_ex(context, NULL, NULL, session->key, iv, encrypt))
        return false;
    return session->algorithm != AEAD_CCM || EVP_CipherUpdate(context, NULL, &len, NULL, (int)bytes);
}

static enum crypto_status run_aead(EVP_CIPHER_CTX *context, const struct crypto_session *session, bool encrypt,
                                   const uint8_t *aad, size_t aad_bytes, uint8_t *data, size_t bytes)
{
    int len;

    if (aad_bytes && !EVP_CipherUpdate(context, NULL, &len, aad, (int)aad_bytes))
        return CRYPTO_ERR;
    /* CCM checks the tag here, and wants to be called without data too. */
    if (!EVP_CipherUpdate(context, data, &len, data, (int)bytes))
        return encrypt ? CRYPTO_ERR : CRYPTO_BADMSG;
    if (session->algorithm != AEAD_CCM && EVP_CipherFinal_ex(context, data + bytes, &len) <= 0)
        return encrypt ? CRYPTO_ERR : CRYPTO_BADMSG;
    if (encrypt && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, (int)session->result_bytes, data + bytes) <= 0)
        return CRYPTO_ERR;
    return CRYPTO_OK;
}

enum crypto_status crypto_aead(const struct crypto_session *session, bool encrypt, const uint8_t *iv, size_t iv_bytes,
                               const uint8_t *aad, size_t aad_bytes, uint8_t *data, size_t bytes)
{
    const struct cipher_row *row = FIND(aeads, session->algorithm, session->key_bytes);
    size_t tag_bytes = session->result_bytes;
    uint8_t tag[TAG_BYTES];

    if (!row || bytes > INT_MAX || aad_bytes > INT_MAX || iv_bytes < 7 || iv_bytes > 13 ||
        (session->algorithm != AEAD_CCM && iv_bytes != 12) || (!encrypt && bytes < tag_bytes))
        return CRYPTO_ERR;
    if (!encrypt) {
        bytes -= tag_bytes;
        memcpy(tag, data + bytes, tag_bytes);
    }
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    enum crypto_status status = CRYPTO_ERR;
    if (context && set_up_aead(context, row->get(), session, encrypt, iv, iv_bytes, tag, bytes))
        status = run_aead(context, session, encrypt, aad, aad_bytes, data, bytes);
    EVP_CIPHER_CTX_free(context);
    return status;
}
