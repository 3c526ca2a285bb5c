
/*
 * permessage-deflate: the offers of a client, and the answer.
 *
 * RFC 6455 9.1, with blanks where HTTP has always allowed them:
 *
 *     list   = 1#( token *( ";" token [ "=" ( token / quoted ) ] ) )
 *
 * where what is in quotes must be a token as well.
 */


#include <fcc_deflate.h>
#include <fcc_http.h>


#define FCC_OFFER_NAME   "permessage-deflate"
#define FCC_OFFER_VALUE  3      /* bytes of a value that are looked at */


typedef struct {
    const unsigned char  *pos;
    const unsigned char  *end;
} fcc_offer_scan_t;


/* one offer while it is read */

typedef struct {
    unsigned        ours:1;
    unsigned        bad:1;
    unsigned        server_reset:1;
    unsigned        client_reset:1;
    unsigned        server_bits:1;
    unsigned        client_bits:1;
    unsigned        bits;
} fcc_offer_read_t;


/* len 0: it has no value, which can't be written otherwise */

typedef struct {
    size_t          len;
    unsigned char   data[FCC_OFFER_VALUE];
} fcc_offer_value_t;


static int fcc_offer_params(fcc_offer_scan_t *s, fcc_offer_read_t *offer);
static int fcc_offer_param(fcc_offer_read_t *offer, const fcc_str_t *name,
    const fcc_offer_value_t *value);
static int fcc_offer_bits(const fcc_offer_value_t *value, unsigned *bits);
static int fcc_offer_value(fcc_offer_scan_t *s, fcc_offer_value_t *value);
static int fcc_offer_token(fcc_offer_scan_t *s, fcc_str_t *token);
static void fcc_offer_blanks(fcc_offer_scan_t *s);
static int fcc_offer_is(fcc_offer_scan_t *s, unsigned char c);
static int fcc_offer_same(const fcc_str_t *s, const char *text);


int
fcc_deflate_offer(const unsigned char *p, size_t len,
    fcc_deflate_offer_t *offer)
{
    fcc_str_t         name;
    fcc_offer_read_t  read;
    fcc_offer_scan_t  s;

    s.pos = p;
    s.end = p + len;

    for ( ;; ) {

        /* RFC 9110 5.6.1.2: a recipient ignores empty elements */

        do {
            fcc_offer_blanks(&s);
        } while (fcc_offer_is(&s, ','));

        if (s.pos == s.end) {
            return FCC_OK;
        }

        if (fcc_offer_token(&s, &name) != FCC_OK) {
            return FCC_ERROR;
        }

        memset(&read, 0, sizeof(fcc_offer_read_t));
        read.ours = fcc_offer_same(&name, FCC_OFFER_NAME);

        if (fcc_offer_params(&s, &read) != FCC_OK) {
            return FCC_ERROR;
        }

        if (s.pos < s.end && *s.pos != ',') {
            return FCC_ERROR;
        }

        if (read.ours && !read.bad && !offer->accepted) {
            offer->accepted = 1;
            offer->asked = read.server_bits;
            offer->bits = (unsigned char) (read.server_bits ? read.bits
                                           : FCC_DEFLATE_BITS_MAX);
        }
    }
}


static int
fcc_offer_params(fcc_offer_scan_t *s, fcc_offer_read_t *offer)
{
    fcc_str_t          name;
    fcc_offer_value_t  value;

    for ( ;; ) {
        fcc_offer_blanks(s);

        if (!fcc_offer_is(s, ';')) {
            return FCC_OK;
        }

        fcc_offer_blanks(s);

        if (fcc_offer_token(s, &name) != FCC_OK) {
            return FCC_ERROR;
        }

        fcc_offer_blanks(s);

        value.len = 0;

        if (fcc_offer_is(s, '=') && fcc_offer_value(s, &value) != FCC_OK) {
            return FCC_ERROR;
        }

        if (offer->ours && fcc_offer_param(offer, &name, &value) != FCC_OK) {
            offer->bad = 1;
        }
    }
}


/* RFC 7692 7.1; FCC_ERROR: the offer is to be declined */

static int
fcc_offer_param(fcc_offer_read_t *offer, const fcc_str_t *name,
    const fcc_offer_value_t *value)
{
    unsigned  bits;

    if (fcc_offer_same(name, "server_no_context_takeover")) {

        if (offer->server_reset || value->len) {
            return FCC_ERROR;
        }

        offer->server_reset = 1;

        return FCC_OK;
    }

    if (fcc_offer_same(name, "client_no_context_takeover")) {

        if (offer->client_reset || value->len) {
            return FCC_ERROR;
        }

        offer->client_reset = 1;

        return FCC_OK;
    }

    if (fcc_offer_same(name, "server_max_window_bits")) {

        if (offer->server_bits
            || fcc_offer_bits(value, &offer->bits) != FCC_OK
            || offer->bits < FCC_DEFLATE_BITS_MIN)
        {
            return FCC_ERROR;
        }

        offer->server_bits = 1;

        return FCC_OK;
    }

    if (fcc_offer_same(name, "client_max_window_bits")) {

        /* a hint: we can inflate what any window has made */

        if (offer->client_bits
            || (value->len && fcc_offer_bits(value, &bits) != FCC_OK))
        {
            return FCC_ERROR;
        }

        offer->client_bits = 1;

        return FCC_OK;
    }

    return FCC_ERROR;
}


/* 8 to 15, without leading zeros */

static int
fcc_offer_bits(const fcc_offer_value_t *value, unsigned *bits)
{
    const unsigned char  *p;

    p = value->data;

    if (value->len == 1 && (p[0] == '8' || p[0] == '9')) {
        *bits = p[0] - '0';
        return FCC_OK;
    }

    if (value->len == 2 && p[0] == '1' && p[1] >= '0' && p[1] <= '5') {
        *bits = 10 + p[1] - '0';
        return FCC_OK;
    }

    return FCC_ERROR;
}


static int
fcc_offer_value(fcc_offer_scan_t *s, fcc_offer_value_t *value)
{
    int            quoted;
    unsigned char  c;

    fcc_offer_blanks(s);

    quoted = fcc_offer_is(s, '"');

    while (s->pos < s->end) {
        c = *s->pos;

        if (quoted && c == '\\' && s->end - s->pos > 1) {
            c = *++s->pos;
        }

        if (!fcc_http_token_char(c)) {
            break;
        }

        if (value->len < FCC_OFFER_VALUE) {
            value->data[value->len] = c;
        }

        value->len++;
        s->pos++;
    }

    if (value->len == 0 || (quoted && !fcc_offer_is(s, '"'))) {
        return FCC_ERROR;
    }

    return FCC_OK;
}


static int
fcc_offer_token(fcc_offer_scan_t *s, fcc_str_t *token)
{
    token->data = (unsigned char *) s->pos;

    while (s->pos < s->end && fcc_http_token_char(*s->pos)) {
        s->pos++;
    }

    token->len = s->pos - token->data;

    return token->len ? FCC_OK : FCC_ERROR;
}


static void
fcc_offer_blanks(fcc_offer_scan_t *s)
{
    while (s->pos < s->end && (*s->pos == ' ' || *s->pos == '\t')) {
        s->pos++;
    }
}


/* 1 and it is passed, when this is next */

static int
fcc_offer_is(fcc_offer_scan_t *s, unsigned char c)
{
    if (s->pos == s->end || *s->pos != c) {
        return 0;
    }

    s->pos++;

    return 1;
}


static int
fcc_offer_same(const fcc_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


void
fcc_deflate_answer(fcc_buf_t *b, const fcc_deflate_offer_t *offer)
{
    unsigned char  digits[2];

    fcc_buf_lit(b, FCC_OFFER_NAME "; server_no_context_takeover"
                   "; client_no_context_takeover");

    if (!offer->asked) {
        return;
    }

    digits[0] = '0' + offer->bits / 10;
    digits[1] = '0' + offer->bits % 10;

    fcc_buf_lit(b, "; server_max_window_bits=");
    fcc_buf_put(b, offer->bits < 10 ? digits + 1 : digits,
                offer->bits < 10 ? 1 : 2);
}
