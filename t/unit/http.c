
/*
 * fcc_http: token lists, cookies (what Django's parse_cookie() gives for the
 * same headers), rooms and Origins.
 */


#include "tap.h"

#include <fcc_http.h>


#define HTTP_COUNT(a)  (sizeof(a) / sizeof(a[0]))


static void
http_test_lists(void)
{
    size_t          i;
    unsigned char  *p;

    static const struct {
        const char  *list;
        int          has;
    } cases[] = {
        { "upgrade", 1 },
        { "Upgrade", 1 },
        { "keep-alive, Upgrade", 1 },
        { "UPGRADE,close", 1 },
        { " \t upgrade \t ,x", 1 },
        { ",,upgrade,,", 1 },
        { "a,\tupgrade", 1 },
        { "", 0 },
        { ",", 0 },
        { " ", 0 },
        { "upgrades", 0 },
        { "upgrad", 0 },
        { "xupgrade", 0 },
        { "up grade", 0 },
        { "\"upgrade\"", 0 },
        { "upgrade;x", 0 },
        { "keep-alive; upgrade", 0 }
    };

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        p = tap_copy(cases[i].list, strlen(cases[i].list));
        is_int(fcc_http_list_has(p, strlen(cases[i].list), "upgrade"),
               cases[i].has, cases[i].list);
        free(p);
    }

    is_int(fcc_http_list_has(NULL, 0, "upgrade"), 0, "no list");
}


static void
http_test_subprotocols(void)
{
    size_t          i;
    unsigned char  *p;
    static char     huge[1000000];

    static const struct {
        const char  *list;
        int          want;
    } cases[] = {
        { "fcchat.v1", 1 },
        { "chat, fcchat.v1", 1 },
        { "fcchat.v1 ,\tchat", 1 },
        { "fcchat.v1,,x", 1 },
        { "chat", 0 },
        { "FCCHAT.V1", 0 },
        { "fcchat.v10", 0 },
        { "fcchat.v", 0 },
        { "", FCC_ERROR },
        { " , ,", FCC_ERROR },
        { "fcchat.v1, a b", FCC_ERROR },
        { "fcchat.v1, \"x\"", FCC_ERROR },
        { "fcchat.v1/2", FCC_ERROR },
        { "(fcchat.v1)", FCC_ERROR },
        { "fcchat.v1, \xe3\x81\x93", FCC_ERROR },
        { "fcchat.v1,\x01", FCC_ERROR },
        { "fcchat.v1\x7f", FCC_ERROR },
        { "fcchat.v1, a=b", FCC_ERROR },
        { "!#$%&'*+-.^_`|~, fcchat.v1", 1 }
    };

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        p = tap_copy(cases[i].list, strlen(cases[i].list));
        is_int(fcc_http_subprotocol(p, strlen(cases[i].list), "fcchat.v1"),
               cases[i].want, cases[i].list);
        free(p);
    }

    is_int(fcc_http_subprotocol((unsigned char *) "fcchat.v1,a\0b", 13,
                                "fcchat.v1"),
           FCC_ERROR, "a NUL is no token");

    for (i = 0; i < sizeof(huge); i++) {
        huge[i] = (i % 2) ? ',' : ' ';
    }

    is_int(fcc_http_subprotocol((unsigned char *) huge, sizeof(huge), "x"),
           FCC_ERROR, "a million separators end soon");
}


/* the values are those of Django 3.2, 4.2 and 5.2; NULL: no such cookie */

static void
http_test_cookies(void)
{
    int             rc;
    size_t          i;
    fcc_str_t       value;
    unsigned char  *p;

    static const fcc_str_t  name = fcc_string("sessionid");

    static const struct {
        const char  *header;
        const char  *value;
    } cases[] = {
        { "sessionid=abc", "abc" },
        { "a=1; sessionid=abc; b=2", "abc" },
        { "a=1;sessionid=abc;b=2", "abc" },
        { "SessionID=abc", NULL },
        { "sessionid=a; sessionid=b", "b" },
        { "sessionid=a; SESSIONID=b", "a" },
        { "sessionid=abc;sessionid=", "" },
        { "sessionid=\"abc\"", "abc" },
        { "sessionid=\"a\\\"b\\\\c\\054d\"", "a\"b\\c,d" },
        { "sessionid=\"a\\\"", "a\\" },
        { "sessionid=\"", "\"" },
        { "sessionid=\"\"", "" },
        { "sessionid=\"\\\"", "\\" },
        { "sessionid=\"\\\\\"", "\\" },
        { "sessionid=\"\\400\\12\\777\"", "40012777" },
        { "sessionid=\"\\101\\0601\\x\"", "A01x" },
        { "sessionid=\"a;b\"", "\"a" },
        { "sessionid=a\"b\"", "a\"b\"" },
        { "sessionid=a\\054b", "a\\054b" },
        { "sessionid=a,sessionid=b", "a,sessionid=b" },
        { "a=1, sessionid=b", NULL },
        { "sessionid=a=b=c", "a=b=c" },
        { "sessionid==", "=" },
        { " \t sessionid \t= \x0b abc \x1f", "abc" },
        { "\r\nsessionid\x09=\x0c\x0d" "abc\x1c\x0d", "abc" },
        { "sessionid=\x08" "abc\x0e\x1b", "\x08" "abc\x0e\x1b" },
        { "sessionid=\"\\177\\077\\070\\178\\187\"", "\x7f?8178187" },
        { "sessionid=\"\\101\"", "A" },
        { "sessionid=\"\\10\"", "10" },
        { "sessionid=\xa0" "abc\x85", "abc" },
        { "sessionid=a b", "a b" },
        { "sessionid", NULL },
        { "=sessionid", NULL },
        { "sessionid=", "" },
        { "sessionid= ; x=1", "" },
        { "sessionid=a;;; ;sessionid", "a" },
        { "xsessionid=1;sessionidx=2; session id=3", NULL },
        { "\"sessionid\"=1", NULL },
        { ";", NULL },
        { ";;", NULL },
        { "=", NULL },
        { "", NULL },
        { "sessionid=x;", "x" },
        { "$Version=1; sessionid=x; $Path=/", "x" }
    };

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        p = tap_copy(cases[i].header, strlen(cases[i].header));
        rc = fcc_http_cookie(p, strlen(cases[i].header), &name, &value);

        if (cases[i].value == NULL) {
            is_int(rc, FCC_AGAIN, cases[i].header);

        } else if (is_int(rc, FCC_OK, cases[i].header)) {
            is_str(value.data, value.len, cases[i].value, cases[i].header);
            ok(value.data >= p && value.data + value.len
               <= p + strlen(cases[i].header), "in the header's bytes");
        }

        free(p);
    }

    is_int(fcc_http_cookie(NULL, 0, &name, &value), FCC_AGAIN, "no header");
}


static void
http_test_long_cookies(void)
{
    size_t          i, len;
    fcc_str_t       value;
    unsigned char  *p;

    static const fcc_str_t  name = fcc_string("sessionid");

    p = malloc(100000);
    len = 0;

    for (i = 0; i < 5000; i++) {
        len += sprintf((char *) p + len, "sessionid=%zu; ", i);
    }

    is_int(fcc_http_cookie(p, len, &name, &value), FCC_OK, "5000 cookies");
    is_str(value.data, value.len, "4999", "the last one wins");

    memset(p, ';', 100000);
    is_int(fcc_http_cookie(p, 100000, &name, &value), FCC_AGAIN,
           "100000 separators");

    memcpy(p, "sessionid=\"", 11);
    memset(p + 11, '\\', 8192);
    p[11 + 8192] = '"';
    is_int(fcc_http_cookie(p, 11 + 8192 + 1, &name, &value), FCC_OK,
           "8 KB of backslashes");
    is_int(value.len, 4096, "are 4 KB of them");

    free(p);
}


static void
http_test_rooms(void)
{
    unsigned       c, valid, differ;
    unsigned char  name[FCC_ROOM_NAME_MAX + 1];

    is_int(fcc_http_room_valid((unsigned char *) "stream_1", 8), 1,
           "stream_1");
    is_int(fcc_http_room_valid((unsigned char *) "", 0), 0, "empty room");
    is_int(fcc_http_room_valid((unsigned char *) "a/b", 3), 0, "a/b");
    is_int(fcc_http_room_valid((unsigned char *) "..", 2), 0, "..");
    is_int(fcc_http_room_valid((unsigned char *) "a\0b", 3), 0, "a NUL");
    is_int(fcc_http_room_valid((unsigned char *) "\xe3\x81\x93", 3), 0,
           "not ASCII");

    memset(name, 'a', sizeof(name));
    is_int(fcc_http_room_valid(name, FCC_ROOM_NAME_MAX), 1, "255 bytes");
    is_int(fcc_http_room_valid(name, FCC_ROOM_NAME_MAX + 1), 0, "256 bytes");

    differ = 0;

    for (c = 0; c < 256; c++) {
        valid = c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
                            "abcdefghijklmnopqrstuvwxyz0123456789", c) != NULL;
        name[7] = c;
        differ += fcc_http_room_valid(name, 20) != (int) valid;
    }

    is_int(differ, 0, "each byte");
}


static void
http_test_origins(void)
{
    size_t          i;
    fcc_origin_t    o;
    unsigned char  *p;

    static const struct {
        const char  *origin;
        const char  *scheme;
        const char  *host;
        unsigned     port;
    } good[] = {
        { "https://good.example", "https", "good.example", 443 },
        { "http://good.example", "http", "good.example", 80 },
        { "https://good.example:443", "https", "good.example", 443 },
        { "https://good.example:8443", "https", "good.example", 8443 },
        { "http://localhost:1", "http", "localhost", 1 },
        { "http://localhost:9090", "http", "localhost", 9090 },
        { "http://localhost:65535", "http", "localhost", 65535 },
        { "HTTPS://Good.EXAMPLE", "HTTPS", "Good.EXAMPLE", 443 },
        { "https://[::1]", "https", "[::1]", 443 },
        { "https://[2001:db8::1]:8443", "https", "[2001:db8::1]", 8443 },
        { "https://[::ffff:192.0.2.1]", "https", "[::ffff:192.0.2.1]", 443 },
        { "http://192.0.2.1:8080", "http", "192.0.2.1", 8080 },
        { "https://xn--p8j.example", "https", "xn--p8j.example", 443 },
        { "https://a_b.example", "https", "a_b.example", 443 },
        { "https://a", "https", "a", 443 },
        { "capacitor://localhost", "capacitor", "localhost", 0 }
    };

    static const char  *bad[] = {
        "null", "", "*", "https", "https:", "https:/", "https://",
        "https:///", "//good.example", "good.example", "good.example:443",
        "https:/xgood.example", "https:x/good.example",
        "https:good.example", "https:\\\\good.example", "://good.example",
        "1https://good.example", "0a://b", "9a://b", "+a://b",
        "ht tps://good.example",
        " https://good.example", "https://good.example ",
        "https://good.example/", "https://good.example/path",
        "https://good.example?x", "https://good.example#x",
        "https://user@good.example", "https://user:pw@good.example",
        "https://good.example:443@evil.example",
        "https://good.example.", "https://.good.example",
        "https://good..example", "https://.", "https://..",
        "https://good.example:", "https://good.example:0",
        "https://good.example:0443", "https://good.example:65536",
        "https://good.example:99999", "https://good.example:4294967739",
        "https://good.example:+443", "https://good.example:44a",
        "https://good.example:443:443", "https://:443",
        "https://good.example,https://evil.example",
        "https://good.example https://evil.example",
        "https://good.example\t", "https://good.example\n",
        "https://good.example%00", "https://good%2eexample",
        "https://go\x01od.example", "https://go\x7fod.example",
        "https://g\xc3\xb6od.example", "https://good.example\\",
        "https://[::1", "https://::1", "https://[]", "https://[", "https://[:",
        "https://[::1]x", "https://[::1].example", "https://[::1]:",
        "https://[::g]", "https://[1]", "https://[fe80::1%25eth0]",
        "https://[::1]]", "https://[[::1]]", "https://]::1[",
        "https://[0000:0000:0000:0000:0000:ffff:255.255.255.255x]",
        "https://*.good.example", "https://good.example;", "null://"
    };

    for (i = 0; i < HTTP_COUNT(good); i++) {
        p = tap_copy(good[i].origin, strlen(good[i].origin));

        if (is_int(fcc_http_origin_parse(p, strlen(good[i].origin), &o),
                   FCC_OK, good[i].origin))
        {
            is_str(o.scheme.data, o.scheme.len, good[i].scheme, "scheme");
            is_str(o.host.data, o.host.len, good[i].host, "host");
            is_int(o.port, good[i].port, "port");
        }

        free(p);
    }

    for (i = 0; i < HTTP_COUNT(bad); i++) {
        p = tap_copy(bad[i], strlen(bad[i]));
        is_int(fcc_http_origin_parse(p, strlen(bad[i]), &o), FCC_ERROR,
               bad[i]);
        free(p);
    }

    is_int(fcc_http_origin_parse((unsigned char *) "https://a\0b", 11, &o),
           FCC_ERROR, "a NUL in the host");
    is_int(fcc_http_origin_parse((unsigned char *) "https://[::1\0]", 14, &o),
           FCC_ERROR, "a NUL in an address");
}


static void
http_test_long_origin(void)
{
    size_t        i;
    fcc_origin_t  o;
    char          text[400];

    memcpy(text, "https://", 8);

    for (i = 0; i < sizeof(text) - 8; i++) {
        text[8 + i] = (i % 64 == 63) ? '.' : 'a';
    }

    is_int(fcc_http_origin_parse((unsigned char *) text, 8 + 255, &o), FCC_OK,
           "a host of 255 bytes");
    text[8 + 255] = 'a';
    is_int(fcc_http_origin_parse((unsigned char *) text, 8 + 256, &o),
           FCC_ERROR, "a host of 256 bytes");
}


static void
http_test_origin_equal(void)
{
    size_t        i;
    fcc_origin_t  own, o;

    static const char  text[] = "https://good.example";

    static const struct {
        const char  *origin;
        int          equal;
    } cases[] = {
        { "https://good.example", 1 },
        { "HTTPS://GOOD.Example", 1 },
        { "https://good.example:443", 1 },
        { "http://good.example", 0 },
        { "http://good.example:443", 0 },
        { "https://good.example:80", 0 },
        { "https://good.example:8443", 0 },
        { "https://good.example.evil", 0 },
        { "https://evilgood.example", 0 },
        { "https://evil.good.example", 0 },
        { "https://good.exampl", 0 },
        { "https://ood.example", 0 },
        { "https://good-example", 0 },
        { "wss://good.example", 0 },
        { "httpss://good.example", 0 }
    };

    (void) fcc_http_origin_parse((unsigned char *) text, sizeof(text) - 1,
                                 &own);

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        if (is_int(fcc_http_origin_parse((unsigned char *) cases[i].origin,
                                         strlen(cases[i].origin), &o),
                   FCC_OK, "is an origin"))
        {
            is_int(fcc_http_origin_equal(&own, &o), cases[i].equal,
                   cases[i].origin);
            is_int(fcc_http_origin_equal(&o, &own), cases[i].equal,
                   "and the other way round");
        }
    }
}


static void
http_test_origin_below(void)
{
    size_t        i;
    fcc_str_t     domain;
    fcc_origin_t  o;

    static const struct {
        const char  *origin;
        const char  *domain;
        int          below;
    } cases[] = {
        { "https://example.com", ".example.com", 1 },
        { "https://chat.example.com", ".example.com", 1 },
        { "https://a.b.example.com:8443", ".example.com", 1 },
        { "http://CHAT.Example.COM", ".eXample.com", 1 },
        { "https://evilexample.com", ".example.com", 0 },
        { "https://example.com.evil", ".example.com", 0 },
        { "https://example.org", ".example.com", 0 },
        { "https://com", ".example.com", 0 },
        { "https://example.co", ".example.com", 0 },
        { "https://xexample.co", ".example.com", 0 },
        { "https://[::1]", ".1]", 0 },
        { "ftp://chat.example.com", ".example.com", 0 },
        { "wss://chat.example.com", ".example.com", 0 },
        { "https://chat.example.com", "example.com", 0 },
        { "https://chat.example.com", ".", 0 },
        { "https://chat.example.com", "", 0 }
    };

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        domain.data = (unsigned char *) cases[i].domain;
        domain.len = strlen(cases[i].domain);

        if (is_int(fcc_http_origin_parse((unsigned char *) cases[i].origin,
                                         strlen(cases[i].origin), &o),
                   FCC_OK, "is an origin"))
        {
            is_int(fcc_http_origin_below(&o, &domain), cases[i].below,
                   cases[i].origin);
        }
    }
}


static void
http_test_origin_same(void)
{
    size_t        i;
    fcc_origin_t  o;

    static const struct {
        const char  *origin;
        const char  *host;
        int          tls;
        int          same;
    } cases[] = {
        { "http://good.example", "good.example", 0, 1 },
        { "https://good.example", "good.example", 1, 1 },
        { "https://good.example", "good.example", 0, 0 },
        { "http://good.example", "good.example", 1, 0 },
        { "https://good.example", "GOOD.example:443", 1, 1 },
        { "https://good.example:443", "good.example", 1, 1 },
        { "http://good.example", "good.example:80", 0, 1 },
        { "http://good.example:8080", "good.example:8080", 0, 1 },
        { "http://good.example", "good.example:8080", 0, 0 },
        { "http://good.example:8080", "good.example", 0, 0 },
        { "https://good.example", "good.example:80", 1, 0 },
        { "http://[::1]:8080", "[::1]:8080", 0, 1 },
        { "http://[::1]", "[::2]", 0, 0 },
        { "http://good.example", "good.example.evil", 0, 0 },
        { "http://good.example", "evilgood.example", 0, 0 },
        { "http://good.example", "good.example.", 0, 0 },
        { "http://good.example", "good.example:", 0, 0 },
        { "http://good.example", "good.example/", 0, 0 },
        { "http://good.example", "u@good.example", 0, 0 },
        { "http://good.example", "", 0, 0 }
    };

    for (i = 0; i < HTTP_COUNT(cases); i++) {
        if (is_int(fcc_http_origin_parse((unsigned char *) cases[i].origin,
                                         strlen(cases[i].origin), &o),
                   FCC_OK, cases[i].origin))
        {
            is_int(fcc_http_origin_same(&o, (unsigned char *) cases[i].host,
                                        strlen(cases[i].host), cases[i].tls),
                   cases[i].same, cases[i].host);
        }
    }
}


int
main(void)
{
    http_test_lists();
    http_test_subprotocols();
    http_test_cookies();
    http_test_long_cookies();
    http_test_rooms();
    http_test_origins();
    http_test_long_origin();
    http_test_origin_equal();
    http_test_origin_below();
    http_test_origin_same();

    return tap_done();
}
