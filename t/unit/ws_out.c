
/*
 * What a server writes of WebSocket: frame headers, Close frames, and the
 * answer to the key of a handshake.
 */


#include "tap.h"

#include <fcc_ws.h>


static void
ws_test_header(void)
{
    size_t         i, n;
    unsigned char  h[FCC_WS_HEADER_MAX];

    static const struct {
        uint64_t     len;
        size_t       size;
        const char  *want;
    } cases[] = {
        { 0, 2, "\x81\x00" },
        { 125, 2, "\x81\x7d" },
        { 126, 4, "\x81\x7e\x00\x7e" },
        { 65535, 4, "\x81\x7e\xff\xff" },
        { 65536, 10, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00" },
        { 0x123456789abcdefULL, 10,
          "\x81\x7f\x01\x23\x45\x67\x89\xab\xcd\xef" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(h, 0xee, sizeof(h));
        n = fcc_ws_header(h, FCC_WS_TEXT, cases[i].len);
        is_mem(h, n, cases[i].want, cases[i].size, "server header");
        is_int(fcc_ws_header_size(cases[i].len), cases[i].size, "its size");
    }

    n = fcc_ws_header(h, FCC_WS_PONG, 3);
    is_mem(h, n, "\x8a\x03", 2, "pong");
}


static void
ws_test_close(void)
{
    size_t         n;
    char           reason[200];
    unsigned char  f[2 + FCC_WS_CONTROL_MAX];

    n = fcc_ws_close(f, 1000, "bye");
    is_mem(f, n, "\x88\x05\x03\xe8" "bye", 7, "close");

    n = fcc_ws_close(f, 4008, NULL);
    is_mem(f, n, "\x88\x02\x0f\xa8", 4, "close without a reason");

    n = fcc_ws_close(f, 4008, "");
    is_mem(f, n, "\x88\x02\x0f\xa8", 4, "close with an empty one");

    n = fcc_ws_close(f, FCC_WS_NO_STATUS, "x");
    is_mem(f, n, "\x88\x00", 2, "1005 is never on the wire");

    n = fcc_ws_close(f, FCC_WS_ABNORMAL, "x");
    is_mem(f, n, "\x88\x00", 2, "nor is 1006");

    memset(reason, 'r', sizeof(reason));
    reason[123] = '\0';
    n = fcc_ws_close(f, 1001, reason);
    is_int(n, 127, "a reason of 123 bytes is kept");

    reason[123] = 'r';
    reason[199] = '\0';
    n = fcc_ws_close(f, 1001, reason);
    is_int(n, 127, "a longer one is cut");
    is_int(f[1], 125, "to a control frame");

    memcpy(reason + 121, "\xe3\x81\x93", 3);
    n = fcc_ws_close(f, 1001, reason);
    is_int(n, 4 + 121, "at the end of a character");

    memcpy(reason + 120, "\xe3\x81\x93r", 4);
    n = fcc_ws_close(f, 1001, reason);
    is_int(n, 4 + 123, "which may be the last byte");
}


static void
ws_test_key(void)
{
    size_t         i;
    unsigned char  out[FCC_WS_ACCEPT_LEN];

    static const struct {
        const char  *key;
        int          valid;
    } keys[] = {
        { "dGhlIHNhbXBsZSBub25jZQ==", 1 },
        { "AAAAAAAAAAAAAAAAAAAAAA==", 1 },
        { "AZaz09+/AZaz09+/AZaz09==", 1 },
        { "@ZazAZazAZazAZazAZazAA==", 0 },
        { "[ZazAZazAZazAZazAZazAA==", 0 },
        { "`ZazAZazAZazAZazAZazAA==", 0 },
        { "{ZazAZazAZazAZazAZazAA==", 0 },
        { ":ZazAZazAZazAZazAZazAA==", 0 },
        { ".ZazAZazAZazAZazAZazAA==", 0 },
        { "+/+/+/+/+/+/+/+/+/+/+w==", 1 },
        { "", 0 },
        { "dGhlIHNhbXBsZSBub25jZQ=", 0 },
        { "dGhlIHNhbXBsZSBub25jZQ===", 0 },
        { "dGhlIHNhbXBsZSBub25jZQA=", 0 },
        { "dGhlIHNhbXBsZSBub25jZQAA", 0 },
        { "dGhlIHNhbXBsZSBub25jZ===", 0 },
        { "dGhlIHNhbXBsZSBub25jZ-==", 0 },
        { "dGhlIHNhbXBsZ_Bub25jZQ==", 0 },
        { "dGhlIHNhbXBs SBub25jZQ==", 0 },
        { "dGhlIHNhbXBsZSBub25j\xff\xff==", 0 }
    };

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        is_int(fcc_ws_key_valid((unsigned char *) keys[i].key,
                                strlen(keys[i].key)),
               keys[i].valid, keys[i].key);
    }

    is_int(fcc_ws_accept((unsigned char *) keys[0].key, 24, out), FCC_OK,
           "accept");
    is_mem(out, sizeof(out), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28,
           "as in RFC 6455 1.3");
    is_int(fcc_ws_accept((unsigned char *) "short", 5, out), FCC_ERROR,
           "accept of no key");
}


int
main(void)
{
    ws_test_header();
    ws_test_close();
    ws_test_key();

    return tap_done();
}
