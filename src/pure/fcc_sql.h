
/*
 * A statement of a site, as far as it can be read without a server: where its
 * strings, names and comments end, and which parameters it has.
 */


#ifndef _FCC_SQL_H_INCLUDED_
#define _FCC_SQL_H_INCLUDED_


#include <fcc.h>


#define FCC_SQL_PARAMS  32      /* numbers that are told apart */


typedef struct {
    uint64_t     used;          /* bit n: $n is in it, n < FCC_SQL_PARAMS */
    unsigned     highest;       /* of the parameters; FCC_SQL_PARAMS: or more */
    fcc_str_t    word;          /* the first one, as SELECT */
    unsigned     many:1;        /* a ";" outside of all that */
} fcc_sql_t;


/*
 * Reads a statement by PostgreSQL's rules, with standard_conforming_strings
 * on.  FCC_ERROR: a string, a name or a comment has no end, or there is a NUL.
 * word points into data.
 */
int fcc_sql_scan(const unsigned char *data, size_t len, fcc_sql_t *sql);

/* writes a statement that was scanned, with value in the place of each
 * parameter */
void fcc_sql_bind(fcc_buf_t *b, const unsigned char *data, size_t len,
    const char *value);


#endif /* _FCC_SQL_H_INCLUDED_ */
