
/*
 * fcc_django against vectors that Django itself made (3.2; 4.2 and 5.2 make the
 * same), and against what nobody but the holder of the key could send: for
 * these the test signs by its own means.
 */


#include "tap.h"

#include <fcc_django.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>


#define DJANGO_NOW      1756684800
#define DJANGO_AGE      1209600
#define DJANGO_KEY      "fcchat-test-secret-key"
#define DJANGO_OLD_KEY  "fcchat-old-secret"
#define DJANGO_BACKEND  "django.contrib.auth.backends.ModelBackend"
#define DJANGO_SESSION  "django.contrib.sessions.SessionStore"
#define DJANGO_COOKIES  "django.contrib.sessions.backends.signed_cookies"
#define DJANGO_AUTH                                                           \
    "0f6263d59fa0a9a08df68b39ed7e7a972689a6ae28bb93cfe6cc480e2fb65c12"
#define DJANGO_PASSWORD                                                       \
    "pbkdf2_sha256$260000$saltsaltsalt$"                                      \
    "h7hIbtGEJ/uH4YM0T1OrGcN7bX7e7JQqE0QXK8V1kH4="

#define DJANGO_P                                                              \
    ".eJxVjEEOwiAQRe_C2hCEdgCX7nsGMgODVA0kpV0Z765NutDtf-_9lwi4rSVsnZc"      \
    "wJ3ERgxan35EwPrjuJN2x3pqMra7LTHJX5EG7nFri5_Vw_w4K9vKtVQYNJo0-o0K"       \
    "PyqUMjoznZNmitxqcR0DWjsibmBliHJxinQnGeNbi_QEYxjiu"

#define DJANGO_COUNT(a)  (sizeof(a) / sizeof(a[0]))


static const fcc_django_secrets_t  django_keys = {
    { fcc_string(DJANGO_KEY) }, 1
};

static char            django_text[400000];
static unsigned char   django_raw[300000];


static int
django_read_with(const fcc_django_secrets_t *keys, fcc_django_engine_e engine,
    const char *data, size_t len, int64_t now, fcc_django_session_t *s)
{
    int             rc;
    unsigned char  *p;

    memset(s, 0xa5, sizeof(*s));

    p = tap_copy(data, len);
    rc = fcc_django_session_read(keys, engine, p, len, now, DJANGO_AGE, s);
    free(p);

    return rc;
}


static int
django_read(fcc_django_engine_e engine, const char *data,
    fcc_django_session_t *s)
{
    return django_read_with(&django_keys, engine, data, strlen(data),
                            DJANGO_NOW, s);
}


static size_t
django_base64(char *dst, const unsigned char *src, size_t len)
{
    size_t  n, i;

    n = EVP_EncodeBlock((unsigned char *) dst, src, (int) len);

    for (i = 0; i < n; i++) {
        dst[i] = (dst[i] == '+') ? '-' : (dst[i] == '/') ? '_' : dst[i];
    }

    while (n && dst[n - 1] == '=') {
        n--;
    }

    dst[n] = '\0';

    return n;
}


/* appends ":time:signature" to the payload in django_text */

static const char *
django_sign_at(const char *salt, const char *key, const char *time)
{
    char           seed[256];
    size_t         len;
    unsigned       n;
    unsigned char  hash[32], mac[32];

    sprintf(seed, "%ssigner%s", salt, key);
    EVP_Digest(seed, strlen(seed), hash, &n, EVP_sha256(), NULL);

    strcat(django_text, ":");
    strcat(django_text, time);
    len = strlen(django_text);

    HMAC(EVP_sha256(), hash, 32, (unsigned char *) django_text, len, mac, &n);

    django_text[len++] = ':';
    (void) django_base64(django_text + len, mac, 32);

    return django_text;
}


static const char *
django_sign_payload(const char *payload)
{
    strcpy(django_text, payload);

    return django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
}


static const char *
django_sign(const void *data, size_t len)
{
    (void) django_base64(django_text, data, len);

    return django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
}


static const char *
django_sign_json(const char *json)
{
    return django_sign(json, strlen(json));
}


static const char *
django_sign_zip(const void *data, size_t len)
{
    uLongf  n;

    n = sizeof(django_raw);
    compress2(django_raw, &n, data, len, 9);

    django_text[0] = '.';
    (void) django_base64(django_text + 1, django_raw, n);

    return django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
}


static void
django_is_user(const fcc_django_session_t *s, int64_t id, const char *name)
{
    is_int(s->has_user, 1, name);
    is_int(s->user_id, id, name);
    is_str(s->backend, s->backend_len, DJANGO_BACKEND, name);
    is_str(s->hash, s->hash_len, DJANGO_AUTH, name);
}


static void
django_test_known(void)
{
    size_t                i;
    fcc_django_session_t  s;

    static const struct {
        const char           *name;
        fcc_django_engine_e   engine;
        int64_t               user_id;      /* 0: anonymous */
        const char           *data;
    } cases[] = {
        { "plain {a: 1}", FCC_DJANGO_DB, 0,
          "eyJhIjoxfQ:1usrxo:PYallqfCg_cNWDm7UyJVUmumFLJ81mBCOF1UMpEEBGw" },
        { "plain, escaped text", FCC_DJANGO_DB, 0,
          "eyJuIjoiXHUzMDUzIn0:1usrxo:"
          "yLxQlhLbLuSDkUE7CPr8EubltJmX6V2hLjsZP-bcX4g" },
        { "no keys at all", FCC_DJANGO_DB, 0,
          "e30:1usrxo:TtiPHbHLB_lk2J55GjdLePLI41oZyOJgk02dZrtadL4" },
        { "db", FCC_DJANGO_DB, 42,
          DJANGO_P ":1usrxo:a3vNN7ghUR8QDzm1TOdiI8JyxL03oLiIXJNrZNDYoRw" },
        { "signed cookie", FCC_DJANGO_COOKIE, 42,
          DJANGO_P ":1usrxo:n_L1Xn-reY7aQhk70GnXi8cuZ-dBg3KwIoMpzqeGo4k" },
        { "the greatest id", FCC_DJANGO_DB, INT64_MAX,
          ".eJxVzLsOwjAMheF3yYyi4DR2zMjeZ6icxKEF1Eq9TIh3h0odYD7f-V-mk23tu"
          "23RuRuKuRgG8J7AeYyhIQrRkTn9qiT5oeNOy13G22TzNK7zkOxO7LEutp2KPq-H"
          "_Qv0svTft6sI6EvgKk5YXCwVY_KshZSECTCyoCjElNjnqphzE51CTRjyGcz7A8I"
          "0PDA:1usrxo:IwJyjYCAj5VC_pAr0xqUWohUcZk9TPIFYKML0Ck--V8" },
        { "not compressed", FCC_DJANGO_DB, 43,
          "eyJfYXV0aF91c2VyX2lkIjoiNDMiLCJfYXV0aF91c2VyX2JhY2tlbmQiOiJkamF"
          "uZ28uY29udHJpYi5hdXRoLmJhY2tlbmRzLk1vZGVsQmFja2VuZCIsIl9hdXRoX3"
          "VzZXJfaGFzaCI6IjBmNjI2M2Q1OWZhMGE5YTA4ZGY2OGIzOWVkN2U3YTk3MjY4O"
          "WE2YWUyOGJiOTNjZmU2Y2M0ODBlMmZiNjVjMTIifQ:1usrxo:JaNfEZZYDQKLI-"
          "_xukoR9jkejvxA1V95hrCeq7mQZII" },
        { "other keys around, one with a great integer", FCC_DJANGO_DB, 7,
          ".eJyFj7luhDAQht9laoJ8gA_K9HmC3RUa2-NdEmQiDBIR4t1jpC2SJpnyvzTfD"
          "j2uy6NfM839EKADDdVPzaH_oHQa4R3Tfar9lJZ5cPUZqZ9urt-mQOPrM_tr4IH5"
          "UdosKqFkaG1EhhaZCVEZJy0FTRqtFspYVEjCOGelj6S8bwwjEZ1qPRdl1OO8QMe"
          "5Ya3lSjDNdcO5ZLIRTQWJ7tC9cPbnlVj55bpK1srreiobnNW8UEHcAaG78Ooiqh"
          "0cdGkdx-N2OwqPz3NcpkJX6ts_d_JnynmYUk_b5zB_QceOb4K8cjc:1usrxo:ck"
          "3Z6sjw1gVAr0F1w9wAj36mfMIDmqwatqghcdDTm_4" },
        { "the same, not compressed", FCC_DJANGO_DB, 7,
          "eyJfYXV0aF91c2VyX2lkIjoiNyIsIl9hdXRoX3VzZXJfYmFja2VuZCI6ImRqYW5"
          "nby5jb250cmliLmF1dGguYmFja2VuZHMuTW9kZWxCYWNrZW5kIiwiX2F1dGhfdX"
          "Nlcl9oYXNoIjoiMGY2MjYzZDU5ZmEwYTlhMDhkZjY4YjM5ZWQ3ZTdhOTcyNjg5Y"
          "TZhZTI4YmI5M2NmZTZjYzQ4MGUyZmI2NWMxMiIsImNhcnQiOjExODA1OTE2MjA3"
          "MTc0MTEzMDM0MjQsIm5lZyI6LTEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"
          "wMDAsIm4iOiJcdTMwNTNcdTAwMDB4IiwibmVzdGVkIjp7ImEiOlsxLFsyLHsiYi"
          "I6bnVsbH1dXX0sIl9jc3JmdG9rZW4iOiJ4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e"
          "Hh4eHh4eHh4eCIsIl9zZXNzaW9uX2V4cGlyeSI6MH0:1usrxo:gE2ul0Y1QMD15"
          "qBm1fpBFtZ4C_Q81vPAtyll9se9VKc" }
    };

    static const char  *bad[] = {
        /* a list */
        "WzEsMl0:1usrxo:VlVYHqLeu6x00aF40GeMiUZyrrHqVEzwm2tx3L4hD0c",
        /* a pickle, compressed */
        ".eJxNjEsKwjAURUWciuAqdBJi0r4kM3HuGsJL8mKr0kI_Q8EFZBj34RJVVOgdnnO"
        "498XjOfvuljdpaXEcKjv21Nk65DQvRE7rCXToL9S8zTacsTm1zLfN0NWOfRL2sz0"
        "7toGuh3-7mhxU2Fc57XkEATKUJiJHg1yHCNpJQ0GRQqMEaIOAJLRzRvpI4H2hOYn"
        "ooPQ7kUf2AjFEQBY:1usrxo:LhGWxlFdAIbzsz3kA2pCvlChkqFWvHaZySgedaJCX"
        "s0",
        /* the format before Django 3.1 */
        "N2FhODg3MTJlMTViZGUwY2RkNGZiNjI2MDEyOGExODhkNzlhMDE3NDp7ImEiOjF9",
        /* of the other engine */
        DJANGO_P ":1usrxo:n_L1Xn-reY7aQhk70GnXi8cuZ-dBg3KwIoMpzqeGo4k"
    };

    for (i = 0; i < DJANGO_COUNT(cases); i++) {
        is_int(django_read(cases[i].engine, cases[i].data, &s), FCC_OK,
               cases[i].name);

        if (cases[i].user_id) {
            django_is_user(&s, cases[i].user_id, cases[i].name);

        } else {
            is_int(s.has_user, 0, "nobody");
            is_int(s.backend_len + s.hash_len, 0, "nothing");
        }
    }

    for (i = 0; i < DJANGO_COUNT(bad); i++) {
        is_int(django_read(FCC_DJANGO_DB, bad[i], &s), FCC_ERROR, bad[i]);
        is_int(s.has_user, 0, "nobody");
    }

    is_int(django_read(FCC_DJANGO_COOKIE,
                       "gASVsAAAAAAAAAB9lCiMDV9hdXRoX3VzZXJfaWSUjAI0MpSMEl9hd"
                       "XRoX3VzZXJfYmFja2VuZJSMKWRqYW5nby5jb250cmliLmF1dGguYm"
                       "Fja2VuZHMuTW9kZWxCYWNrZW5klIwPX2F1dGhfdXNlcl9oYXNolIx"
                       "AMGY2MjYzZDU5ZmEwYTlhMDhkZjY4YjM5ZWQ3ZTdhOTcyNjg5YTZh"
                       "ZTI4YmI5M2NmZTZjYzQ4MGUyZmI2NWMxMpR1Lg:1usrxo:r71i1q3"
                       "E53_IDlq_2xD_5PZ1p9B1Ta8-EoINXTKmssg", &s),
           FCC_ERROR, "a pickle in a cookie");
}


static void
django_test_secrets(void)
{
    fcc_django_secrets_t  keys;
    fcc_django_session_t  s;

    static const char  old[] =
        ".eJxVjEEOwiAQRe_C2hCEdmBcuu8ZyACDVA0kpV0Z765NutDtf-_9l_C0rcVvnRc"
        "_J3ERwyBOv2Og-OC6k3Snemsytrouc5C7Ig_a5dQSP6-H-3dQqJdvrTJoMGnETIq"
        "QlEsZXDDIybIltBocEhBrFwKamBliHJxinQOM8azF-wMZ-Diw:1usrxo:poAcmN7"
        "atVx1wbKqaXbrzjSsqTr_mkU03AiqBAsDCPE";
    static const char  other[] =
        ".eJxVjEEOwiAQRe_C2hCEMoBL9z1DMwODVA0kpV0Z765NutDtf-_9l5hwW8u0dV6"
        "mOYmLGKw4_Y6E8cF1J-mO9dZkbHVdZpK7Ig_a5dgSP6-H-3dQsJdvrTJoMMmGjAo"
        "DKp8yeDKBk2OHwWnwAQFZe6JgYmaIcfCKdSaw8azF-wMakTix:1usrxo:UtMBGb7"
        "V0zQlmL_ZBx_8-4CsVjMr2m5Cmqy0L5oAsQs";
    static const fcc_str_t  list[] = {
        fcc_string(DJANGO_KEY), fcc_string(DJANGO_OLD_KEY),
        fcc_string("another secret \xc3\xa9\xe3\x81\x93"), fcc_string("")
    };

    is_int(django_read(FCC_DJANGO_DB, old, &s), FCC_ERROR, "not our key");

    memset(&keys, 0, sizeof(keys));
    keys.key[0] = list[0];
    keys.key[1] = list[1];
    keys.key[2] = list[2];
    keys.n = 2;

    is_int(django_read_with(&keys, FCC_DJANGO_DB, old, strlen(old), DJANGO_NOW,
                            &s),
           FCC_OK, "a fallback");
    django_is_user(&s, 44, "of the old key");
    is_int(django_read_with(&keys, FCC_DJANGO_DB, other, strlen(other),
                            DJANGO_NOW, &s),
           FCC_ERROR, "a key after the last");

    keys.n = 3;
    is_int(django_read_with(&keys, FCC_DJANGO_DB, other, strlen(other),
                            DJANGO_NOW, &s),
           FCC_OK, "a key that is not ASCII");
    is_int(s.user_id, 45, "its user");

    keys.n = 0;
    is_int(django_read_with(&keys, FCC_DJANGO_DB, old, strlen(old), DJANGO_NOW,
                            &s),
           FCC_ERROR, "no keys");

    /* an empty line in a key file must not let everybody in */

    strcpy(django_text, "e30");
    (void) django_sign_at(DJANGO_SESSION, "", "1usrxo");
    keys.key[0] = list[3];
    keys.n = 1;
    is_int(django_read_with(&keys, FCC_DJANGO_DB, django_text,
                            strlen(django_text), DJANGO_NOW, &s),
           FCC_ERROR, "an empty key");
    is_int(fcc_django_auth_hash_valid(&keys,
                                      (unsigned char *) DJANGO_PASSWORD,
                                      strlen(DJANGO_PASSWORD),
                                      (unsigned char *) DJANGO_AUTH, 64),
           0, "an empty key hashes nothing");
}


/* each byte of a good value is changed, dropped, and the rest cut off */

static void
django_test_tampered(void)
{
    size_t                i, n, len;
    unsigned              passed;
    fcc_django_session_t  s;
    char                  text[400];

    static const char  good[] =
        DJANGO_P ":1usrxo:a3vNN7ghUR8QDzm1TOdiI8JyxL03oLiIXJNrZNDYoRw";

    len = sizeof(good) - 1;
    passed = 0;

    for (i = 0; i < len; i++) {
        for (n = 0; n < 8; n++) {
            memcpy(text, good, len);
            text[i] ^= 1 << n;
            passed += django_read_with(&django_keys, FCC_DJANGO_DB, text, len,
                                       DJANGO_NOW, &s)
                      == FCC_OK;
        }

        memmove(text, good, i);
        memmove(text + i, good + i + 1, len - i - 1);
        passed += django_read_with(&django_keys, FCC_DJANGO_DB, text, len - 1,
                                   DJANGO_NOW, &s)
                  == FCC_OK;

        passed += django_read_with(&django_keys, FCC_DJANGO_DB, good, i,
                                   DJANGO_NOW, &s)
                  == FCC_OK;
    }

    is_int(passed, 0, "whatever is changed, it is refused");

    sprintf(text, "%s=", good);
    is_int(django_read(FCC_DJANGO_DB, text, &s), FCC_ERROR, "padding");
    is_int(django_read(FCC_DJANGO_DB, "", &s), FCC_ERROR, "nothing");
    is_int(django_read(FCC_DJANGO_DB, ":", &s), FCC_ERROR, "a colon");
    is_int(django_read(FCC_DJANGO_DB, "::", &s), FCC_ERROR, "two colons");
    is_int(django_read(FCC_DJANGO_DB, ":::::::", &s), FCC_ERROR, "colons");
    is_int(django_read(FCC_DJANGO_DB,
                       "1usrxo:a3vNN7ghUR8QDzm1TOdiI8JyxL03oLiIXJNrZNDYoRw",
                       &s),
           FCC_ERROR, "two parts");
}


static void
django_test_age(void)
{
    size_t                i;
    fcc_django_session_t  s;

    static const char  cookie[] =
        DJANGO_P ":1usrxo:n_L1Xn-reY7aQhk70GnXi8cuZ-dBg3KwIoMpzqeGo4k";
    static const char  db[] =
        DJANGO_P ":1usrxo:a3vNN7ghUR8QDzm1TOdiI8JyxL03oLiIXJNrZNDYoRw";

    static const struct {
        const char  *time;
        int64_t      now;
        int          rc;
    } cases[] = {
        { "0", DJANGO_AGE, FCC_OK },
        { "0", DJANGO_AGE + 1, FCC_ERROR },
        { "-5", DJANGO_AGE - 5, FCC_OK },
        { "-5", DJANGO_AGE - 4, FCC_ERROR },
        { "10", 62 + DJANGO_AGE, FCC_OK },
        { "10", 62 + DJANGO_AGE + 1, FCC_ERROR },
        { "A", 10 + DJANGO_AGE + 1, FCC_ERROR },
        { "a", 36 + DJANGO_AGE, FCC_OK },
        { "z", 61 + DJANGO_AGE + 1, FCC_ERROR },
        { "zzzzzzzzzz", DJANGO_NOW, FCC_OK },
        { "-zzzzzzzzzz", DJANGO_NOW, FCC_ERROR },
        { "zzzzzzzzzzz", DJANGO_NOW, FCC_ERROR },
        { "", 0, FCC_ERROR },
        { "-", 0, FCC_ERROR },
        { "--1", 0, FCC_ERROR },
        { "+1", 0, FCC_ERROR },
        { " 1", 0, FCC_ERROR },
        { "1_0", 0, FCC_ERROR }
    };

    is_int(django_read_with(&django_keys, FCC_DJANGO_COOKIE, cookie,
                            strlen(cookie), DJANGO_NOW + DJANGO_AGE, &s),
           FCC_OK, "a cookie of its last second");
    is_int(django_read_with(&django_keys, FCC_DJANGO_COOKIE, cookie,
                            strlen(cookie), DJANGO_NOW + DJANGO_AGE + 1, &s),
           FCC_ERROR, "a cookie too old");
    is_int(s.has_user, 0, "tells no user");
    is_int(django_read_with(&django_keys, FCC_DJANGO_DB, db, strlen(db),
                            DJANGO_NOW + 100 * (int64_t) DJANGO_AGE, &s),
           FCC_OK, "a row has no age here");

    for (i = 0; i < DJANGO_COUNT(cases); i++) {
        strcpy(django_text, "e30");
        (void) django_sign_at(DJANGO_COOKIES, DJANGO_KEY, cases[i].time);
        is_int(django_read_with(&django_keys, FCC_DJANGO_COOKIE, django_text,
                                strlen(django_text), cases[i].now, &s),
               cases[i].rc, django_text);
    }
}


/* signed by us, but not what a session looks like */

static void
django_test_payloads(void)
{
    size_t                i;
    fcc_django_session_t  s;

    static const char  *json[] = {
        "", " ", "{", "}", "[]", "null", "1", "\"x\"", "{}x", "{}{}", "{\"a\"}",
        "{\"a\":1,\"a\":2}", "{\"a\":1e400}", "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\xff\"}", "{\"a\\u0000\":1}", "{a:1}", "{'a':1}",
        "\x80\x04\x95}"
    };

    static const char  *payloads[] = {
        "", ".", "e", "e3", "e30=", "e30.", "e+0", "e/0", "e 0", "e30\n",
        "e30:e30", ".e30", ".eJyrrgUAAXUA", ".eJyrrgUAAXUA-Q", "e300\xc3\xa9"
    };

    for (i = 0; i < DJANGO_COUNT(json); i++) {
        is_int(django_read(FCC_DJANGO_DB, django_sign_json(json[i]), &s),
               FCC_ERROR, json[i]);
    }

    for (i = 0; i < DJANGO_COUNT(payloads); i++) {
        is_int(django_read(FCC_DJANGO_DB, django_sign_payload(payloads[i]),
                           &s),
               strcmp(payloads[i], ".eJyrrgUAAXUA-Q") ? FCC_ERROR : FCC_OK,
               payloads[i]);
    }

    is_int(django_read(FCC_DJANGO_DB, django_sign_json("{}"), &s), FCC_OK,
           "the test signs well");
    is_int(django_read(FCC_DJANGO_DB, django_sign_zip("{}", 2), &s), FCC_OK,
           "compressed, too");
    is_int(django_read(FCC_DJANGO_DB,
                       django_sign_json("{\"a\":-0,\"b\":123456789012345678901"
                                        "234567890,\"c\":\"x\\u0000\"}"), &s),
           FCC_OK, "what Python can write and we need not");
}


static void
django_test_keys(void)
{
    size_t                i;
    fcc_django_session_t  s;
    char                  json[1024];

#define B  "\"_auth_user_backend\":\"b\","
#define H  "\"_auth_user_hash\":\"h\","

    static const struct {
        const char  *json;
        int64_t      id;            /* 0: nobody */
    } cases[] = {
        { B H "\"_auth_user_id\":\"1\"", 1 },
        { B H "\"_auth_user_id\":\"9223372036854775807\"", INT64_MAX },
        { B H "\"_auth_user_id\":\"9223372036854775808\"", 0 },
        { B H "\"_auth_user_id\":\"18446744073709551617\"", 0 },
        { B H "\"_auth_user_id\":\"99999999999999999999\"", 0 },
        { B H "\"_auth_user_id\":\"111111111111111111111\"", 0 },
        { B H "\"_auth_user_id\":\"0\"", 0 },
        { B H "\"_auth_user_id\":\"-1\"", 0 },
        { B H "\"_auth_user_id\":\"+1\"", 0 },
        { B H "\"_auth_user_id\":\"01\"", 0 },
        { B H "\"_auth_user_id\":\" 1\"", 0 },
        { B H "\"_auth_user_id\":\"1 \"", 0 },
        { B H "\"_auth_user_id\":\"1\\u0000\"", 0 },
        { B H "\"_auth_user_id\":\"1.0\"", 0 },
        { B H "\"_auth_user_id\":\"0x1\"", 0 },
        { B H "\"_auth_user_id\":\"1a\"", 0 },
        { B H "\"_auth_user_id\":\"1:\"", 0 },
        { B H "\"_auth_user_id\":\"1/\"", 0 },
        { B H "\"_auth_user_id\":\"1090\"", 1090 },
        { B H "\"_auth_user_id\":\"\"", 0 },
        { B H "\"_auth_user_id\":\"6f1c0d2e-4f0a-4b5e-9d58-0a2a5e0e8f11\"",
          0 },
        { B H "\"_auth_user_id\":1", 0 },
        { B H "\"_auth_user_id\":null", 0 },
        { B H "\"_auth_user_id\":[\"1\"]", 0 },
        { B "\"_auth_user_id\":\"1\"", 0 },
        { H "\"_auth_user_id\":\"1\"", 0 },
        { B H "\"x\":{\"_auth_user_id\":\"1\"}", 0 },
        { B "\"_auth_user_hash\":\"\",\"_auth_user_id\":\"1\"", 0 },
        { H "\"_auth_user_backend\":\"\",\"_auth_user_id\":\"1\"", 0 },
        { B "\"_auth_user_hash\":7,\"_auth_user_id\":\"1\"", 0 },
        { B "\"_auth_user_hash\":\"" DJANGO_AUTH "\",\"_auth_user_id\":\"1\"",
          1 },
        { B "\"_auth_user_hash\":\"" DJANGO_AUTH "0\",\"_auth_user_id\":\"1\"",
          0 }
    };

    for (i = 0; i < DJANGO_COUNT(cases); i++) {
        sprintf(json, "{%s}", cases[i].json);
        is_int(django_read(FCC_DJANGO_DB, django_sign_json(json), &s), FCC_OK,
               json);
        is_int(s.has_user, cases[i].id != 0, "who");

        if (cases[i].id) {
            is_int(s.user_id, cases[i].id, "id");
        }
    }

    sprintf(json, "{" H "\"_auth_user_id\":\"1\",\"_auth_user_backend\":"
            "\"%0128d\"}", 0);
    is_int(django_read(FCC_DJANGO_DB, django_sign_json(json), &s), FCC_OK,
           "a backend of 128 bytes");
    is_int(s.has_user, 1, "fits");
    is_int(s.backend_len, 128, "whole");
    is_str(s.hash, s.hash_len, "h", "the hash is what was there");

    sprintf(json, "{" H "\"_auth_user_id\":\"1\",\"_auth_user_backend\":"
            "\"%0129d\"}", 0);
    is_int(django_read(FCC_DJANGO_DB, django_sign_json(json), &s), FCC_OK,
           "a backend of 129 bytes");
    is_int(s.has_user, 0, "does not");
    is_int(s.backend_len, 0, "and is left out");
}


static void
django_test_bounds(void)
{
    char                 *json;
    size_t                i, n;
    uLongf                zlen;
    fcc_django_session_t  s;

    n = 64 * 1024 * 1024;
    json = malloc(n);

    /* {"a":"xxxx"} of exactly the bound, and of one byte more */

    for (i = 0; i < 2; i++) {
        memset(json, 'x', FCC_DJANGO_INFLATE_MAX + 1);
        memcpy(json, "{\"a\":\"", 6);
        memcpy(json + FCC_DJANGO_INFLATE_MAX + i - 2, "\"}", 2);

        is_int(django_read(FCC_DJANGO_DB,
                           django_sign_zip(json, FCC_DJANGO_INFLATE_MAX + i),
                           &s),
               i ? FCC_ERROR : FCC_OK, "the bound, compressed");
        is_int(django_read(FCC_DJANGO_DB,
                           django_sign(json, FCC_DJANGO_INFLATE_MAX + i),
                           &s),
               i ? FCC_ERROR : FCC_OK, "the bound, not compressed");
    }

    memset(json, ' ', n);
    memcpy(json, "{}", 2);
    is_int(django_read(FCC_DJANGO_DB, django_sign_zip(json, n), &s),
           FCC_ERROR, "a bomb of 64 MB");
    ok(strlen(django_text) < 90000, "in a few bytes");

    memset(json, '[', n);
    memcpy(json, "{\"a\":", 5);
    is_int(django_read(FCC_DJANGO_DB, django_sign_zip(json, 60000), &s),
           FCC_ERROR, "nested 60000 deep");

    json[0] = '{';

    for (n = 1, i = 0; n < 65000; i++) {
        n += sprintf(json + n, "\"%zu\":0,", i);
    }

    json[n - 1] = '}';
    is_int(django_read(FCC_DJANGO_DB, django_sign_zip(json, n), &s), FCC_OK,
           "some 7000 keys");

    /* a stream that ends too early, and bytes after a good one */

    zlen = sizeof(django_raw);
    compress2(django_raw, &zlen, (unsigned char *) json, n, 9);

    django_text[0] = '.';
    (void) django_base64(django_text + 1, django_raw, zlen - 1);
    (void) django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
    is_int(django_read(FCC_DJANGO_DB, django_text, &s), FCC_ERROR,
           "a stream without its last byte");

    django_text[0] = '.';
    (void) django_base64(django_text + 1, django_raw, zlen / 2);
    (void) django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
    is_int(django_read(FCC_DJANGO_DB, django_text, &s), FCC_ERROR,
           "half a stream");

    django_raw[zlen - 1] ^= 1;
    django_text[0] = '.';
    (void) django_base64(django_text + 1, django_raw, zlen);
    (void) django_sign_at(DJANGO_SESSION, DJANGO_KEY, "1usrxo");
    is_int(django_read(FCC_DJANGO_DB, django_text, &s), FCC_ERROR,
           "a wrong check sum");

    memset(json, 'A', 2000000);
    is_int(django_read_with(&django_keys, FCC_DJANGO_DB, json, 2000000,
                            DJANGO_NOW, &s),
           FCC_ERROR, "two million bytes");

    free(json);
}


static void
django_test_auth_hash(void)
{
    fcc_django_secrets_t  keys;
    char                  hash[] = DJANGO_AUTH;

    static const fcc_str_t  list[] = {
        fcc_string("some new secret"), fcc_string(DJANGO_OLD_KEY),
        fcc_string("another secret \xc3\xa9\xe3\x81\x93")
    };
    static const char  old[] =
        "200d891e86fb1ca9c11b53b78a79a16000e6755270dd3ef9af7ceb303825db3b";
    static const char  argon2[] =
        "argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHQ$aGFzaGhhc2g";

#define hash_valid(keys, password, hash)                                      \
    fcc_django_auth_hash_valid(keys, (unsigned char *) password,              \
                               strlen(password), (unsigned char *) hash,      \
                               strlen(hash))

    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, DJANGO_AUTH), 1, "hash");
    is_int(hash_valid(&django_keys, "", "f0e27ad9c784e0232bf10015b866ab08"
                      "93d98f96f1a77f4d70f6abd105fa79bb"),
           1, "of no password");
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD "x", DJANGO_AUTH), 0,
           "another password");
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, old), 0, "another key");

    memset(&keys, 0, sizeof(keys));
    keys.key[0] = list[0];
    keys.key[1] = list[1];
    keys.key[2] = list[2];
    keys.n = 3;

    is_int(hash_valid(&keys, DJANGO_PASSWORD, old), 1, "a fallback");
    is_int(hash_valid(&keys, argon2, "62e7514b168111347cfe9bd08f2fddb7"
                      "69921ae986d5e62de8d24d64030ed6f8"),
           1, "the last fallback");
    is_int(hash_valid(&keys, DJANGO_PASSWORD, DJANGO_AUTH), 0, "no such key");

    keys.n = 1;
    is_int(hash_valid(&keys, DJANGO_PASSWORD, old), 0, "a key past the last");

    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, ""), 0, "no hash");
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD,
                      "6266753b91ed1c39ce6109df0577c3abf6c843e8"),
           0, "the SHA-1 of Django 3.2");

    hash[63] = '3';
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, hash), 0, "last digit");
    hash[63] = '2';
    hash[0] = '1';
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, hash), 0, "first digit");
    hash[0] = '0';
    hash[2] = 'F';
    hash[1] = 'F';
    is_int(hash_valid(&django_keys, DJANGO_PASSWORD, hash), 0, "upper case");
    is_int(fcc_django_auth_hash_valid(&django_keys,
                                      (unsigned char *) DJANGO_PASSWORD,
                                      strlen(DJANGO_PASSWORD),
                                      (unsigned char *) DJANGO_AUTH, 63),
           0, "63 digits");
}


static void
django_test_session_keys(void)
{
    unsigned       c, valid, differ;
    unsigned char  key[41];

    memset(key, 'k', sizeof(key));

    is_int(fcc_django_session_key_valid(key, 32), 1, "32 bytes");
    is_int(fcc_django_session_key_valid(key, 8), 1, "8 bytes");
    is_int(fcc_django_session_key_valid(key, 7), 0, "7 bytes");
    is_int(fcc_django_session_key_valid(key, 40), 1, "40 bytes");
    is_int(fcc_django_session_key_valid(key, 41), 0, "41 bytes");
    is_int(fcc_django_session_key_valid(key, 0), 0, "no bytes");

    differ = 0;

    for (c = 0; c < 256; c++) {
        valid = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
        key[31] = c;
        differ += fcc_django_session_key_valid(key, 32) != (int) valid;
    }

    is_int(differ, 0, "each byte");

    key[31] = 'k';
    key[0] = '-';
    is_int(fcc_django_session_key_valid(key, 32), 0, "the first byte, too");
}


int
main(void)
{
    django_test_known();
    django_test_secrets();
    django_test_tampered();
    django_test_age();
    django_test_payloads();
    django_test_keys();
    django_test_bounds();
    django_test_auth_hash();
    django_test_session_keys();

    return tap_done();
}
