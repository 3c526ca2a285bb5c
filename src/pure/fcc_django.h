
/*
 * What Django signs and a chat server has to check: sessions
 * (django.core.signing, django.contrib.sessions) and the session's hash of the
 * user's password (django.contrib.auth).  The formats are the same in Django
 * 3.2, 4.2 and 5.2.
 */


#ifndef _FCC_DJANGO_H_INCLUDED_
#define _FCC_DJANGO_H_INCLUDED_


#include <fcc.h>


#define FCC_DJANGO_KEY_MAX        40      /* bytes of a session's key */
#define FCC_DJANGO_SECRETS        8       /* SECRET_KEY and its fallbacks */
#define FCC_DJANGO_INFLATE_MAX    65536   /* bytes of a session's JSON or
                                           * pickle */
#define FCC_DJANGO_USER_ID_MAX    20      /* decimal digits of an int8 */
#define FCC_DJANGO_BACKEND_MAX    128
#define FCC_DJANGO_HASH_MAX       64      /* hex of SHA-256 */


typedef enum {
    FCC_DJANGO_DB = 0,          /* salt of SessionStore, no age */
    FCC_DJANGO_COOKIE           /* salt of signed_cookies, age checked */
} fcc_django_engine_e;


typedef struct {
    fcc_str_t   key[FCC_DJANGO_SECRETS];    /* [0] is SECRET_KEY */
    size_t      n;
} fcc_django_secrets_t;


/* what login() left in a session; lengths 0 where it left nothing */

typedef struct {
    int64_t         user_id;    /* valid when has_user */
    int64_t         signed_at;  /* seconds; of FCC_DJANGO_COOKIE */
    unsigned        has_user:1; /* all three keys were there and well formed */
    size_t          backend_len;
    size_t          hash_len;
    unsigned char   backend[FCC_DJANGO_BACKEND_MAX];
    unsigned char   hash[FCC_DJANGO_HASH_MAX];
} fcc_django_session_t;


/* 1 for a session key Django could have made: [0-9a-z]{8,40} */
int fcc_django_session_key_valid(const unsigned char *p, size_t len);

/*
 * Verifies and reads session data: the column of django_session
 * (FCC_DJANGO_DB) or the cookie itself (FCC_DJANGO_COOKIE).  now and max_age in
 * seconds are for the latter.  The signature is compared in constant time with
 * each secret, before anything is decoded; then base64, zlib bounded by
 * FCC_DJANGO_INFLATE_MAX, JSON.
 *
 * FCC_OK: *out is set (an anonymous session has has_user == 0).
 * FCC_ERROR: not signed by us, too old, a pickle, or broken.
 * Allocates and frees inside: zlib about twice the bound, jansson up to some
 * twenty times for the worst JSON (a list of digits).
 */
int fcc_django_session_read(const fcc_django_secrets_t *secrets,
    fcc_django_engine_e engine, const unsigned char *data, size_t len,
    int64_t now, int64_t max_age, fcc_django_session_t *out);

/*
 * Reads a session as Django's RedisCache or django-redis keep it: pickled, and
 * compressed by zlib when django-redis does that.  Not signed: who can write to
 * Redis is trusted, but for _auth_user_hash.  FCC_OK and FCC_ERROR as above.
 * Allocates and frees some 200 KB inside.
 */
int fcc_django_session_unpickle(const unsigned char *data, size_t len,
    fcc_django_session_t *out);

/*
 * 1 when hash is get_session_auth_hash() of the encoded password under
 * SECRET_KEY or a fallback (django.contrib.auth.get_user); constant time.
 */
int fcc_django_auth_hash_valid(const fcc_django_secrets_t *secrets,
    const unsigned char *password, size_t len, const unsigned char *hash,
    size_t hash_len);


#endif /* _FCC_DJANGO_H_INCLUDED_ */
