
/*
 * Strings out of a pickled dict, without running anything: the subset of
 * Python's pickle protocols 2 to 5 (Lib/pickletools.py) that dicts, strings,
 * integers, floats, booleans and None need.
 */


#ifndef _FCC_PICKLE_H_INCLUDED_
#define _FCC_PICKLE_H_INCLUDED_


#include <fcc.h>


#define FCC_PICKLE_STACK_MAX  1024      /* values, and with them the depth */
#define FCC_PICKLE_MEMO_MAX   4096


typedef struct {
    fcc_str_t   key;
    fcc_str_t   value;      /* set; len 0: absent, or not a string */
} fcc_pickle_item_t;


/*
 * Looks the n keys of items up in the dict that data is.  FCC_OK: each value
 * points into data.  FCC_ERROR: any other type or opcode, more than the bounds
 * above, cut short, something behind the end, or no memory.  Allocates and
 * frees some 130 KB inside.
 */
int fcc_pickle_strings(const unsigned char *data, size_t len,
    fcc_pickle_item_t *items, size_t n);


#endif /* _FCC_PICKLE_H_INCLUDED_ */
