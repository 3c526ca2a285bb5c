
/*
 * fcc_sql: what PostgreSQL takes for a string, a name, a comment, a parameter.
 */


#include "tap.h"

#include <fcc_sql.h>


static int
scanned(fcc_sql_t *sql, const char *text)
{
    int             rc;
    unsigned char  *p;

    p = tap_copy(text, strlen(text));
    rc = fcc_sql_scan(p, strlen(text), sql);

    /* word points into what is freed here */

    if (sql->word.len) {
        sql->word.data = (unsigned char *) text + (sql->word.data - p);
    }

    free(p);

    return rc;
}


static void
params(void)
{
    size_t     i;
    fcc_sql_t  sql;

    static const struct {
        const char  *text;
        unsigned     highest;
        uint64_t     used;
    } good[] = {
        { "", 0, 0 },
        { "SELECT 1", 0, 0 },
        { "SELECT $1", 1, 2 },
        { "SELECT $1, $2 + $1", 2, 6 },
        { "SELECT $2", 2, 4 },
        { "SELECT $0", 0, 1 },
        { "SELECT $10", 10, 1 << 10 },
        { "SELECT $31", 31, (uint64_t) 1 << 31 },
        { "SELECT $32", 32, 0 },
        { "SELECT $99999999999999999999", 32, 0 },
        { "SELECT a$1, A$2$, \xc3\xa4$3, _$4", 0, 0 },
        { "SELECT 1$1", 1, 2 },
        { "SELECT '$1'", 0, 0 },
        { "SELECT 'it''s $1', $2", 2, 4 },
        { "SELECT '\\', $1", 1, 2 },
        { "SELECT E'\\'$1', $2", 2, 4 },
        { "SELECT e'\\\\', $1", 1, 2 },
        { "SELECT be'\\', $1", 1, 2 },
        { "SELECT \"$1\", \"a\"\"$2\", $3", 3, 8 },
        { "SELECT \"'\", $1, '\"'", 1, 2 },
        { "SELECT $$ $1 $$, $2", 2, 4 },
        { "SELECT $a1$ $1 $a$ $$ $a1$, $2", 2, 4 },
        { "SELECT $ 1, $+$1", 1, 2 },
        { "SELECT $x + $1", 1, 2 },
        { "SELECT 1 -- $1\n, $2", 2, 4 },
        { "SELECT 1 -- '", 0, 0 },
        { "SELECT 1 - -$1", 1, 2 },
        { "SELECT /* $1 */ $2", 2, 4 },
        { "SELECT /* /* $1 */ ' $1 */ $2", 2, 4 },
        { "SELECT 6 / $1 * $2", 2, 6 },
        { "SELECT a[$1:$2]", 2, 6 }
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        is_int(scanned(&sql, good[i].text), FCC_OK, good[i].text);
        is_int(sql.highest, good[i].highest, "the highest");
        is_int(sql.used, good[i].used, "all of them");
    }
}


static void
endless(void)
{
    size_t      i;
    fcc_sql_t   sql;
    const char  *bad[] = {
        "'", "''' ", "SELECT 'a", "SELECT E'\\'", "SELECT E'\\",
        "\"", "\"a\"\"",
        "/*", "/* /* */", "/*/", "$$", "$a$ $b$", "$$ $", "$a$ $a"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(scanned(&sql, bad[i]), FCC_ERROR, bad[i]);
    }

    is_int(fcc_sql_scan((unsigned char *) "a\0b", 3, &sql), FCC_ERROR, "a NUL");
}


static void
statements(void)
{
    fcc_sql_t  sql;

    is_int(scanned(&sql, "SELECT ';', \";\" /* ; */ -- ;"), FCC_OK, "quoted");
    ok(!sql.many, "is one");
    is_str(sql.word.data, sql.word.len, "SELECT", "its word");

    is_int(scanned(&sql, " /* a */ -- b\n\t(wiTh x"), FCC_OK, "comments");
    is_str(sql.word.data, sql.word.len, "wiTh", "its word");

    is_int(scanned(&sql, "SELECT 1; DROP TABLE x"), FCC_OK, "two");
    ok(sql.many, "are many");

    is_int(scanned(&sql, "1e5 /"), FCC_OK, "a number");
    is_int(sql.word.len, 0, "is no word");
}


/* whatever comes, nothing is read beyond it */

static void
noise(void)
{
    size_t          i, j, len;
    uint32_t        seed;
    fcc_sql_t       sql;
    unsigned char  *p, text[24];

    static const char  bytes[] = "'\"$-/*;\\eE1a \n";

    seed = 1;

    for (i = 0; i < 200000; i++) {
        len = tap_random(&seed) % sizeof(text);

        for (j = 0; j < len; j++) {
            text[j] = bytes[tap_random(&seed) % (sizeof(bytes) - 1)];
        }

        p = tap_copy(text, len);
        (void) fcc_sql_scan(p, len, &sql);
        free(p);
    }

    ok(1, "noise");
}


static void
binds(void)
{
    size_t         i;
    fcc_buf_t      b;
    unsigned char  out[128];

    static const struct {
        const char  *sql;
        const char  *want;
    } cases[] = {
        { "$1", "c.k" },
        { "a = $1 AND b=$1+$1", "a = c.k AND b=c.k+c.k" },
        { "'$1' \"$1\" -- $1\n /* $1 */ $1",
          "'$1' \"$1\" -- $1\n /* $1 */ c.k" },
        { "$x$ $1 $x$ a$1 E'\\' $1' $1", "$x$ $1 $x$ a$1 E'\\' $1' c.k" },
        { "SELECT 1", "SELECT 1" },
        { "", "" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fcc_buf_init(&b, out, sizeof(out));
        fcc_sql_bind(&b, (const unsigned char *) cases[i].sql,
                     strlen(cases[i].sql), "c.k");
        is_str(out, b.pos - b.start, cases[i].want, cases[i].sql);
    }

    fcc_buf_init(&b, out, 3);
    fcc_sql_bind(&b, (const unsigned char *) "x $1", 4, "c.k");
    ok(b.full, "too small");
}


int
main(void)
{
    params();
    endless();
    statements();
    noise();
    binds();

    return tap_done();
}
