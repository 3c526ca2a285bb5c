
/*
 * fcc_csrf: tokens of Django (t/api-csrf.t has those of a real one), the
 * Referer, and the bearer's secret.
 */


#include "tap.h"

#include <fcc_csrf.h>


#define SECRET  "0123456789abcdefghijABCDEFGHIJ01"
#define MASK    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
#define MASKED  MASK "qsuwyACEGIKMOQSUWY02kmoqsuGIKM46"

/* the same secret under a mask of 'a's, which is 0 */
#define PLAIN   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" SECRET


static fcc_str_t
str(const char *text)
{
    fcc_str_t  s;

    s.len = strlen(text);
    s.data = tap_copy(text, s.len);

    return s;
}


static int
equal(const char *cookie, const char *token)
{
    int        rc;
    fcc_str_t  a, b;

    a = str(cookie);
    b = str(token);
    rc = fcc_csrf_equal(&a, &b);
    free(a.data);
    free(b.data);

    return rc;
}


static void
tokens(void)
{
    size_t       i, j;
    char         text[FCC_CSRF_TOKEN + 2];
    const char  *same[] = { SECRET, MASKED, PLAIN };
    const char  *bad[] = { "", "0", MASK, MASK SECRET, MASKED "a",
                           SECRET "a", SECRET MASK };

    for (i = 0; i < 3; i++) {
        for (j = 0; j < 3; j++) {
            is_int(equal(same[i], same[j]), 1, "the same secret");
        }

        for (j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
            is_int(equal(same[i], bad[j]), 0, "another token");
            is_int(equal(bad[j], same[i]), 0, "another cookie");
        }
    }

    is_int(equal("", ""), 0, "nothing is not the same as nothing");

    /* each character counts, and each byte that is no letter or digit */

    for (i = 0; i < FCC_CSRF_TOKEN; i++) {
        memcpy(text, MASKED, sizeof(MASKED));
        text[i] = (text[i] == 'z') ? 'y' : 'z';
        is_int(equal(text, MASKED), 0, "one other character");
    }

    for (i = 1; i < 256; i++) {
        memcpy(text, PLAIN, sizeof(PLAIN));
        text[40] = (char) i;

        if (i != (unsigned char) PLAIN[40] && equal(text, PLAIN)) {
            ok(0, "another byte passes");
        }
    }
}


static void
referer(void)
{
    size_t        i;
    fcc_str_t     s;
    fcc_origin_t  o;
    const char   *bad[] = {
        "", "https", "https:", "https:/", "https://", "https:///x",
        "//example.com/", "/x", "example.com", "https:example.com",
        "https://user@example.com/", "https://a b/", "https://a\\b/",
        "https://example.com:x/", "https://example.com:99999/", "null"
    };

    s = str("https://example.com:8443/x?y=http://other.test/#z");
    is_int(fcc_csrf_referer(s.data, s.len, &o), FCC_OK, "an URL");
    is_str(o.scheme.data, o.scheme.len, "https", "its scheme");
    is_str(o.host.data, o.host.len, "example.com", "its host");
    is_int(o.port, 8443, "its port");
    free(s.data);

    s = str("http://[::1]?x");
    is_int(fcc_csrf_referer(s.data, s.len, &o), FCC_OK, "a query only");
    is_str(o.host.data, o.host.len, "[::1]", "an address");
    is_int(o.port, 80, "the default port");
    free(s.data);

    s = str("https://example.com#x");
    is_int(fcc_csrf_referer(s.data, s.len, &o), FCC_OK, "a fragment only");
    free(s.data);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = str(bad[i]);
        is_int(fcc_csrf_referer(s.data, s.len, &o), FCC_ERROR, bad[i]);
        free(s.data);
    }
}


static void
bearer(void)
{
    size_t       i;
    fcc_str_t    s, secrets[2];
    const char  *good[] = {
        "Bearer one", "bearer one", "BEARER  one", "Bearer another-1"
    };
    const char  *bad[] = {
        "", "Bearer", "Bearer ", "Bearer on", "Bearer onee", "Bearer one ",
        "Bearer\tone", "Basic one", "one", "Bearer One", "Bearer another-2",
        "bearer", "BearerXone"
    };

    secrets[0] = str("one");
    secrets[1] = str("another-1");

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        s = str(good[i]);
        is_int(fcc_csrf_bearer(s.data, s.len, secrets, 2), 1, good[i]);
        is_int(fcc_csrf_bearer(s.data, s.len, secrets, 0), 0, "no secret");
        is_int(fcc_csrf_is_bearer(s.data, s.len), 1, "is one");
        free(s.data);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = str(bad[i]);
        is_int(fcc_csrf_bearer(s.data, s.len, secrets, 2), 0, bad[i]);
        free(s.data);
    }

    s = str("Basic one");
    is_int(fcc_csrf_is_bearer(s.data, s.len), 0, "Basic is none");
    free(s.data);

    free(secrets[0].data);
    free(secrets[1].data);
}


int
main(void)
{
    tokens();
    referer();
    bearer();

    return tap_done();
}
