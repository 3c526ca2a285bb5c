
/*
 * Django's signed sessions: "payload:timestamp:signature".
 *
 * The signature comes first: nothing is decoded, inflated or parsed that the
 * site has not signed.  What follows is bounded all the same, for a site's own
 * users decide a part of what its sessions hold.
 */


#include <fcc_django.h>
#include <fcc_json.h>
#include <fcc_pickle.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdlib.h>
#include <zlib.h>


#define FCC_DJANGO_SHA256_LEN   32
#define FCC_DJANGO_SIG_LEN      43      /* base64 of it, without '=' */
#define FCC_DJANGO_TIME_LEN     10      /* base62 digits, fewer than 2^63 */
#define FCC_DJANGO_DEPTH_MAX    32      /* of a session's JSON */

/* a signed session that could hold more than FCC_DJANGO_INFLATE_MAX of JSON */
#define FCC_DJANGO_DATA_MAX                                                   \
    (FCC_DJANGO_INFLATE_MAX / 3 * 4 + FCC_DJANGO_SIG_LEN                      \
     + FCC_DJANGO_TIME_LEN + 8)

/* a Signer adds a word of its own to the salt it is given */
#define FCC_DJANGO_DB_SALT      "django.contrib.sessions.SessionStore"        \
                                "signer"
#define FCC_DJANGO_COOKIE_SALT  "django.contrib.sessions.backends."           \
                                "signed_cookies" "signer"
#define FCC_DJANGO_AUTH_SALT    "django.contrib.auth.models."                 \
                                "AbstractBaseUser.get_session_auth_hash"


/* the parts of a signed value */

typedef struct {
    fcc_str_t   payload;
    fcc_str_t   time;
    fcc_str_t   text;       /* what is signed: payload:time */
    fcc_str_t   signature;
} fcc_django_signed_t;


typedef int (*fcc_django_read_pt)(const unsigned char *data, size_t len,
    fcc_django_session_t *out);



static int fcc_django_split(const unsigned char *data, size_t len,
    fcc_django_signed_t *s);
static int fcc_django_signature_valid(const fcc_django_secrets_t *secrets,
    const char *salt, const fcc_django_signed_t *s);
static int fcc_django_hmac(const char *salt, const fcc_str_t *secret,
    const unsigned char *text, size_t len, unsigned char *mac);
static int fcc_django_time(const fcc_str_t *s, int64_t *time);
static int fcc_django_payload(const fcc_str_t *payload,
    fcc_django_session_t *out);
static int fcc_django_inflate(const unsigned char *data, size_t len,
    fcc_django_read_pt read, fcc_django_session_t *out);
static int fcc_django_json(const unsigned char *data, size_t len,
    fcc_django_session_t *out);
static int fcc_django_pickle(const unsigned char *data, size_t len,
    fcc_django_session_t *out);
static int fcc_django_user_id(const fcc_str_t *s, int64_t *id);
static size_t fcc_django_copy(const json_t *value, unsigned char *dst,
    size_t size);
static size_t fcc_django_base64_encode(unsigned char *dst,
    const unsigned char *src, size_t len);
static int fcc_django_base64_decode(unsigned char *dst, size_t *n,
    const unsigned char *src, size_t len);
static int fcc_django_base64_value(unsigned char c);


int
fcc_django_session_key_valid(const unsigned char *p, size_t len)
{
    size_t  i;

    if (len < 8 || len > FCC_DJANGO_KEY_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z'))) {
            return 0;
        }
    }

    return 1;
}


int
fcc_django_session_read(const fcc_django_secrets_t *secrets,
    fcc_django_engine_e engine, const unsigned char *data, size_t len,
    int64_t now, int64_t max_age, fcc_django_session_t *out)
{
    int64_t              time;
    const char          *salt;
    fcc_django_signed_t  s;

    memset(out, 0, sizeof(fcc_django_session_t));

    if (len > FCC_DJANGO_DATA_MAX
        || fcc_django_split(data, len, &s) != FCC_OK)
    {
        return FCC_ERROR;
    }

    salt = (engine == FCC_DJANGO_COOKIE) ? FCC_DJANGO_COOKIE_SALT
                                         : FCC_DJANGO_DB_SALT;

    if (!fcc_django_signature_valid(secrets, salt, &s)
        || fcc_django_time(&s.time, &time) != FCC_OK)
    {
        return FCC_ERROR;
    }

    if (engine == FCC_DJANGO_COOKIE && now - time > max_age) {
        return FCC_ERROR;
    }

    if (fcc_django_payload(&s.payload, out) != FCC_OK) {
        return FCC_ERROR;
    }

    out->signed_at = time;

    return FCC_OK;
}


int
fcc_django_auth_hash_valid(const fcc_django_secrets_t *secrets,
    const unsigned char *password, size_t len, const unsigned char *hash,
    size_t hash_len)
{
    int            valid;
    size_t         i, n;
    unsigned char  mac[FCC_DJANGO_SHA256_LEN];
    unsigned char  hex[2 * FCC_DJANGO_SHA256_LEN];

    if (hash_len != sizeof(hex)) {
        return 0;
    }

    valid = 0;

    for (n = 0; n < secrets->n; n++) {

        if (fcc_django_hmac(FCC_DJANGO_AUTH_SALT, &secrets->key[n], password,
                            len, mac)
            != FCC_OK)
        {
            continue;
        }

        for (i = 0; i < sizeof(mac); i++) {
            hex[2 * i] = "0123456789abcdef"[mac[i] >> 4];
            hex[2 * i + 1] = "0123456789abcdef"[mac[i] & 0xf];
        }

        valid |= CRYPTO_memcmp(hex, hash, sizeof(hex)) == 0;
    }

    return valid;
}


/* from the right, as Signer.unsign() and TimestampSigner.unsign() do */

static int
fcc_django_split(const unsigned char *data, size_t len,
    fcc_django_signed_t *s)
{
    size_t  sig, time;

    for (sig = len; sig > 0 && data[sig - 1] != ':'; sig--) { /* void */ }

    if (sig == 0 || len - sig != FCC_DJANGO_SIG_LEN) {
        return FCC_ERROR;
    }

    for (time = sig - 1; time > 0 && data[time - 1] != ':'; time--) {
        /* void */
    }

    if (time == 0) {
        return FCC_ERROR;
    }

    s->signature.data = (unsigned char *) data + sig;
    s->signature.len = len - sig;

    s->text.data = (unsigned char *) data;
    s->text.len = sig - 1;

    s->time.data = (unsigned char *) data + time;
    s->time.len = sig - 1 - time;

    s->payload.data = (unsigned char *) data;
    s->payload.len = time - 1;

    return FCC_OK;
}


static int
fcc_django_signature_valid(const fcc_django_secrets_t *secrets,
    const char *salt, const fcc_django_signed_t *s)
{
    int            valid;
    size_t         n;
    unsigned char  mac[FCC_DJANGO_SHA256_LEN];
    unsigned char  text[FCC_DJANGO_SIG_LEN];

    valid = 0;

    for (n = 0; n < secrets->n; n++) {

        if (fcc_django_hmac(salt, &secrets->key[n], s->text.data, s->text.len,
                            mac)
            != FCC_OK)
        {
            continue;
        }

        (void) fcc_django_base64_encode(text, mac, sizeof(mac));

        valid |= CRYPTO_memcmp(text, s->signature.data, sizeof(text)) == 0;
    }

    return valid;
}


/*
 * django.utils.crypto.salted_hmac(): the key is a hash of salt and secret.  An
 * empty secret is refused, for everybody knows it.
 */

static int
fcc_django_hmac(const char *salt, const fcc_str_t *secret,
    const unsigned char *text, size_t len, unsigned char *mac)
{
    int             rc;
    unsigned        n;
    EVP_MD_CTX     *ctx;
    unsigned char   key[FCC_DJANGO_SHA256_LEN];

    if (secret->len == 0) {
        return FCC_ERROR;
    }

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return FCC_ERROR;
    }

    rc = FCC_ERROR;

    if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
        && EVP_DigestUpdate(ctx, salt, strlen(salt)) == 1
        && EVP_DigestUpdate(ctx, secret->data, secret->len) == 1
        && EVP_DigestFinal_ex(ctx, key, &n) == 1
        && HMAC(EVP_sha256(), key, sizeof(key), text, len, mac, &n) != NULL)
    {
        rc = FCC_OK;

    } else {

        /* nginx would log what is left there as somebody else's error */

        ERR_clear_error();
    }

    EVP_MD_CTX_free(ctx);
    OPENSSL_cleanse(key, sizeof(key));

    return rc;
}


/* base62 as django.core.signing.b62_decode() */

static int
fcc_django_time(const fcc_str_t *s, int64_t *time)
{
    int            negative;
    size_t         i;
    int64_t        n, digit;
    unsigned char  c;

    i = 0;
    n = 0;
    negative = (s->len && s->data[0] == '-');

    if (negative) {
        i++;
    }

    if (s->len == i || s->len - i > FCC_DJANGO_TIME_LEN) {
        return FCC_ERROR;
    }

    for ( /* void */ ; i < s->len; i++) {
        c = s->data[i];

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else if (c >= 'A' && c <= 'Z') {
            digit = c - 'A' + 10;

        } else if (c >= 'a' && c <= 'z') {
            digit = c - 'a' + 36;

        } else {
            return FCC_ERROR;
        }

        n = n * 62 + digit;
    }

    *time = negative ? -n : n;

    return FCC_OK;
}


static int
fcc_django_payload(const fcc_str_t *payload, fcc_django_session_t *out)
{
    int             rc, deflated;
    size_t          n, len;
    unsigned char  *src, *data;

    src = payload->data;
    len = payload->len;
    deflated = (len && src[0] == '.');

    if (deflated) {
        src++;
        len--;
    }

    data = malloc(len / 4 * 3 + 3);
    if (data == NULL) {
        return FCC_ERROR;
    }

    rc = fcc_django_base64_decode(data, &n, src, len);

    if (rc == FCC_OK) {
        rc = deflated ? fcc_django_inflate(data, n, fcc_django_json, out)
                      : fcc_django_json(data, n, out);
    }

    free(data);

    return rc;
}


static int
fcc_django_inflate(const unsigned char *data, size_t len,
    fcc_django_read_pt read, fcc_django_session_t *out)
{
    int             rc;
    z_stream        zs;
    unsigned char  *plain;

    memset(&zs, 0, sizeof(z_stream));

    if (inflateInit(&zs) != Z_OK) {
        return FCC_ERROR;
    }

    plain = malloc(FCC_DJANGO_INFLATE_MAX);
    if (plain == NULL) {
        (void) inflateEnd(&zs);
        return FCC_ERROR;
    }

    zs.next_in = (unsigned char *) data;
    zs.avail_in = (uInt) len;
    zs.next_out = plain;
    zs.avail_out = FCC_DJANGO_INFLATE_MAX;

    /* anything but the end means broken, cut short, or too much of it */

    if (inflate(&zs, Z_FINISH) == Z_STREAM_END) {
        rc = read(plain, FCC_DJANGO_INFLATE_MAX - zs.avail_out, out);

    } else {
        rc = FCC_ERROR;
    }

    (void) inflateEnd(&zs);
    free(plain);

    return rc;
}


/*
 * Integers are read as reals because Python's have no bound; those that matter
 * here are strings.
 */

static int
fcc_django_json(const unsigned char *data, size_t len,
    fcc_django_session_t *out)
{
    json_t        *root;
    fcc_str_t      id;
    json_error_t   err;

    if (len > FCC_DJANGO_INFLATE_MAX) {
        return FCC_ERROR;
    }

    root = fcc_json_load(data, len, FCC_DJANGO_DEPTH_MAX,
                         JSON_DECODE_INT_AS_REAL, &err);

    if (!json_is_object(root)) {
        json_decref(root);
        return FCC_ERROR;
    }

    out->backend_len = fcc_django_copy(json_object_get(root,
                                                       "_auth_user_backend"),
                                       out->backend,
                                       FCC_DJANGO_BACKEND_MAX);

    out->hash_len = fcc_django_copy(json_object_get(root, "_auth_user_hash"),
                                    out->hash, FCC_DJANGO_HASH_MAX);

    if (out->backend_len && out->hash_len
        && fcc_json_get_string(json_object_get(root, "_auth_user_id"), &id)
           == FCC_OK
        && fcc_django_user_id(&id, &out->user_id) == FCC_OK)
    {
        out->has_user = 1;
    }

    json_decref(root);

    return FCC_OK;
}


int
fcc_django_session_unpickle(const unsigned char *data, size_t len,
    fcc_django_session_t *out)
{
    memset(out, 0, sizeof(fcc_django_session_t));

    if (len > FCC_DJANGO_INFLATE_MAX) {
        return FCC_ERROR;
    }

    /* zlib's first byte; a pickle begins with 0x80 */

    return (len && data[0] == 0x78)
           ? fcc_django_inflate(data, len, fcc_django_pickle, out)
           : fcc_django_pickle(data, len, out);
}


static int
fcc_django_pickle(const unsigned char *data, size_t len,
    fcc_django_session_t *out)
{
    fcc_str_t          *id, *backend, *hash;
    fcc_pickle_item_t   items[] = {
        { fcc_string("_auth_user_id"), { 0, NULL } },
        { fcc_string("_auth_user_backend"), { 0, NULL } },
        { fcc_string("_auth_user_hash"), { 0, NULL } }
    };

    if (fcc_pickle_strings(data, len, items, 3) != FCC_OK) {
        return FCC_ERROR;
    }

    id = &items[0].value;
    backend = &items[1].value;
    hash = &items[2].value;

    if (backend->len == 0 || backend->len > FCC_DJANGO_BACKEND_MAX
        || hash->len == 0 || hash->len > FCC_DJANGO_HASH_MAX
        || fcc_django_user_id(id, &out->user_id) != FCC_OK)
    {
        return FCC_OK;
    }

    memcpy(out->backend, backend->data, backend->len);
    out->backend_len = backend->len;

    memcpy(out->hash, hash->data, hash->len);
    out->hash_len = hash->len;

    out->has_user = 1;

    return FCC_OK;
}


/* a positive int8 in the one form that str() gives it */

static int
fcc_django_user_id(const fcc_str_t *s, int64_t *id)
{
    size_t   i;
    int64_t  n, digit;

    if (s->len == 0 || s->len > FCC_DJANGO_USER_ID_MAX || s->data[0] == '0') {
        return FCC_ERROR;
    }

    n = 0;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return FCC_ERROR;
        }

        digit = s->data[i] - '0';

        if (n > (INT64_MAX - digit) / 10) {
            return FCC_ERROR;
        }

        n = n * 10 + digit;
    }

    *id = n;

    return FCC_OK;
}


/* the length, or 0 when it is not a string or does not fit */

static size_t
fcc_django_copy(const json_t *value, unsigned char *dst, size_t size)
{
    fcc_str_t  s;

    if (fcc_json_get_string(value, &s) != FCC_OK || s.len > size) {
        return 0;
    }

    memcpy(dst, s.data, s.len);

    return s.len;
}


/* the URL-safe alphabet, no padding; returns the length */

static size_t
fcc_django_base64_encode(unsigned char *dst, const unsigned char *src,
    size_t len)
{
    size_t             i;
    unsigned           bits, acc;
    unsigned char     *p;
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789-_";

    acc = 0;
    bits = 0;
    p = dst;

    for (i = 0; i < len; i++) {
        acc = ((acc << 8) | src[i]) & 0xffff;
        bits += 8;

        while (bits >= 6) {
            bits -= 6;
            *p++ = digits[(acc >> bits) & 0x3f];
        }
    }

    if (bits) {
        *p++ = digits[(acc << (6 - bits)) & 0x3f];
    }

    return p - dst;
}


static int
fcc_django_base64_decode(unsigned char *dst, size_t *n,
    const unsigned char *src, size_t len)
{
    int             value;
    size_t          i;
    unsigned        bits, acc;
    unsigned char  *p;

    acc = 0;
    bits = 0;
    p = dst;

    for (i = 0; i < len; i++) {
        value = fcc_django_base64_value(src[i]);

        if (value < 0) {
            return FCC_ERROR;
        }

        acc = ((acc << 6) | (unsigned) value) & 0xffff;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *p++ = (unsigned char) (acc >> bits);
        }
    }

    *n = p - dst;

    /* a last digit alone holds no byte: the text was cut */

    return (len % 4 == 1) ? FCC_ERROR : FCC_OK;
}


static int
fcc_django_base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    if (c == '-') {
        return 62;
    }

    return (c == '_') ? 63 : -1;
}
