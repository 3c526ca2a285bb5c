
/*
 * Requests of the HTTP API: who asks is said as Django's pages and the site's
 * back end say it.
 */


#include "conn.h"


#define REQUEST_TOKEN  "0123456789abcdefghijklmnopqrstuv"
#define REQUEST_OTHER  "1123456789abcdefghijklmnopqrstuv"


static void request_who(conn_bytes_t *b, unsigned k);
static void request_send(conn_client_t *cl, conn_bytes_t *b);


const char *
conn_cookie(char *key, unsigned k, int cookie)
{
    const char  *p;

    if (k == 1) {
        return NULL;
    }

    p = cookie ? conn_session_data(1) : "abcdefghijklmnopqrstuvwxyz012345";

    snprintf(key, CONN_COOKIE, "%s", p);

    if (k == 2) {
        key[0] = 'b';

    } else if (k == 3) {
        key[5] = '!';

    } else if (k == 4) {
        key[strlen(key) - 1] ^= 1;
    }

    return key;
}


static void
request_who(conn_bytes_t *b, unsigned k)
{
    char         key[CONN_COOKIE];
    const char  *cookie;

    conn_putf(b, "Host: localhost\r\nOrigin: http://%s\r\n",
              k == 8 ? "evil.example" : "localhost");

    if (k == 5 || k == 6) {
        conn_putf(b, "Authorization: Bearer %s%s\r\n", CONN_SECRET,
                  k == 6 ? "!" : "");
        return;
    }

    cookie = conn_cookie(key, k, 0);

    if (cookie) {
        conn_putf(b, "Cookie: csrftoken=%s; sessionid=%s\r\n", REQUEST_TOKEN,
                  cookie);
    }

    conn_putf(b, "X-CSRFToken: %s\r\n",
              k == 7 ? REQUEST_OTHER : REQUEST_TOKEN);
}


/* what comes back is known to be an answer of the API's, or nginx's own */

static void
request_send(conn_client_t *cl, conn_bytes_t *b)
{
    if (cl->c == NULL) {
        conn_open(cl);
        cl->api = 1;
    }

    conn_write(cl, b->data, b->len);
    conn_drop(b);
}


void
conn_get(conn_client_t *cl, unsigned k, const u_char *target, size_t len)
{
    conn_bytes_t  b = { NULL, 0, 0, 0 };

    conn_put(&b, "GET ", 4);
    conn_put(&b, target, len);
    conn_putf(&b, " HTTP/1.1\r\n");
    request_who(&b, k % 9);
    conn_putf(&b, "\r\n");

    request_send(cl, &b);
}


void
conn_post(conn_client_t *cl, unsigned k, unsigned room, const u_char *body,
    size_t len)
{
    size_t        half;
    conn_bytes_t  b = { NULL, 0, 0, 0 };

    room %= 6;

    conn_putf(&b, "POST /%s/" CONN_ROOM "/%s HTTP/1.1\r\n",
              room > 3 ? "api-near" : "api",
              room & 1 ? "moderation" : "publish");
    request_who(&b, k % 9);
    conn_putf(&b, "Content-Type: application/json\r\n");

    if ((room & 2) == 0) {
        conn_putf(&b, "Content-Length: %d\r\n\r\n", (int) len);
        conn_put(&b, body, len);

    } else {
        half = len / 2;

        conn_putf(&b, "Transfer-Encoding: chunked\r\n\r\n");

        if (half) {
            conn_putf(&b, "%x\r\n", (int) half);
            conn_put(&b, body, half);
            conn_putf(&b, "\r\n");
        }

        if (len - half) {
            conn_putf(&b, "%x\r\n", (int) (len - half));
            conn_put(&b, body + half, len - half);
            conn_putf(&b, "\r\n");
        }

        conn_putf(&b, "0\r\n\r\n");
    }

    request_send(cl, &b);
}
