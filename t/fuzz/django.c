
/*
 * Sessions.  The first byte says how much of it is genuine: 0, the input is
 * what a stranger sent; else it is signed with our secret first, so that what
 * is behind the signature is reached: base64, zlib, JSON.
 */


#include "fuzz.h"

#include <fcc_django.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


#define SECRET  "fuzz"


/* django.core.signing.Signer: base64(hmac_sha256(sha256(salt + "signer" +
 * key), value)) without '=' */

static size_t
fuzz_sign(unsigned char *out, const char *salt, const unsigned char *value,
    size_t len)
{
    char            seed[128];
    size_t          n, i;
    unsigned int    mac_len;
    unsigned char   key[SHA256_DIGEST_LENGTH], mac[EVP_MAX_MD_SIZE];

    n = snprintf(seed, sizeof(seed), "%ssigner%s", salt, SECRET);
    SHA256((unsigned char *) seed, n, key);

    claim(HMAC(EVP_sha256(), key, sizeof(key), value, len, mac, &mac_len)
          != NULL);

    n = EVP_EncodeBlock(out, mac, mac_len);

    while (n && out[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < n; i++) {
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    }

    return n;
}


/* the payload as base64url, with a '.' before it when it is compressed, a
 * timestamp and the signature */

static unsigned char *
fuzz_session(fuzz_t *f, unsigned how, size_t *len)
{
    size_t          n, i, size;
    unsigned char  *p, *out;
    const char     *salt, *stamp;

    size = f->last - f->pos;
    out = malloc(size * 2 + 256);
    claim(out != NULL);

    p = out;

    if (how & 4) {
        *p++ = '.';
    }

    n = EVP_EncodeBlock(p, f->pos, size);

    while (n && p[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < n; i++) {
        p[i] = p[i] == '+' ? '-' : p[i] == '/' ? '_' : p[i];
    }

    p += n;

    stamp = ":1vN000";
    memcpy(p, stamp, strlen(stamp));
    p += strlen(stamp);

    salt = how & 2 ? "django.contrib.sessions.backends.signed_cookies"
                   : "django.contrib.sessions.SessionStore";

    n = p - out;
    *p++ = ':';
    p += fuzz_sign(p, salt, out, n);

    *len = p - out;

    return out;
}


static void
fuzz_result(fcc_django_session_t *s)
{
    claim(s->backend_len <= FCC_DJANGO_BACKEND_MAX);
    claim(s->hash_len <= FCC_DJANGO_HASH_MAX);
    claim(!s->has_user || s->user_id >= 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t                 f;
    size_t                 len;
    unsigned               how;
    unsigned char         *p;
    fcc_django_engine_e    engine;
    fcc_django_session_t   s;
    fcc_django_secrets_t   secrets;

    if (size > 200000) {
        return 0;
    }

    f.pos = data;
    f.last = data + size;

    memset(&secrets, 0, sizeof(secrets));
    secrets.n = 1;
    secrets.key[0].data = (unsigned char *) SECRET;
    secrets.key[0].len = sizeof(SECRET) - 1;

    how = fuzz_byte(&f);
    engine = how & 2 ? FCC_DJANGO_COOKIE : FCC_DJANGO_DB;

    if (how & 1) {
        p = fuzz_session(&f, how, &len);

    } else {
        len = f.last - f.pos;
        p = malloc(len ? len : 1);
        claim(p != NULL);
        memcpy(p, f.pos, len);
    }

    (void) fcc_django_session_key_valid(p, len);
    (void) fcc_django_auth_hash_valid(&secrets, p, len / 2, p + len / 2,
                                      len - len / 2);

    if (fcc_django_session_read(&secrets, engine, p, len, 1790000000,
                                1000000000, &s) == FCC_OK)
    {
        /* nobody but this program knows the secret */

        claim(how & 1);
        fuzz_result(&s);
    }

    free(p);

    return 0;
}
