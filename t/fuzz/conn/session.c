
/*
 * A session of Django's that is genuine, in each form that it is kept in.
 */


#include "conn.h"
#include "../sign.h"


#define SESSION_BACKEND  "django.contrib.auth.backends.ModelBackend"
#define SESSION_SALT                                                          \
    "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"


const char *
conn_password(void)
{
    return "pbkdf2_sha256$600000$salt$hash";
}


/* salted_hmac(): hmac_sha256(sha256(salt + key), value) in hex */

static const char *
session_hash(void)
{
    int                   i;
    char                  seed[256];
    size_t                n;
    unsigned int          len;
    unsigned char         key[SHA256_DIGEST_LENGTH], mac[EVP_MAX_MD_SIZE];
    static char           hash[2 * EVP_MAX_MD_SIZE + 1];

    n = snprintf(seed, sizeof(seed), "%s%s", SESSION_SALT, FUZZ_SECRET);
    SHA256((unsigned char *) seed, n, key);

    claim(HMAC(EVP_sha256(), key, sizeof(key),
               (unsigned char *) conn_password(), strlen(conn_password()), mac,
               &len)
          != NULL);

    for (i = 0; i < (int) len; i++) {
        snprintf(hash + 2 * i, 3, "%02x", mac[i]);
    }

    return hash;
}


const char *
conn_session_data(int cookie)
{
    char         json[512];
    size_t       n;
    fuzz_t       f;
    static char  data[2][2048];

    n = snprintf(json, sizeof(json),
                 "{\"_auth_user_id\":\"%s\",\"_auth_user_backend\":\"%s\","
                 "\"_auth_user_hash\":\"%s\"}", CONN_USER, SESSION_BACKEND,
                 session_hash());

    f.pos = (uint8_t *) json;
    f.last = f.pos + n;

    n = fuzz_sign_session((unsigned char *) data[cookie], &f,
                          cookie ? 2 : 0);
    claim(n < sizeof(data[0]));
    data[cookie][n] = '\0';

    return data[cookie];
}


const char *
conn_session_pickle(size_t *len)
{
    const char    *pair[6], *p;
    size_t         n;
    unsigned       i;
    static char    data[512];

    pair[0] = "_auth_user_id";
    pair[1] = CONN_USER;
    pair[2] = "_auth_user_backend";
    pair[3] = SESSION_BACKEND;
    pair[4] = "_auth_user_hash";
    pair[5] = session_hash();

    memcpy(data, "\200\004}(", 4);
    n = 4;

    for (i = 0; i < 6; i++) {
        p = pair[i];
        data[n++] = '\214';
        data[n++] = strlen(p);
        memcpy(data + n, p, strlen(p));
        n += strlen(p);
    }

    memcpy(data + n, "u.", 2);

    *len = n + 2;

    return data;
}
