
/*
 * JSON in and out, for the units of src/pure/ that speak it.
 *
 * Reading is jansson's, behind a scan that bounds the nesting.  Writing is our
 * own: runs of bytes that need no escape are copied whole, and what is not
 * valid UTF-8 (a database in SQL_ASCII may hold it) comes out as U+FFFD, for a
 * frame with a broken character would disconnect each of its readers.
 */


#include <fcc_json.h>
#include <fcc_proto.h>
#include <fcc_utf8.h>


#define FCC_JSON_REPLACEMENT  0xfffd


static int fcc_json_shallow(const unsigned char *p, size_t len,
    unsigned max);
static const unsigned char *fcc_json_skip_string(const unsigned char *p,
    const unsigned char *end);
static size_t fcc_json_next(const unsigned char *p, const unsigned char *end,
    fcc_json_text_e mode, uint32_t *special);
static int fcc_json_is_bidi(uint32_t cp);
static int fcc_json_is_special(uint32_t cp);
static void fcc_json_put_special(fcc_buf_t *b, uint32_t cp,
    fcc_json_text_e mode);
static void fcc_json_put_escape(fcc_buf_t *b, uint32_t cp);
static void fcc_json_put_percent(fcc_buf_t *b, uint32_t cp);


json_t *
fcc_json_load(const unsigned char *p, size_t len, unsigned depth,
    size_t flags, json_error_t *err)
{
    if (len == 0 || fcc_json_shallow(p, len, depth) != FCC_OK) {
        memset(err, 0, sizeof(json_error_t));
        return NULL;
    }

    return json_loadb((const char *) p, len,
                      flags | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, err);
}


/* brackets that do not match are left to the real parser */

static int
fcc_json_shallow(const unsigned char *p, size_t len, unsigned max)
{
    unsigned              depth;
    const unsigned char  *end;

    depth = 0;
    end = p + len;

    while (p < end) {
        switch (*p++) {

        case '"':
            p = fcc_json_skip_string(p, end);
            break;

        case '[':
        case '{':
            if (++depth > max) {
                return FCC_ERROR;
            }

            break;

        case ']':
        case '}':
            if (depth) {
                depth--;
            }

            break;
        }
    }

    return FCC_OK;
}


static const unsigned char *
fcc_json_skip_string(const unsigned char *p, const unsigned char *end)
{
    while (p < end) {
        switch (*p++) {

        case '"':
            return p;

        case '\\':
            if (p < end) {
                p++;
            }

            break;
        }
    }

    return end;
}


int
fcc_json_get_string(const json_t *value, fcc_str_t *s)
{
    if (!json_is_string(value)) {
        return FCC_ERROR;
    }

    s->data = (unsigned char *) json_string_value(value);
    s->len = json_string_length(value);

    return FCC_OK;
}


int
fcc_json_get_int(const json_t *value, int64_t min, int64_t max, int64_t *n)
{
    json_int_t  i;

    if (!json_is_integer(value)) {
        return FCC_ERROR;
    }

    i = json_integer_value(value);

    if (i < min || i > max) {
        return FCC_ERROR;
    }

    *n = i;

    return FCC_OK;
}


void
fcc_json_string(fcc_buf_t *b, const unsigned char *p, size_t len)
{
    fcc_json_text(b, p, len, FCC_JSON_PLAIN);
}


void
fcc_json_text(fcc_buf_t *b, const unsigned char *p, size_t len,
    fcc_json_text_e mode)
{
    size_t                n;
    uint32_t              special;
    const unsigned char  *run, *end;

    fcc_buf_lit(b, "\"");

    if (len) {
        end = p + len;
        run = p;

        while (p < end) {
            n = fcc_json_next(p, end, mode, &special);

            if (special) {
                fcc_buf_put(b, run, p - run);
                fcc_json_put_special(b, special - 1, mode & ~FCC_JSON_NAME);
                run = p + n;
            }

            p += n;
        }

        fcc_buf_put(b, run, p - run);
    }

    fcc_buf_lit(b, "\"");
}


/*
 * The bytes of the next character.  *special is 0 when they can be copied, else
 * one more than the code point to write in their place (NUL is one, too).
 */

static size_t
fcc_json_next(const unsigned char *p, const unsigned char *end,
    fcc_json_text_e mode, uint32_t *special)
{
    size_t    n;
    uint32_t  cp;

    *special = 0;

    /* letters, for the most part: nothing from '?' on but '\\' is special */

    if ((*p >= '?' && *p < 0x7f && *p != '\\') || *p == ' ') {
        return 1;
    }

    n = fcc_utf8_char(p, end - p, &cp);

    if (n == 0) {
        *special = FCC_JSON_REPLACEMENT + 1;
        return 1;
    }

    if (fcc_json_is_special(cp)
        || (cp == '\'' && (mode & ~FCC_JSON_NAME) != FCC_JSON_PLAIN))
    {
        *special = cp + 1;

    } else if ((mode & FCC_JSON_NAME) && fcc_json_is_bidi(cp)) {
        *special = FCC_JSON_REPLACEMENT + 1;
    }

    return n;
}


/* Unicode's Bidi_Control */

static int
fcc_json_is_bidi(uint32_t cp)
{
    return cp == 0x61c
           || cp == 0x200e || cp == 0x200f
           || (cp >= 0x202a && cp <= 0x202e)
           || (cp >= 0x2066 && cp <= 0x2069);
}


static int
fcc_json_is_special(uint32_t cp)
{
    switch (cp) {

    case '"':
    case '\\':
    case '<':
    case '>':
    case '&':
    case 0x2028:
    case 0x2029:
        return 1;

    default:
        return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f);
    }
}


static void
fcc_json_put_special(fcc_buf_t *b, uint32_t cp, fcc_json_text_e mode)
{
    if (mode == FCC_JSON_PLAIN) {
        fcc_json_put_escape(b, cp);
        return;
    }

    switch (cp) {

    case '"':
    case '\'':
    case '<':
    case '>':
        if (mode == FCC_JSON_URL) {
            fcc_json_put_percent(b, cp);
            return;
        }

        break;

    case '&':
        if (mode == FCC_JSON_URL) {
            fcc_json_put_escape(b, cp);
            return;
        }

        break;

    default:
        fcc_json_put_escape(b, cp);
        return;
    }

    fcc_json_put_escape(b, '&');

    switch (cp) {

    case '"':
        fcc_buf_lit(b, "quot;");
        break;

    case '\'':
        fcc_buf_lit(b, "#x27;");
        break;

    case '<':
        fcc_buf_lit(b, "lt;");
        break;

    case '>':
        fcc_buf_lit(b, "gt;");
        break;

    default: /* '&' */
        fcc_buf_lit(b, "amp;");
        break;
    }
}


static void
fcc_json_put_escape(fcc_buf_t *b, uint32_t cp)
{
    size_t         i;
    unsigned char  text[sizeof("\\u0000") - 1];

    text[0] = '\\';
    text[1] = 'u';

    for (i = 0; i < 4; i++) {
        text[5 - i] = "0123456789abcdef"[(cp >> (4 * i)) & 0xf];
    }

    fcc_buf_put(b, text, sizeof(text));
}


static void
fcc_json_put_percent(fcc_buf_t *b, uint32_t cp)
{
    unsigned char  text[sizeof("%00") - 1];

    text[0] = '%';
    text[1] = "0123456789ABCDEF"[(cp >> 4) & 0xf];
    text[2] = "0123456789ABCDEF"[cp & 0xf];

    fcc_buf_put(b, text, sizeof(text));
}


void
fcc_json_int(fcc_buf_t *b, int64_t n)
{
    uint64_t        u;
    unsigned char  *p, text[sizeof("-9223372036854775808") - 1];

    u = (n < 0) ? 0 - (uint64_t) n : (uint64_t) n;
    p = text + sizeof(text);

    do {
        *--p = (unsigned char) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (n < 0) {
        *--p = '-';
    }

    fcc_buf_put(b, p, text + sizeof(text) - p);
}
