
/*
 * Sessions that are signed with a secret of our own, so that what is behind the
 * signature is reached.
 */


#ifndef _SIGN_H_INCLUDED_
#define _SIGN_H_INCLUDED_


#include "fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


#define FUZZ_SECRET  "fuzz"


/* base64url without '=' */

static inline size_t
fuzz_base64(unsigned char *out, const unsigned char *data, size_t len)
{
    size_t  n, i;

    n = EVP_EncodeBlock(out, data, len);

    while (n && out[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < n; i++) {
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    }

    return n;
}


/* django.core.signing.Signer: hmac_sha256(sha256(salt + "signer" + key),
 * value) */

static inline size_t
fuzz_sign(unsigned char *out, const char *salt, const unsigned char *value,
    size_t len)
{
    char            seed[128];
    size_t          n;
    unsigned int    mac_len;
    unsigned char   key[SHA256_DIGEST_LENGTH], mac[EVP_MAX_MD_SIZE];

    n = snprintf(seed, sizeof(seed), "%ssigner%s", salt, FUZZ_SECRET);
    SHA256((unsigned char *) seed, n, key);

    claim(HMAC(EVP_sha256(), key, sizeof(key), value, len, mac, &mac_len)
          != NULL);

    return fuzz_base64(out, mac, mac_len);
}


/*
 * What is left of the input as a session: how & 4: as if it were compressed;
 * how & 2: of a cookie.  out has twice as many bytes and 256.  Its length.
 */

static inline size_t
fuzz_sign_session(unsigned char *out, fuzz_t *f, unsigned how)
{
    size_t          n;
    const char     *salt, *stamp;
    unsigned char  *p;

    p = out;

    if (how & 4) {
        *p++ = '.';
    }

    p += fuzz_base64(p, f->pos, f->last - f->pos);

    stamp = ":1vN000";
    memcpy(p, stamp, strlen(stamp));
    p += strlen(stamp);

    salt = how & 2 ? "django.contrib.sessions.backends.signed_cookies"
                   : "django.contrib.sessions.SessionStore";

    n = p - out;
    *p++ = ':';
    p += fuzz_sign(p, salt, out, n);

    return p - out;
}


#endif /* _SIGN_H_INCLUDED_ */
