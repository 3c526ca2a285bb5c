
/*
 * UTF-8: an incremental validator, and reading it by the character.
 *
 * All that makes UTF-8 more than a count of continuation bytes (overlong
 * forms, surrogates, the end of Unicode) is decided by the first byte of a
 * character and the bounds it sets for the second.
 */


#include <fcc_utf8.h>


#define FCC_UTF8_HIGH_BITS  0x8080808080808080ULL


static int fcc_utf8_lead(fcc_utf8_t *u, unsigned char c);
static const unsigned char *fcc_utf8_skip_ascii(const unsigned char *p,
    const unsigned char *end);


void
fcc_utf8_init(fcc_utf8_t *u)
{
    u->need = 0;
    u->low = 0x80;
    u->high = 0xbf;
}


int
fcc_utf8_feed(fcc_utf8_t *u, const unsigned char *p, size_t len)
{
    fcc_utf8_t            s;
    const unsigned char  *end;

    if (len == 0) {
        return FCC_OK;
    }

    /* stores through u could alias the text, so the loop works on a copy */

    s = *u;
    end = p + len;

    while (p < end) {

        if (s.need == 0) {
            p = fcc_utf8_skip_ascii(p, end);

            if (p == end) {
                break;
            }

            if (fcc_utf8_lead(&s, *p++) != FCC_OK) {
                return FCC_ERROR;
            }

            continue;
        }

        if (*p < s.low || *p > s.high) {
            return FCC_ERROR;
        }

        s.need--;
        s.low = 0x80;
        s.high = 0xbf;
        p++;
    }

    *u = s;

    return FCC_OK;
}


int
fcc_utf8_complete(const fcc_utf8_t *u)
{
    return u->need == 0;
}


ptrdiff_t
fcc_utf8_length(const unsigned char *p, size_t len)
{
    size_t      i;
    ptrdiff_t   n;
    fcc_utf8_t  u;

    fcc_utf8_init(&u);

    if (fcc_utf8_feed(&u, p, len) != FCC_OK || !fcc_utf8_complete(&u)) {
        return -1;
    }

    n = 0;

    for (i = 0; i < len; i++) {
        n += (p[i] & 0xc0) != 0x80;
    }

    return n;
}


size_t
fcc_utf8_char(const unsigned char *p, size_t len, uint32_t *cp)
{
    size_t      i, n;
    uint32_t    c;
    fcc_utf8_t  u;

    if (len == 0) {
        return 0;
    }

    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }

    if (fcc_utf8_lead(&u, p[0]) != FCC_OK) {
        return 0;
    }

    n = u.need + 1;

    if (len < n || p[1] < u.low || p[1] > u.high) {
        return 0;
    }

    c = p[0] & (0x7f >> n);

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = (c << 6) | (p[i] & 0x3f);
    }

    *cp = c;

    return n;
}


/* the first byte of a character that is not ASCII */

static int
fcc_utf8_lead(fcc_utf8_t *u, unsigned char c)
{
    u->low = 0x80;
    u->high = 0xbf;

    if (c < 0xc2 || c > 0xf4) {
        return FCC_ERROR;
    }

    if (c < 0xe0) {
        u->need = 1;
        return FCC_OK;
    }

    if (c < 0xf0) {
        u->need = 2;

        if (c == 0xe0) {
            u->low = 0xa0;

        } else if (c == 0xed) {
            u->high = 0x9f;
        }

        return FCC_OK;
    }

    u->need = 3;

    if (c == 0xf0) {
        u->low = 0x90;

    } else if (c == 0xf4) {
        u->high = 0x8f;
    }

    return FCC_OK;
}


static const unsigned char *
fcc_utf8_skip_ascii(const unsigned char *p, const unsigned char *end)
{
    uint64_t  word;

    while (end - p >= (ptrdiff_t) sizeof(uint64_t)) {
        memcpy(&word, p, sizeof(uint64_t));

        if (word & FCC_UTF8_HIGH_BITS) {
            break;
        }

        p += sizeof(uint64_t);
    }

    while (p < end && *p < 0x80) {
        p++;
    }

    return p;
}
