
/*
 * Where the pieces of a statement end: PostgreSQL's scan.l without its grammar.
 */


#include <fcc_sql.h>


static size_t fcc_sql_piece(const unsigned char *data, size_t len, size_t i,
    fcc_sql_t *sql);
static int fcc_sql_letter(unsigned char c);
static int fcc_sql_digit(unsigned char c);
static size_t fcc_sql_quoted(const unsigned char *data, size_t len, size_t i,
    int escapes);
static size_t fcc_sql_comment(const unsigned char *data, size_t len, size_t i);
static size_t fcc_sql_dollar(const unsigned char *data, size_t len, size_t i);
static size_t fcc_sql_param(const unsigned char *data, size_t len, size_t i,
    fcc_sql_t *sql);
static size_t fcc_sql_word(const unsigned char *data, size_t len, size_t i,
    fcc_sql_t *sql);


int
fcc_sql_scan(const unsigned char *data, size_t len, fcc_sql_t *sql)
{
    size_t  i;

    memset(sql, 0, sizeof(fcc_sql_t));

    if (len && memchr(data, '\0', len)) {
        return FCC_ERROR;
    }

    for (i = 0; i < len; /* void */ ) {
        i = fcc_sql_piece(data, len, i, sql);

        if (i == 0) {
            return FCC_ERROR;
        }
    }

    return FCC_OK;
}


void
fcc_sql_bind(fcc_buf_t *b, const unsigned char *data, size_t len,
    const char *value)
{
    size_t     i, next;
    fcc_sql_t  sql;

    memset(&sql, 0, sizeof(fcc_sql_t));

    for (i = 0; i < len; i = next) {
        next = fcc_sql_piece(data, len, i, &sql);

        if (next == 0) {
            next = len;
        }

        if (data[i] == '$' && i + 1 < len && fcc_sql_digit(data[i + 1])) {
            fcc_buf_put(b, value, strlen(value));

        } else {
            fcc_buf_put(b, data + i, next - i);
        }
    }
}


/* behind the piece that begins at i, or 0: it has no end */

static size_t
fcc_sql_piece(const unsigned char *data, size_t len, size_t i, fcc_sql_t *sql)
{
    size_t  next;

    next = i + 1;

    if (data[i] == '\'' || data[i] == '"') {
        return fcc_sql_quoted(data, len, i, 0);
    }

    if (data[i] == '-' && next < len && data[next] == '-') {

        while (next < len && data[next] != '\n' && data[next] != '\r') {
            next++;
        }

        return next;
    }

    if (data[i] == '/' && next < len && data[next] == '*') {
        return fcc_sql_comment(data, len, i);
    }

    if (data[i] == '$') {
        return (next < len && fcc_sql_digit(data[next]))
               ? fcc_sql_param(data, len, i, sql)
               : fcc_sql_dollar(data, len, i);
    }

    if (fcc_sql_letter(data[i])) {
        return fcc_sql_word(data, len, i, sql);
    }

    if (fcc_sql_digit(data[i])) {

        /* "1e5", "0x1f": no word begins in a number */

        while (next < len
               && (fcc_sql_digit(data[next]) || fcc_sql_letter(data[next])))
        {
            next++;
        }

        return next;
    }

    if (data[i] == ';') {
        sql->many = 1;
    }

    return next;
}


static int
fcc_sql_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
           || c >= 0x80;
}


static int
fcc_sql_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}


/* behind the closing quote, or 0: there is none */

static size_t
fcc_sql_quoted(const unsigned char *data, size_t len, size_t i, int escapes)
{
    unsigned char  quote;

    quote = data[i];

    for (i++; i < len; i++) {

        if (escapes && data[i] == '\\') {
            i++;
            continue;
        }

        if (data[i] != quote) {
            continue;
        }

        if (i + 1 == len || data[i + 1] != quote) {
            return i + 1;
        }

        i++;
    }

    return 0;
}


/* comments nest */

static size_t
fcc_sql_comment(const unsigned char *data, size_t len, size_t i)
{
    size_t  depth;

    depth = 0;

    while (i + 1 < len) {

        if (data[i] == '/' && data[i + 1] == '*') {
            depth++;
            i += 2;

        } else if (data[i] == '*' && data[i + 1] == '/') {
            i += 2;

            if (--depth == 0) {
                return i;
            }

        } else {
            i++;
        }
    }

    return 0;
}


/* behind a string in $tag$...$tag$; a "$" that begins none stands for itself */

static size_t
fcc_sql_dollar(const unsigned char *data, size_t len, size_t i)
{
    size_t  n, j;

    for (j = i + 1; j < len && data[j] != '$'; j++) {
        if (!fcc_sql_letter(data[j])
            && !(fcc_sql_digit(data[j]) && j > i + 1))
        {
            return i + 1;
        }
    }

    if (j == len) {
        return i + 1;
    }

    n = j + 1 - i;

    for (j++; j + n <= len; j++) {
        if (memcmp(data + j, data + i, n) == 0) {
            return j + n;
        }
    }

    return 0;
}


static size_t
fcc_sql_param(const unsigned char *data, size_t len, size_t i, fcc_sql_t *sql)
{
    unsigned  n;

    n = 0;

    for (i++; i < len && fcc_sql_digit(data[i]); i++) {
        n = n * 10 + (data[i] - '0');

        if (n > FCC_SQL_PARAMS) {
            n = FCC_SQL_PARAMS;
        }
    }

    if (n < FCC_SQL_PARAMS) {
        sql->used |= (uint64_t) 1 << n;
    }

    if (n > sql->highest) {
        sql->highest = n;
    }

    return i;
}


/* a keyword or a name; E'...' is the one word whose string has escapes */

static size_t
fcc_sql_word(const unsigned char *data, size_t len, size_t i, fcc_sql_t *sql)
{
    size_t  j;

    for (j = i + 1; j < len; j++) {
        if (!fcc_sql_letter(data[j])
            && !fcc_sql_digit(data[j])
            && data[j] != '$')
        {
            break;
        }
    }

    if (sql->word.len == 0) {
        sql->word.data = (unsigned char *) data + i;
        sql->word.len = j - i;
    }

    if (j == i + 1 && (data[i] == 'e' || data[i] == 'E')
        && j < len && data[j] == '\'')
    {
        return fcc_sql_quoted(data, len, j, 1);
    }

    return j;
}
