
/*
 * Django's tokens: a secret of 32 letters and digits, or a mask of as many and
 * then the secret, each character moved on by the mask's in the alphabet
 * a-zA-Z0-9 (_mask_cipher_secret()).
 */


#include <fcc_csrf.h>

#include <openssl/crypto.h>


#define FCC_CSRF_ALPHABET  62
#define FCC_CSRF_BEARER    (sizeof("Bearer ") - 1)


static int fcc_csrf_secret(const fcc_str_t *token, unsigned char *secret);
static int fcc_csrf_index(unsigned char c);


int
fcc_csrf_equal(const fcc_str_t *cookie, const fcc_str_t *token)
{
    unsigned char  a[FCC_CSRF_SECRET], b[FCC_CSRF_SECRET];

    return fcc_csrf_secret(cookie, a) == FCC_OK
           && fcc_csrf_secret(token, b) == FCC_OK
           && CRYPTO_memcmp(a, b, FCC_CSRF_SECRET) == 0;
}


/* as places in the alphabet */

static int
fcc_csrf_secret(const fcc_str_t *token, unsigned char *secret)
{
    int     n;
    size_t  i;

    if (token->len != FCC_CSRF_SECRET && token->len != FCC_CSRF_TOKEN) {
        return FCC_ERROR;
    }

    for (i = 0; i < token->len; i++) {
        n = fcc_csrf_index(token->data[i]);

        if (n < 0) {
            return FCC_ERROR;
        }

        if (i < FCC_CSRF_SECRET) {
            secret[i] = (unsigned char) n;
            continue;
        }

        /* what was taken for the secret is the mask */

        n += FCC_CSRF_ALPHABET - secret[i - FCC_CSRF_SECRET];
        secret[i - FCC_CSRF_SECRET] = (unsigned char) (n % FCC_CSRF_ALPHABET);
    }

    return FCC_OK;
}


static int
fcc_csrf_index(unsigned char c)
{
    if (c >= 'a' && c <= 'z') {
        return c - 'a';
    }

    if (c >= 'A' && c <= 'Z') {
        return c - 'A' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return -1;
}


int
fcc_csrf_referer(const unsigned char *p, size_t len, fcc_origin_t *origin)
{
    size_t  i;

    /* "scheme://", then all up to the path, the query or the fragment */

    for (i = 0; i < len && p[i] != ':'; i++) { /* void */ }

    if (len - i < 3 || p[i + 1] != '/' || p[i + 2] != '/') {
        return FCC_ERROR;
    }

    for (i += 3; i < len; i++) {
        if (p[i] == '/' || p[i] == '?' || p[i] == '#') {
            break;
        }
    }

    return fcc_http_origin_parse(p, i, origin);
}


int
fcc_csrf_is_bearer(const unsigned char *p, size_t len)
{
    size_t             i;
    static const char  name[] = "bearer";

    if (len < FCC_CSRF_BEARER) {
        return 0;
    }

    for (i = 0; i < FCC_CSRF_BEARER - 1; i++) {
        if ((p[i] | 0x20) != (unsigned char) name[i]) {
            return 0;
        }
    }

    return p[i] == ' ';
}


int
fcc_csrf_bearer(const unsigned char *p, size_t len, const fcc_str_t *secrets,
    size_t n)
{
    int     found;
    size_t  i;

    if (!fcc_csrf_is_bearer(p, len)) {
        return 0;
    }

    p += FCC_CSRF_BEARER;
    len -= FCC_CSRF_BEARER;

    while (len && *p == ' ') {
        p++;
        len--;
    }

    found = 0;

    for (i = 0; i < n; i++) {
        found |= secrets[i].len == len
                 && CRYPTO_memcmp(secrets[i].data, p, len) == 0;
    }

    return found;
}
