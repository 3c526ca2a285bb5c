
/*
 * Compressed messages of a worker: one state of zlib each way for all sockets,
 * made when the first of them needs it, and memory to work in.
 */


#ifndef _NGX_HTTP_FCCHAT_DEFLATE_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_DEFLATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <fcc_deflate.h>
#include <fcc_ws.h>


#define NGX_HTTP_FCCHAT_DEFLATE_MIN  128    /* bytes: shorter ones stay */


typedef struct {
    fcc_deflate_t               *out;       /* NULL: not needed so far */
    fcc_inflate_t               *in;
    u_char                      *packed;    /* what was compressed last */
    size_t                       packed_size;
    u_char                      *plain;     /* what was inflated last */
    size_t                       plain_size;
    uint64_t                     inflated;  /* bytes, of all messages */
    ngx_log_t                   *log;
} ngx_http_fcchat_deflate_t;


/* frees all but d itself, which goes on as a new one */
void ngx_http_fcchat_deflate_free(ngx_http_fcchat_deflate_t *d);

/*
 * Compresses a text or binary message for a window of 2^bits bytes at most.
 * Returns the opcode with FCC_WS_RSV1, and *data and *len are the compressed
 * message then, until the next call; or the opcode as it was where that would
 * make it no shorter, and without memory.
 */
ngx_uint_t ngx_http_fcchat_deflate(ngx_http_fcchat_deflate_t *d,
    ngx_uint_t bits, ngx_uint_t opcode, u_char **data, size_t *len);

/*
 * Inflates a message of a client to at most max bytes.  Returns 0, and *data
 * and *len are the message, until the next call; or the code to close with.
 */
ngx_uint_t ngx_http_fcchat_inflate(ngx_http_fcchat_deflate_t *d, u_char **data,
    size_t *len, size_t max);


#endif /* _NGX_HTTP_FCCHAT_DEFLATE_H_INCLUDED_ */
