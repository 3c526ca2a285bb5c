
/*
 * The pieces of HTTP a handshake is made of, read as their owners read them:
 * token lists as RFC 9110 5.6.1, cookies as Django (django.http.cookie), the
 * Origin as RFC 6454, the room as the seed's URL pattern.
 */


#ifndef _FCC_HTTP_H_INCLUDED_
#define _FCC_HTTP_H_INCLUDED_


#include <fcc.h>


#define FCC_ROOM_NAME_MAX    255        /* chat_chatroom.name varchar(255) */
#define FCC_ORIGIN_HOST_MAX  255


/* 1 when a token may have it (RFC 9110 5.6.2) */
int fcc_http_token_char(unsigned char c);

/* 1 when the comma-separated list has the token, in any case */
int fcc_http_list_has(const unsigned char *p, size_t len, const char *token);

/*
 * Sec-WebSocket-Protocol: 1 when the list offers "name" (exact case), 0 when it
 * does not, FCC_ERROR when it is not a list of tokens.  Quadratic in nothing.
 */
int fcc_http_subprotocol(const unsigned char *p, size_t len, const char *name);

/*
 * The cookie "name" of one Cookie header as Django reads it: split at ';', the
 * first '=' divides, both sides stripped, the name exact, the last one wins,
 * "..." around the value unquoted (\ooo and \x escapes as http.cookies has
 * them, in place).  FCC_OK with *value in the header's own bytes;
 * FCC_AGAIN when it has no such cookie.  With several headers call it for each
 * in order and keep the last FCC_OK.
 */
int fcc_http_cookie(unsigned char *p, size_t len, const fcc_str_t *name,
    fcc_str_t *value);

/* 1 for [A-Za-z0-9_-]{1,255}, the seed's [\w-]+ in ASCII */
int fcc_http_room_valid(const unsigned char *p, size_t len);

typedef struct {
    fcc_str_t   scheme;     /* lower-cased by comparison only */
    fcc_str_t   host;       /* an IPv6 address with its brackets */
    unsigned    port;       /* the scheme's default when none is given */
} fcc_origin_t;

/*
 * "scheme://host[:port]" and nothing else: no path, user, blank, control
 * character, trailing dot or empty part; "null" is FCC_ERROR.  The result
 * points into p.
 */
int fcc_http_origin_parse(const unsigned char *p, size_t len,
    fcc_origin_t *origin);

/* 1 when scheme, host (in any case) and port are the same */
int fcc_http_origin_equal(const fcc_origin_t *a, const fcc_origin_t *b);

/*
 * 1 when the origin's host is the domain or below it, in any case: for
 * ".example.com" that is example.com and chat.example.com, never
 * evilexample.com.  domain begins with the dot.  Scheme http or https, any
 * port.
 */
int fcc_http_origin_below(const fcc_origin_t *origin, const fcc_str_t *domain);

/*
 * A Host header (with or without a port) against the origin's host and port,
 * the scheme taken from tls: 1 when they are the same ("same" of
 * fcchat_origin).  A port left out is the scheme's default.
 */
int fcc_http_origin_same(const fcc_origin_t *origin, const unsigned char *host,
    size_t len, int tls);


#endif /* _FCC_HTTP_H_INCLUDED_ */
