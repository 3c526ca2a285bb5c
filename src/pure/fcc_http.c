
/*
 * The pieces of HTTP that a handshake is made of: token lists, cookies as
 * Django reads them, the room's name, and the Origin.
 */


#include <fcc_http.h>

#include <arpa/inet.h>


#define FCC_HTTP_IPV6_MAX    45         /* characters of the longest address */


typedef struct {
    const unsigned char  *pos;
    const unsigned char  *end;
} fcc_http_list_t;


static int fcc_http_list_next(fcc_http_list_t *list, fcc_str_t *element);
static int fcc_http_is_token(const fcc_str_t *s);
static int fcc_http_is_space(unsigned char c);
static void fcc_http_strip(fcc_str_t *s);
static void fcc_http_cookie_unquote(fcc_str_t *value);
static int fcc_http_is_octal(const unsigned char *p, const unsigned char *end);
static int fcc_http_authority(const unsigned char *p, size_t len,
    fcc_origin_t *origin);
static int fcc_http_host_valid(const fcc_str_t *host);
static int fcc_http_ipv6_valid(const fcc_str_t *host);
static int fcc_http_port(const unsigned char *p, size_t len, unsigned *port);
static unsigned fcc_http_default_port(const fcc_str_t *scheme);
static int fcc_http_is_alnum(unsigned char c);
static unsigned char fcc_http_lower(unsigned char c);
static int fcc_http_same_text(const unsigned char *a, const unsigned char *b,
    size_t len);
static int fcc_http_is(const fcc_str_t *s, const char *text);


int
fcc_http_list_has(const unsigned char *p, size_t len, const char *token)
{
    fcc_str_t        s;
    fcc_http_list_t  list;

    list.pos = p;
    list.end = p + len;

    while (fcc_http_list_next(&list, &s)) {
        if (fcc_http_is(&s, token)) {
            return 1;
        }
    }

    return 0;
}


int
fcc_http_subprotocol(const unsigned char *p, size_t len, const char *name)
{
    int              found, some;
    size_t           n;
    fcc_str_t        s;
    fcc_http_list_t  list;

    n = strlen(name);
    found = 0;
    some = 0;

    list.pos = p;
    list.end = p + len;

    while (fcc_http_list_next(&list, &s)) {

        /* RFC 9110 5.6.1.2: a recipient ignores empty elements */

        if (s.len == 0) {
            continue;
        }

        if (!fcc_http_is_token(&s)) {
            return FCC_ERROR;
        }

        some = 1;

        if (s.len == n && memcmp(s.data, name, n) == 0) {
            found = 1;
        }
    }

    return some ? found : FCC_ERROR;
}


static int
fcc_http_list_next(fcc_http_list_t *list, fcc_str_t *element)
{
    const unsigned char  *p, *last;

    if (list->pos == NULL) {
        return 0;
    }

    p = list->pos;
    last = p;

    while (last < list->end && *last != ',') {
        last++;
    }

    list->pos = (last < list->end) ? last + 1 : NULL;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    element->data = (unsigned char *) p;
    element->len = last - p;

    return 1;
}


static int
fcc_http_is_token(const fcc_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (!fcc_http_token_char(s->data[i])) {
            return 0;
        }
    }

    return s->len > 0;
}


int
fcc_http_token_char(unsigned char c)
{
    return fcc_http_is_alnum(c)
           || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


int
fcc_http_cookie(unsigned char *p, size_t len, const fcc_str_t *name,
    fcc_str_t *value)
{
    int             found;
    fcc_str_t       key, val;
    unsigned char  *end, *semicolon, *equal;

    if (len == 0) {
        return FCC_AGAIN;
    }

    found = 0;
    end = p + len;

    for ( ;; ) {
        semicolon = memchr(p, ';', end - p);

        if (semicolon == NULL) {
            semicolon = end;
        }

        equal = memchr(p, '=', semicolon - p);

        if (equal != NULL) {
            key.data = p;
            key.len = equal - p;
            val.data = equal + 1;
            val.len = semicolon - val.data;

            fcc_http_strip(&key);

            if (key.len == name->len
                && memcmp(key.data, name->data, key.len) == 0)
            {
                found = 1;
                *value = val;
            }
        }

        if (semicolon == end) {
            break;
        }

        p = semicolon + 1;

        if (p == end) {
            break;
        }
    }

    if (!found) {
        return FCC_AGAIN;
    }

    fcc_http_strip(value);
    fcc_http_cookie_unquote(value);

    return FCC_OK;
}


/* the white space of Python's str.strip(), as far as Latin-1 goes */

static int
fcc_http_is_space(unsigned char c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20)
           || c == 0x85 || c == 0xa0;
}


static void
fcc_http_strip(fcc_str_t *s)
{
    while (s->len && fcc_http_is_space(s->data[0])) {
        s->data++;
        s->len--;
    }

    while (s->len && fcc_http_is_space(s->data[s->len - 1])) {
        s->len--;
    }
}


static void
fcc_http_cookie_unquote(fcc_str_t *value)
{
    unsigned char  *p, *dst, *end;

    if (value->len < 2 || value->data[0] != '"'
        || value->data[value->len - 1] != '"')
    {
        return;
    }

    value->data++;
    value->len -= 2;

    p = value->data;
    end = p + value->len;
    dst = p;

    while (p < end) {

        if (*p != '\\' || end - p < 2) {
            *dst++ = *p++;
            continue;
        }

        p++;

        if (fcc_http_is_octal(p, end)) {
            *dst++ = (unsigned char) (((p[0] - '0') << 6)
                                      | ((p[1] - '0') << 3) | (p[2] - '0'));
            p += 3;

        } else {
            *dst++ = *p++;
        }
    }

    value->len = dst - value->data;
}


static int
fcc_http_is_octal(const unsigned char *p, const unsigned char *end)
{
    return end - p >= 3
           && p[0] >= '0' && p[0] <= '3'
           && p[1] >= '0' && p[1] <= '7'
           && p[2] >= '0' && p[2] <= '7';
}


int
fcc_http_room_valid(const unsigned char *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > FCC_ROOM_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!fcc_http_is_alnum(p[i]) && p[i] != '_' && p[i] != '-') {
            return 0;
        }
    }

    return 1;
}


int
fcc_http_origin_parse(const unsigned char *p, size_t len,
    fcc_origin_t *origin)
{
    size_t  i, n;

    for (n = 0; n < len && p[n] != ':'; n++) {
        if (!fcc_http_is_alnum(p[n])
            && p[n] != '+' && p[n] != '-' && p[n] != '.')
        {
            return FCC_ERROR;
        }
    }

    i = n + sizeof("://") - 1;

    if (n == 0 || (p[0] >= '0' && p[0] <= '9') || !fcc_http_is_alnum(p[0])
        || len <= i || p[n + 1] != '/' || p[n + 2] != '/')
    {
        return FCC_ERROR;
    }

    origin->scheme.data = (unsigned char *) p;
    origin->scheme.len = n;

    return fcc_http_authority(p + i, len - i, origin);
}


int
fcc_http_origin_equal(const fcc_origin_t *a, const fcc_origin_t *b)
{
    return a->port == b->port
           && a->scheme.len == b->scheme.len
           && a->host.len == b->host.len
           && fcc_http_same_text(a->scheme.data, b->scheme.data,
                                 a->scheme.len)
           && fcc_http_same_text(a->host.data, b->host.data, a->host.len);
}


int
fcc_http_origin_below(const fcc_origin_t *origin, const fcc_str_t *domain)
{
    size_t            skip;
    const fcc_str_t  *host;

    host = &origin->host;

    if (!fcc_http_is(&origin->scheme, "http")
        && !fcc_http_is(&origin->scheme, "https"))
    {
        return 0;
    }

    if (domain->len < 2 || domain->data[0] != '.') {
        return 0;
    }

    if (host->len == domain->len - 1) {
        return fcc_http_same_text(host->data, domain->data + 1, host->len);
    }

    if (host->len <= domain->len) {
        return 0;
    }

    skip = host->len - domain->len;

    return fcc_http_same_text(host->data + skip, domain->data, domain->len);
}


int
fcc_http_origin_same(const fcc_origin_t *origin, const unsigned char *host,
    size_t len, int tls)
{
    fcc_str_t     http = fcc_string("http");
    fcc_str_t     https = fcc_string("https");
    fcc_origin_t  own;

    own.scheme = tls ? https : http;

    if (fcc_http_authority(host, len, &own) != FCC_OK) {
        return 0;
    }

    return fcc_http_origin_equal(origin, &own);
}


/* "host[:port]"; origin->scheme is set already */

static int
fcc_http_authority(const unsigned char *p, size_t len, fcc_origin_t *origin)
{
    size_t  n;

    n = 0;

    if (len && p[0] == '[') {
        while (n < len && p[n] != ']') {
            n++;
        }

        if (n == len) {
            return FCC_ERROR;
        }

        n++;

    } else {
        while (n < len && p[n] != ':') {
            n++;
        }
    }

    origin->host.data = (unsigned char *) p;
    origin->host.len = n;

    if (!fcc_http_host_valid(&origin->host)) {
        return FCC_ERROR;
    }

    if (n == len) {
        origin->port = fcc_http_default_port(&origin->scheme);
        return FCC_OK;
    }

    if (p[n] != ':') {
        return FCC_ERROR;
    }

    return fcc_http_port(p + n + 1, len - n - 1, &origin->port);
}


static int
fcc_http_host_valid(const fcc_str_t *host)
{
    size_t         i;
    unsigned char  c, prev;

    if (host->len == 0 || host->len > FCC_ORIGIN_HOST_MAX) {
        return 0;
    }

    if (host->data[0] == '[') {
        return fcc_http_ipv6_valid(host);
    }

    /* a dot at either end, or two of them, would be an empty label */

    prev = '.';

    for (i = 0; i < host->len; i++) {
        c = host->data[i];

        if (!fcc_http_is_alnum(c) && c != '-' && c != '_'
            && (c != '.' || prev == '.'))
        {
            return 0;
        }

        prev = c;
    }

    return prev != '.';
}


static int
fcc_http_ipv6_valid(const fcc_str_t *host)
{
    size_t           len;
    struct in6_addr  addr;
    char             text[FCC_HTTP_IPV6_MAX + 1];

    len = host->len - 2;

    if (host->len < 2 || len > FCC_HTTP_IPV6_MAX) {
        return 0;
    }

    memcpy(text, host->data + 1, len);
    text[len] = '\0';

    return memchr(text, '\0', len) == NULL
           && inet_pton(AF_INET6, text, &addr) == 1;
}


static int
fcc_http_port(const unsigned char *p, size_t len, unsigned *port)
{
    size_t    i;
    unsigned  n;

    if (len == 0 || len > 5 || p[0] == '0') {
        return FCC_ERROR;
    }

    n = 0;

    for (i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return FCC_ERROR;
        }

        n = n * 10 + (p[i] - '0');
    }

    if (n > 65535) {
        return FCC_ERROR;
    }

    *port = n;

    return FCC_OK;
}


static unsigned
fcc_http_default_port(const fcc_str_t *scheme)
{
    if (fcc_http_is(scheme, "https") || fcc_http_is(scheme, "wss")) {
        return 443;
    }

    if (fcc_http_is(scheme, "http") || fcc_http_is(scheme, "ws")) {
        return 80;
    }

    return 0;
}


/* isalnum() and tolower() depend on the locale */

static int
fcc_http_is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z');
}


static unsigned char
fcc_http_lower(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') ? c | 0x20 : c;
}


static int
fcc_http_same_text(const unsigned char *a, const unsigned char *b, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (fcc_http_lower(a[i]) != fcc_http_lower(b[i])) {
            return 0;
        }
    }

    return 1;
}


static int
fcc_http_is(const fcc_str_t *s, const char *text)
{
    return s->len == strlen(text)
           && fcc_http_same_text(s->data, (const unsigned char *) text,
                                 s->len);
}
