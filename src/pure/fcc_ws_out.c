
/*
 * WebSocket: the few bytes that a server writes around payloads, and its answer
 * to the key of a handshake.
 */


#include <fcc_ws.h>

#include <openssl/err.h>
#include <openssl/evp.h>


#define FCC_WS_FIN           0x80

#define FCC_WS_GUID          "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


size_t
fcc_ws_header(unsigned char *p, unsigned opcode, uint64_t len)
{
    size_t  i;

    /* cppcheck-suppress ctuArrayIndex ; the caller's array is filled here */
    p[0] = FCC_WS_FIN | (opcode & (FCC_WS_RSV1 | 0x0f));

    if (len < 126) {
        p[1] = (unsigned char) len;
        return 2;
    }

    if (len < 65536) {
        p[1] = 126;
        p[2] = (unsigned char) (len >> 8);
        p[3] = (unsigned char) len;
        return 4;
    }

    p[1] = 127;

    for (i = 0; i < 8; i++) {
        p[2 + i] = (unsigned char) (len >> (56 - 8 * i));
    }

    return 10;
}


size_t
fcc_ws_header_size(uint64_t len)
{
    if (len < 126) {
        return 2;
    }

    return (len < 65536) ? 4 : 10;
}


size_t
fcc_ws_close(unsigned char *p, unsigned code, const char *reason)
{
    size_t  len;

    /* these stand for a Close without a code, or for no Close at all */

    if (code == FCC_WS_NO_STATUS || code == FCC_WS_ABNORMAL) {
        return fcc_ws_header(p, FCC_WS_CLOSE, 0);
    }

    len = (reason == NULL) ? 0 : strlen(reason);

    if (len > FCC_WS_CONTROL_MAX - 2) {
        len = FCC_WS_CONTROL_MAX - 2;

        while (len > 0 && ((unsigned char) reason[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    p += fcc_ws_header(p, FCC_WS_CLOSE, 2 + len);

    p[0] = (unsigned char) (code >> 8);
    p[1] = (unsigned char) code;

    if (len) {
        memcpy(p + 2, reason, len);
    }

    return 2 + 2 + len;
}


int
fcc_ws_key_valid(const unsigned char *key, size_t len)
{
    size_t         i;
    unsigned char  c;

    if (len != FCC_WS_KEY_LEN || key[22] != '=' || key[23] != '=') {
        return 0;
    }

    for (i = 0; i < 22; i++) {
        c = key[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
              || (c >= '0' && c <= '9') || c == '+' || c == '/'))
        {
            return 0;
        }
    }

    return 1;
}


int
fcc_ws_accept(const unsigned char *key, size_t len,
    unsigned char out[FCC_WS_ACCEPT_LEN])
{
    unsigned       n;
    unsigned char  text[FCC_WS_KEY_LEN + sizeof(FCC_WS_GUID) - 1];
    unsigned char  sha1[EVP_MAX_MD_SIZE], base64[FCC_WS_ACCEPT_LEN + 1];

    if (len != FCC_WS_KEY_LEN) {
        return FCC_ERROR;
    }

    memcpy(text, key, FCC_WS_KEY_LEN);
    memcpy(text + FCC_WS_KEY_LEN, FCC_WS_GUID, sizeof(FCC_WS_GUID) - 1);

    if (EVP_Digest(text, sizeof(text), sha1, &n, EVP_sha1(), NULL) != 1
        || n != 20)
    {
        /* nginx would log what is left there as somebody else's error */

        ERR_clear_error();
        return FCC_ERROR;
    }

    (void) EVP_EncodeBlock(base64, sha1, n);

    memcpy(out, base64, FCC_WS_ACCEPT_LEN);

    return FCC_OK;
}
