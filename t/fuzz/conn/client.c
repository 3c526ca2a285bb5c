
/*
 * What a client is sent: HTTP responses, those of the API JSON, and after a 101
 * whole frames, not masked, whose texts are JSON, perhaps compressed, until a
 * Close that nothing follows.
 */


#include "conn.h"

#include <fcc_utf8.h>
#include <jansson.h>
#include <zlib.h>


#define CLIENT_TEXT  (1024 * 1024)      /* bytes of one when inflated */


static int
client_response(conn_client_t *cl)
{
    size_t   len;
    u_char  *p, *end, *length;

    p = cl->out.data + cl->out.sent;

    end = memmem(p, cl->out.len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }

    len = end + 4 - p;

    claim(p != NULL && len >= 12 && ngx_memcmp(p, "HTTP/1.", 7) == 0);

    if (conn_said) {
        fprintf(stderr, "%d < %.*s\n", (int) (cl - conn_clients), (int) len, p);
    }

    if (ngx_atoi(p + 9, 3) == NGX_HTTP_SWITCHING_PROTOCOLS) {
        claim(memmem(p, len, "Sec-WebSocket-Accept: ", 22) != NULL);

        cl->upgraded = 1;
        cl->deflate = memmem(p, len, "permessage-deflate", 18) != NULL;

        conn_take(&cl->out, len);
        return 1;
    }

    /* another request may follow, or go on */

    length = memmem(p, len, "Content-Length: ", 16);

    if (length == NULL) {
        cl->refused = 1;
        conn_take(&cl->out, cl->out.len);
        return 0;
    }

    cl->body = strtoul((char *) length + 16, NULL, 10);
    cl->json = cl->api
               && memmem(p, len, "Content-Type: application/json", 30) != NULL;
    conn_take(&cl->out, len);

    return 1;
}


static void
client_json(u_char *p, size_t len)
{
    json_t        *root;
    json_error_t   err;

    claim(fcc_utf8_length(p, len) >= 0);

    root = json_loadb((char *) p, len, 0, &err);
    claim(root != NULL);
    json_decref(root);
}


/* 0: it is not all there yet */

static int
client_body(conn_client_t *cl)
{
    u_char  *p;

    if (cl->out.len < cl->body) {
        return 0;
    }

    p = cl->out.data + cl->out.sent;

    if (conn_said) {
        fprintf(stderr, "%d < %.*s\n", (int) (cl - conn_clients),
                (int) cl->body, p);
    }

    if (cl->json) {
        client_json(p, cl->body);
    }

    conn_take(&cl->out, cl->body);
    cl->body = 0;
    cl->json = 0;

    return 1;
}


/* what is echoed may be anything */

static int
client_echo(conn_client_t *cl)
{
    ngx_http_fcchat_session_t  *s;

    s = cl->c->data;

    return s->echo;
}


static void
client_text(conn_client_t *cl, u_char *p, size_t len)
{
    claim(fcc_utf8_length(p, len) >= 0);

    if (!client_echo(cl)) {
        client_json(p, len);
    }
}


/* RFC 7692 7.2.2, without context takeover */

static void
client_deflated(conn_client_t *cl, u_char *p, size_t len)
{
    u_char        *text;
    z_stream       z;

    static u_char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    text = malloc(CLIENT_TEXT);
    claim(text != NULL);

    ngx_memzero(&z, sizeof(z_stream));
    claim(inflateInit2(&z, -15) == Z_OK);

    z.next_out = text;
    z.avail_out = CLIENT_TEXT;

    z.next_in = p;
    z.avail_in = len;
    claim(inflate(&z, Z_SYNC_FLUSH) == Z_OK && z.avail_in == 0);

    z.next_in = tail;
    z.avail_in = sizeof(tail);
    claim(inflate(&z, Z_SYNC_FLUSH) == Z_OK && z.avail_in == 0);

    client_text(cl, text, z.total_out);

    (void) inflateEnd(&z);
    free(text);
}


static int
client_frame(conn_client_t *cl)
{
    size_t    head;
    u_char   *p;
    uint64_t  len;

    p = cl->out.data + cl->out.sent;

    if (cl->out.len < 2) {
        return 0;
    }

    claim((p[1] & 0x80) == 0);

    len = p[1];
    head = 2;

    if (len == 126) {
        head = 4;

    } else if (len == 127) {
        head = 10;
    }

    if (cl->out.len < head) {
        return 0;
    }

    if (len == 126) {
        len = p[2] << 8 | p[3];
        claim(len > 125);

    } else if (len == 127) {
        len = be64toh(*(uint64_t *) (p + 2));
        claim(len > 65535 && len < 1024 * 1024);
    }

    if (cl->out.len < head + len) {
        return 0;
    }

    if (conn_said) {
        fprintf(stderr, "%d < %02x %.*s\n", (int) (cl - conn_clients), *p,
                (int) len, p + head);
    }

    /* nothing is fragmented, and nothing follows a Close */

    claim(p[0] & 0x80);
    claim(!cl->closed);
    claim((p[0] & 0x70) == 0 || (cl->deflate && (p[0] & 0x70) == 0x40));

    switch (p[0] & 0x0f) {

    case FCC_WS_TEXT:
        if ((p[0] & 0x70) == 0) {
            client_text(cl, p + head, len);

        } else {
            client_deflated(cl, p + head, len);
        }

        break;

    case FCC_WS_BINARY:
        claim(client_echo(cl));
        break;

    case FCC_WS_CLOSE:
        claim(len == 0 || len >= 2);
        claim(len <= 125);
        cl->closed = 1;
        break;

    case FCC_WS_PING:
    case FCC_WS_PONG:
        claim(len <= 125);
        break;

    default:
        claim(!"an opcode that is none");
    }

    conn_take(&cl->out, head + len);

    return 1;
}


void
conn_judge(conn_client_t *cl)
{
    if (cl->refused) {
        conn_take(&cl->out, cl->out.len);
        return;
    }

    while (!cl->upgraded) {

        if (cl->body && !client_body(cl)) {
            return;
        }

        if (cl->out.len == 0 || !client_response(cl)) {
            return;
        }
    }

    while (client_frame(cl)) { /* void */ }
}


void
conn_forget(conn_client_t *cl)
{
    conn_drop(&cl->in);
    conn_drop(&cl->out);
    conn_drop(&cl->said);

    ngx_memzero(cl, sizeof(conn_client_t));

    cl->window = SIZE_MAX;
}
