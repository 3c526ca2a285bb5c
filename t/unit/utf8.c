
/*
 * fcc_utf8 against Table 3-7 of the Unicode Standard: all strings of one to
 * three bytes, all strings of four bytes out of a set of boundaries, and these
 * again at each offset inside ASCII, for the fast path.
 */


#include "tap.h"

#include <fcc_utf8.h>


typedef struct {
    unsigned char  lead[2];
    unsigned char  second[2];
    size_t         len;
} utf8_row_t;


static const utf8_row_t  utf8_rows[] = {
    { { 0x00, 0x7f }, { 0x00, 0x00 }, 1 },
    { { 0xc2, 0xdf }, { 0x80, 0xbf }, 2 },
    { { 0xe0, 0xe0 }, { 0xa0, 0xbf }, 3 },
    { { 0xe1, 0xec }, { 0x80, 0xbf }, 3 },
    { { 0xed, 0xed }, { 0x80, 0x9f }, 3 },
    { { 0xee, 0xef }, { 0x80, 0xbf }, 3 },
    { { 0xf0, 0xf0 }, { 0x90, 0xbf }, 4 },
    { { 0xf1, 0xf3 }, { 0x80, 0xbf }, 4 },
    { { 0xf4, 0xf4 }, { 0x80, 0x8f }, 4 }
};

static const unsigned char  utf8_edges[] = {
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
    0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
    0xff
};

#define UTF8_EDGES  sizeof(utf8_edges)


/*
 * The index of the first impossible byte, or n; *chars: whole characters before
 * it; *whole: the text ends with one.
 */

static size_t
utf8_oracle(const unsigned char *p, size_t n, size_t *chars, int *whole)
{
    size_t             i, k, r, want;
    const utf8_row_t  *row;

    *chars = 0;

    for (i = 0; i < n; i += want) {
        want = 0;
        row = NULL;

        for (r = 0; r < sizeof(utf8_rows) / sizeof(utf8_rows[0]); r++) {
            if (p[i] >= utf8_rows[r].lead[0] && p[i] <= utf8_rows[r].lead[1]) {
                row = &utf8_rows[r];
                want = row->len;
            }
        }

        if (row == NULL) {
            *whole = 0;
            return i;
        }

        for (k = 1; k < want; k++) {
            if (i + k == n) {
                *whole = 0;
                return n;
            }

            if (p[i + k] < (k == 1 ? row->second[0] : 0x80)
                || p[i + k] > (k == 1 ? row->second[1] : 0xbf))
            {
                *whole = 0;
                return i + k;
            }
        }

        ++*chars;
    }

    *whole = 1;

    return n;
}


/* whole, byte by byte, and the two readers of characters; 0 when all agree */

static int
utf8_differs(const unsigned char *p, size_t n)
{
    int         whole, rc;
    size_t      bad, chars, i, len, got;
    uint32_t    cp;
    fcc_utf8_t  u;

    bad = utf8_oracle(p, n, &chars, &whole);

    fcc_utf8_init(&u);
    rc = fcc_utf8_feed(&u, p, n);

    if (rc != (bad == n ? FCC_OK : FCC_ERROR)) {
        return 1;
    }

    if (rc == FCC_OK && fcc_utf8_complete(&u) != whole) {
        return 2;
    }

    fcc_utf8_init(&u);

    for (i = 0; i < n && fcc_utf8_feed(&u, p + i, 1) == FCC_OK; i++) {
        /* void */
    }

    if (i != bad || (bad == n && fcc_utf8_complete(&u) != whole)) {
        return 3;
    }

    if (fcc_utf8_length(p, n) != (whole ? (ptrdiff_t) chars : -1)) {
        return 4;
    }

    got = 0;

    for (i = 0; i < n; i += len) {
        len = fcc_utf8_char(p + i, n - i, &cp);

        if (len == 0) {
            break;
        }

        got++;
    }

    return (got == chars && (i == n) == whole) ? 0 : 5;
}


static unsigned
utf8_all(size_t n)
{
    unsigned       bad;
    uint32_t       v;
    unsigned char  text[3];

    bad = 0;

    for (v = 0; v < (1u << (8 * n)); v++) {
        text[0] = v & 0xff;
        text[1] = (v >> 8) & 0xff;
        text[2] = (v >> 16) & 0xff;

        bad += utf8_differs(text, n) != 0;
    }

    return bad;
}


static unsigned
utf8_four(unsigned offset)
{
    size_t         a, b, c, d;
    unsigned       bad;
    unsigned char  text[24];

    bad = 0;
    memset(text, 'x', sizeof(text));

    for (a = 0; a < UTF8_EDGES; a++) {
        text[offset] = utf8_edges[a];

        for (b = 0; b < UTF8_EDGES; b++) {
            text[offset + 1] = utf8_edges[b];

            for (c = 0; c < UTF8_EDGES; c++) {
                text[offset + 2] = utf8_edges[c];

                for (d = 0; d < UTF8_EDGES; d++) {
                    text[offset + 3] = utf8_edges[d];

                    bad += utf8_differs(text, offset ? sizeof(text) : 4) != 0;
                }
            }
        }
    }

    return bad;
}


/* each code point that there is, spelt by hand */

static unsigned
utf8_code_points(void)
{
    size_t         n;
    uint32_t       v, cp;
    unsigned       bad;
    unsigned char  t[4];

    bad = 0;

    for (v = 0; v <= 0x10ffff; v++) {

        if (v < 0x80) {
            t[0] = v;
            n = 1;

        } else if (v < 0x800) {
            t[0] = 0xc0 | (v >> 6);
            n = 2;

        } else if (v < 0x10000) {
            t[0] = 0xe0 | (v >> 12);
            t[1] = 0x80 | ((v >> 6) & 0x3f);
            n = 3;

        } else {
            t[0] = 0xf0 | (v >> 18);
            t[1] = 0x80 | ((v >> 12) & 0x3f);
            t[2] = 0x80 | ((v >> 6) & 0x3f);
            n = 4;
        }

        if (n > 1) {
            t[n - 1] = 0x80 | (v & 0x3f);
        }

        cp = 0xffffffff;

        if (v >= 0xd800 && v <= 0xdfff) {
            bad += fcc_utf8_char(t, n, &cp) != 0;
            continue;
        }

        bad += fcc_utf8_char(t, n, &cp) != n || cp != v;
        bad += fcc_utf8_char(t, n - 1, &cp) != 0;
    }

    return bad;
}


static unsigned
utf8_cuts(void)
{
    int            rc;
    size_t         i, n, at, len, chars;
    int            whole;
    unsigned       bad, round;
    uint32_t       seed;
    fcc_utf8_t     u;
    unsigned char  text[200], *piece;

    bad = 0;
    seed = 20261123;

    for (round = 0; round < 20000; round++) {
        len = tap_random(&seed) % sizeof(text);

        for (i = 0; i < len; i++) {
            text[i] = (tap_random(&seed) % 4)
                      ? 'a' : utf8_edges[tap_random(&seed) % UTF8_EDGES];
        }

        fcc_utf8_init(&u);
        rc = FCC_OK;

        for (at = 0; at < len && rc == FCC_OK; at += n) {
            n = 1 + tap_random(&seed) % (len - at);
            piece = tap_copy(text + at, n);
            rc = fcc_utf8_feed(&u, piece, n);
            free(piece);
        }

        n = utf8_oracle(text, len, &chars, &whole);

        bad += rc != (n == len ? FCC_OK : FCC_ERROR);
        bad += rc == FCC_OK && fcc_utf8_complete(&u) != whole;
    }

    return bad;
}


int
main(void)
{
    uint32_t    cp;
    fcc_utf8_t  u;

    is_int(utf8_all(1), 0, "all strings of 1 byte");
    is_int(utf8_all(2), 0, "all strings of 2 bytes");
    is_int(utf8_all(3), 0, "all strings of 3 bytes");
    is_int(utf8_four(0), 0, "strings of 4 boundary bytes");
    is_int(utf8_four(5), 0, "the same across a word of ASCII");
    is_int(utf8_four(8), 0, "the same at a word's begin");
    is_int(utf8_code_points(), 0, "all code points");
    is_int(utf8_cuts(), 0, "random cuts");

    fcc_utf8_init(&u);
    is_int(fcc_utf8_feed(&u, NULL, 0), FCC_OK, "nothing is fine");
    is_int(fcc_utf8_complete(&u), 1, "nothing is complete");
    is_int(fcc_utf8_length(NULL, 0), 0, "nothing has length 0");
    is_int(fcc_utf8_char(NULL, 0, &cp), 0, "nothing has no character");

    is_int(fcc_utf8_length((unsigned char *)
                           "\xe3\x81\x93\xf0\x9f\x98\x80" "a\0b", 10),
           5, "code points, NUL among them");

    return tap_done();
}
