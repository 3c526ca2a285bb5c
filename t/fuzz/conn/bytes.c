
/*
 * Bytes on their way, of all parts.
 */


#include "conn.h"

#include <stdarg.h>


void
conn_put(conn_bytes_t *b, const void *data, size_t len)
{
    if (b->sent + b->len + len > b->size) {
        b->size = 2 * (b->sent + b->len + len) + 64;
        b->data = realloc(b->data, b->size);
        claim(b->data != NULL);
    }

    if (len) {
        memcpy(b->data + b->sent + b->len, data, len);
        b->len += len;
    }
}


void
conn_putf(conn_bytes_t *b, const char *fmt, ...)
{
    int      n;
    char     text[1024];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    claim(n >= 0 && n < (int) sizeof(text));
    conn_put(b, text, n);
}


void
conn_take(conn_bytes_t *b, size_t len)
{
    claim(len <= b->len);

    b->sent += len;
    b->len -= len;

    if (b->len == 0) {
        b->sent = 0;
    }
}


void
conn_drop(conn_bytes_t *b)
{
    free(b->data);
    memset(b, 0, sizeof(conn_bytes_t));
}


void
conn_put_int(conn_bytes_t *b, uint32_t n, int bytes)
{
    u_char  p[4];

    n = htonl(n);
    memcpy(p, &n, 4);
    conn_put(b, p + 4 - bytes, bytes);
}
