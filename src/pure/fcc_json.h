
/*
 * What the units that read and write JSON share inside src/pure/: the only way
 * into jansson, and the escaping of text on its way out.
 */


#ifndef _FCC_JSON_H_INCLUDED_
#define _FCC_JSON_H_INCLUDED_


#include <fcc.h>

#include <jansson.h>


typedef enum {
    FCC_JSON_PLAIN = 0,
    FCC_JSON_HTML,              /* as django.utils.html.escape() first */
    FCC_JSON_URL,               /* '"', '\'', '<', '>' percent-encoded */
    FCC_JSON_NAME = 4           /* with one of these: marks that turn the
                                 * direction of text become U+FFFD, so that
                                 * nobody looks like another user */
} fcc_json_text_e;


/*
 * json_loadb() of untrusted input: nesting is bounded by depth before jansson,
 * which recurses, sees it; a key given twice is an error.  A string may hold
 * NULs, which its reader has to expect.  NULL: *err says why.
 */
json_t *fcc_json_load(const unsigned char *p, size_t len, unsigned depth,
    size_t flags, json_error_t *err);

/* the value's own bytes; FCC_ERROR when it is not a string (NULL is not one) */
int fcc_json_get_string(const json_t *value, fcc_str_t *s);

/* FCC_ERROR when it is not an integer from min to max */
int fcc_json_get_int(const json_t *value, int64_t min, int64_t max,
    int64_t *n);

/* fcc_json_string(), which is declared in fcc_proto.h, with a choice */
void fcc_json_text(fcc_buf_t *b, const unsigned char *p, size_t len,
    fcc_json_text_e mode);


#endif /* _FCC_JSON_H_INCLUDED_ */
