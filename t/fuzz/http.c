
/*
 * The pieces of a handshake: lists, cookies, Origins, the key.
 */


#include "fuzz.h"

#include <fcc_http.h>
#include <fcc_ws.h>


static void
fuzz_cookie(fuzz_t *f)
{
    size_t          len, name_len;
    fcc_str_t       name, value;
    unsigned char  *p, *n;

    n = fuzz_string(f, 16, &name_len);
    p = fuzz_string(f, 4096, &len);

    name.data = n;
    name.len = name_len;

    if (fcc_http_cookie(p, len, &name, &value) == FCC_OK && value.len) {
        claim(value.data >= p && value.data + value.len <= p + len);
    }

    free(p);
    free(n);
}


/* what was read, written again, is read as the same */

static void
fuzz_origin(fuzz_t *f)
{
    int             n;
    char            text[2048];
    size_t          len, domain_len;
    fcc_str_t       domain;
    fcc_origin_t    origin, again;
    unsigned char  *p, *d;

    p = fuzz_string(f, 512, &len);
    d = fuzz_string(f, 32, &domain_len);

    if (fcc_http_origin_parse(p, len, &origin) == FCC_OK) {
        claim(origin.host.len > 0 && origin.host.len <= FCC_ORIGIN_HOST_MAX);
        claim(origin.port <= 65535);
        claim(origin.scheme.data >= p && origin.scheme.len > 0);
        claim(origin.host.data + origin.host.len <= p + len);

        n = snprintf(text, sizeof(text), "%.*s://%.*s:%u",
                     (int) origin.scheme.len, origin.scheme.data,
                     (int) origin.host.len, origin.host.data, origin.port);
        claim(n > 0 && n < (int) sizeof(text));

        if (origin.port) {
            claim(fcc_http_origin_parse((unsigned char *) text, n, &again)
                  == FCC_OK);
            claim(fcc_http_origin_equal(&origin, &again) == 1);
        }

        if (domain_len > 1 && d[0] == '.') {
            domain.data = d;
            domain.len = domain_len;

            if (fcc_http_origin_below(&origin, &domain)) {
                claim(origin.host.len + 1 >= domain_len);
            }
        }

        (void) fcc_http_origin_same(&origin, d, domain_len, 0);
        (void) fcc_http_origin_same(&origin, d, domain_len, 1);
    }

    free(p);
    free(d);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int             has;
    fuzz_t          f;
    size_t          len;
    unsigned char  *p, accept[FCC_WS_ACCEPT_LEN];

    f.pos = data;
    f.last = data + size;

    switch (fuzz_byte(&f) % 5) {

    case 0:
        fuzz_cookie(&f);
        break;

    case 1:
        fuzz_origin(&f);
        break;

    case 2:
        p = fuzz_string(&f, 4096, &len);
        (void) fcc_http_list_has(p, len, "upgrade");
        free(p);
        break;

    case 3:
        p = fuzz_string(&f, 4096, &len);
        has = fcc_http_subprotocol(p, len, "fcchat.v1");
        claim(has == 0 || has == 1 || has == FCC_ERROR);
        claim(has != 1 || len >= sizeof("fcchat.v1") - 1);
        free(p);
        break;

    default:
        p = fuzz_string(&f, 300, &len);

        if (fcc_http_room_valid(p, len)) {
            claim(len > 0 && len <= FCC_ROOM_NAME_MAX);
            claim(memchr(p, 0, len) == NULL && memchr(p, '/', len) == NULL);
        }

        if (fcc_ws_key_valid(p, len)) {
            claim(len == FCC_WS_KEY_LEN);
            claim(fcc_ws_accept(p, len, accept) == FCC_OK);
        }

        free(p);
    }

    return 0;
}
