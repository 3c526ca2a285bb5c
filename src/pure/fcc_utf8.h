
/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above
 * U+10FFFF.  The validator is incremental and fails on the first byte that no
 * valid text can continue with, as RFC 6455 8.1 lets a server do.
 */


#ifndef _FCC_UTF8_H_INCLUDED_
#define _FCC_UTF8_H_INCLUDED_


#include <fcc.h>


typedef struct {
    unsigned char  need;    /* continuation bytes still to come */
    unsigned char  low;     /* bounds of the next one */
    unsigned char  high;
} fcc_utf8_t;


void fcc_utf8_init(fcc_utf8_t *u);

/* FCC_OK, or FCC_ERROR at the first impossible byte */
int fcc_utf8_feed(fcc_utf8_t *u, const unsigned char *p, size_t len);

/* 1 when the text so far ends at the end of a character */
int fcc_utf8_complete(const fcc_utf8_t *u);

/* the number of code points, or -1 when it is not valid UTF-8 */
ptrdiff_t fcc_utf8_length(const unsigned char *p, size_t len);

/* the bytes of the character that p begins with, its code point in *cp; 0 when
 * no valid and whole character is there */
size_t fcc_utf8_char(const unsigned char *p, size_t len, uint32_t *cp);


#endif /* _FCC_UTF8_H_INCLUDED_ */
