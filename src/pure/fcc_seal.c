
/*
 * The seal of an envelope on the bus.
 *
 * The seal has one place, behind the worker's id, so that neither side has to
 * read JSON of somebody it does not trust yet.
 */


#include <fcc_seal.h>
#include <fcc_bus.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>


/* what a key is derived for: the secret may be used elsewhere */

#define FCC_SEAL_LABEL  "fcchat bus 1"

#define FCC_SEAL_HEAD   (sizeof("{\"v\":1,\"w\":\"\",") - 1                    \
                         + FCC_BUS_WORKER_LEN)


static int fcc_seal_head(const unsigned char *data, size_t len);
static int fcc_seal_mac(const unsigned char *key, const fcc_str_t *channel,
    const unsigned char *head, const unsigned char *rest, size_t len,
    unsigned char *hex);


int
fcc_seal_add(fcc_seal_t *seal, const unsigned char *secret, size_t len)
{
    unsigned  n;

    if (seal->n == FCC_SEAL_KEYS
        || HMAC(EVP_sha256(), secret, (int) len,
                (const unsigned char *) FCC_SEAL_LABEL,
                sizeof(FCC_SEAL_LABEL) - 1, seal->key[seal->n], &n)
           == NULL)
    {
        return FCC_ERROR;
    }

    seal->n++;

    return FCC_OK;
}


int
fcc_seal_put(const fcc_seal_t *seal, const fcc_str_t *channel, fcc_buf_t *b)
{
    size_t          len;
    fcc_buf_t       m;
    unsigned char  *rest, hex[2 * FCC_SEAL_KEY];

    len = b->pos - b->start;

    if (b->full
        || !fcc_seal_head(b->start, len)
        || (size_t) (b->end - b->pos) < FCC_SEAL_SIZE)
    {
        return FCC_ERROR;
    }

    rest = b->start + FCC_SEAL_HEAD;
    len -= FCC_SEAL_HEAD;

    if (fcc_seal_mac(seal->key[0], channel, b->start, rest, len, hex)
        != FCC_OK)
    {
        return FCC_ERROR;
    }

    memmove(rest + FCC_SEAL_SIZE, rest, len);
    b->pos += FCC_SEAL_SIZE;

    fcc_buf_init(&m, rest, FCC_SEAL_SIZE);
    fcc_buf_lit(&m, "\"m\":\"");
    fcc_buf_put(&m, hex, sizeof(hex));
    fcc_buf_lit(&m, "\",");

    return FCC_OK;
}


int
fcc_seal_valid(const fcc_seal_t *seal, const fcc_str_t *channel,
    const unsigned char *data, size_t len)
{
    int                   valid;
    size_t                i;
    unsigned char         hex[2 * FCC_SEAL_KEY];
    const unsigned char  *m, *rest;

    if (!fcc_seal_head(data, len) || len < FCC_SEAL_HEAD + FCC_SEAL_SIZE) {
        return 0;
    }

    m = data + FCC_SEAL_HEAD;
    rest = m + FCC_SEAL_SIZE;

    if (memcmp(m, "\"m\":\"", 5) != 0 || memcmp(rest - 2, "\",", 2) != 0) {
        return 0;
    }

    valid = 0;

    for (i = 0; i < seal->n; i++) {
        if (fcc_seal_mac(seal->key[i], channel, data, rest,
                         len - (rest - data), hex)
            == FCC_OK)
        {
            valid |= CRYPTO_memcmp(hex, m + 5, sizeof(hex)) == 0;
        }
    }

    return valid;
}


static int
fcc_seal_head(const unsigned char *data, size_t len)
{
    return len > FCC_SEAL_HEAD
           && memcmp(data, "{\"v\":1,\"w\":\"", 12) == 0
           && memcmp(data + FCC_SEAL_HEAD - 2, "\",", 2) == 0;
}


static int
fcc_seal_mac(const unsigned char *key, const fcc_str_t *channel,
    const unsigned char *head, const unsigned char *rest, size_t len,
    unsigned char *hex)
{
    int                         ok;
    size_t                      i;
    unsigned                    n;
    EVP_MD_CTX                 *ctx;
    unsigned char               md[EVP_MAX_MD_SIZE], mac[EVP_MAX_MD_SIZE];

    static const unsigned char  digits[] = "0123456789abcdef";

    /* OpenSSL 3 frowns on all that takes an HMAC of pieces */

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return FCC_ERROR;
    }

    n = 0;

    ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)
         && EVP_DigestUpdate(ctx, channel->data, channel->len)
         && EVP_DigestUpdate(ctx, "", 1)
         && EVP_DigestUpdate(ctx, head, FCC_SEAL_HEAD)
         && EVP_DigestUpdate(ctx, rest, len)
         && EVP_DigestFinal_ex(ctx, md, &n);

    EVP_MD_CTX_free(ctx);

    if (!ok
        || HMAC(EVP_sha256(), key, FCC_SEAL_KEY, md, n, mac, &n) == NULL)
    {
        return FCC_ERROR;
    }

    for (i = 0; i < FCC_SEAL_KEY; i++) {
        hex[2 * i] = digits[mac[i] >> 4];
        hex[2 * i + 1] = digits[mac[i] & 0xf];
    }

    return FCC_OK;
}
