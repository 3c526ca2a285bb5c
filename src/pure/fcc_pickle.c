
/*
 * A pickle is a program for a machine with a stack and a memo.  This machine
 * knows strings by where they are, remembers of all other values only their
 * kind, and of dicts only the outermost one's wanted keys; so there is nothing
 * to build, to call or to recurse into.
 */


#include <fcc_pickle.h>
#include <stdlib.h>


typedef enum {
    FCC_PICKLE_NONE = 0,        /* a place of the memo with nothing in it */
    FCC_PICKLE_MARK,
    FCC_PICKLE_PLAIN,           /* None, a boolean, a number */
    FCC_PICKLE_STRING,
    FCC_PICKLE_DICT,
    FCC_PICKLE_ROOT             /* the outermost dict, the first one made */
} fcc_pickle_kind_e;


typedef struct {
    fcc_pickle_kind_e     kind;
    fcc_str_t             str;
} fcc_pickle_value_t;


typedef struct {
    const unsigned char  *pos;
    const unsigned char  *end;
    fcc_pickle_item_t    *items;
    size_t                nitems;
    size_t                n;        /* on the stack */
    size_t                memoized;
    unsigned              rooted:1;
    fcc_pickle_value_t    stack[FCC_PICKLE_STACK_MAX];
    fcc_pickle_value_t    memo[FCC_PICKLE_MEMO_MAX];
} fcc_pickle_t;


static int fcc_pickle_run(fcc_pickle_t *m);
static int fcc_pickle_step(fcc_pickle_t *m, unsigned char op);
static int fcc_pickle_memo(fcc_pickle_t *m, unsigned char op);
static int fcc_pickle_number(fcc_pickle_t *m, size_t size, uint64_t *n);
static int fcc_pickle_skip(fcc_pickle_t *m, size_t size);
static int fcc_pickle_long(fcc_pickle_t *m, size_t size);
static int fcc_pickle_string(fcc_pickle_t *m, size_t size);
static int fcc_pickle_dict(fcc_pickle_t *m);
static int fcc_pickle_push(fcc_pickle_t *m, fcc_pickle_kind_e kind);
static int fcc_pickle_items(fcc_pickle_t *m);
static int fcc_pickle_set(fcc_pickle_t *m, size_t dict, size_t first);
static void fcc_pickle_found(fcc_pickle_t *m, const fcc_str_t *key,
    const fcc_pickle_value_t *value);


int
fcc_pickle_strings(const unsigned char *data, size_t len,
    fcc_pickle_item_t *items, size_t n)
{
    int            rc;
    size_t         i;
    fcc_pickle_t  *m;

    for (i = 0; i < n; i++) {
        items[i].value.len = 0;
        items[i].value.data = NULL;
    }

    /* PROTO comes first, since protocol 2 */

    if (len < 2 || data[0] != 0x80 || data[1] < 2 || data[1] > 5) {
        return FCC_ERROR;
    }

    m = calloc(1, sizeof(fcc_pickle_t));
    if (m == NULL) {
        return FCC_ERROR;
    }

    m->pos = data + 2;
    m->end = data + len;
    m->items = items;
    m->nitems = n;

    rc = fcc_pickle_run(m);

    free(m);

    return rc;
}


static int
fcc_pickle_run(fcc_pickle_t *m)
{
    unsigned char  op;

    while (m->pos < m->end) {

        op = *m->pos++;

        if (op == '.') {
            return (m->pos == m->end && m->n == 1
                    && m->stack[0].kind == FCC_PICKLE_ROOT)
                   ? FCC_OK : FCC_ERROR;
        }

        if (fcc_pickle_step(m, op) != FCC_OK) {
            return FCC_ERROR;
        }
    }

    return FCC_ERROR;
}


static int
fcc_pickle_step(fcc_pickle_t *m, unsigned char op)
{
    switch (op) {

    case 0x95:          /* FRAME: a hint for readers of files */
        return fcc_pickle_skip(m, 8);

    case '}':           /* EMPTY_DICT */
        return fcc_pickle_dict(m);

    case '(':           /* MARK */
        return fcc_pickle_push(m, FCC_PICKLE_MARK);

    case 'N':           /* NONE */
    case 0x88:          /* NEWTRUE */
    case 0x89:          /* NEWFALSE */
        return fcc_pickle_push(m, FCC_PICKLE_PLAIN);

    case 'K':           /* BININT1 */
        return fcc_pickle_skip(m, 1) || fcc_pickle_push(m, FCC_PICKLE_PLAIN);

    case 'M':           /* BININT2 */
        return fcc_pickle_skip(m, 2) || fcc_pickle_push(m, FCC_PICKLE_PLAIN);

    case 'J':           /* BININT */
        return fcc_pickle_skip(m, 4) || fcc_pickle_push(m, FCC_PICKLE_PLAIN);

    case 'G':           /* BINFLOAT */
        return fcc_pickle_skip(m, 8) || fcc_pickle_push(m, FCC_PICKLE_PLAIN);

    case 0x8a:          /* LONG1 */
        return fcc_pickle_long(m, 1);

    case 0x8b:          /* LONG4 */
        return fcc_pickle_long(m, 4);

    case 0x8c:          /* SHORT_BINUNICODE */
        return fcc_pickle_string(m, 1);

    case 'X':           /* BINUNICODE */
        return fcc_pickle_string(m, 4);

    case 0x8d:          /* BINUNICODE8 */
        return fcc_pickle_string(m, 8);

    case 's':           /* SETITEM */
        return (m->n < 3) ? FCC_ERROR
                          : fcc_pickle_set(m, m->n - 3, m->n - 2);

    case 'u':           /* SETITEMS */
        return fcc_pickle_items(m);

    default:
        return fcc_pickle_memo(m, op);
    }
}


static int
fcc_pickle_memo(fcc_pickle_t *m, unsigned char op)
{
    uint64_t             i;
    fcc_pickle_value_t  *top;

    i = m->memoized;

    switch (op) {

    case 0x94:          /* MEMOIZE */
        break;

    case 'q':           /* BINPUT */
    case 'h':           /* BINGET */
        if (fcc_pickle_number(m, 1, &i) != FCC_OK) {
            return FCC_ERROR;
        }

        break;

    case 'r':           /* LONG_BINPUT */
    case 'j':           /* LONG_BINGET */
        if (fcc_pickle_number(m, 4, &i) != FCC_OK) {
            return FCC_ERROR;
        }

        break;

    default:
        return FCC_ERROR;
    }

    if (i >= FCC_PICKLE_MEMO_MAX) {
        return FCC_ERROR;
    }

    if (op == 'h' || op == 'j') {

        if (m->memo[i].kind == FCC_PICKLE_NONE
            || fcc_pickle_push(m, m->memo[i].kind) != FCC_OK)
        {
            return FCC_ERROR;
        }

        m->stack[m->n - 1] = m->memo[i];

        return FCC_OK;
    }

    top = m->n ? &m->stack[m->n - 1] : NULL;

    if (top == NULL || top->kind == FCC_PICKLE_MARK) {
        return FCC_ERROR;
    }

    m->memo[i] = *top;
    m->memoized++;

    return FCC_OK;
}


/* little endian */

static int
fcc_pickle_number(fcc_pickle_t *m, size_t size, uint64_t *n)
{
    size_t  i;

    if ((size_t) (m->end - m->pos) < size) {
        return FCC_ERROR;
    }

    *n = 0;

    for (i = 0; i < size; i++) {
        *n |= (uint64_t) m->pos[i] << (8 * i);
    }

    m->pos += size;

    return FCC_OK;
}


static int
fcc_pickle_skip(fcc_pickle_t *m, size_t size)
{
    if ((size_t) (m->end - m->pos) < size) {
        return FCC_ERROR;
    }

    m->pos += size;

    return FCC_OK;
}


static int
fcc_pickle_long(fcc_pickle_t *m, size_t size)
{
    uint64_t  n;

    if (fcc_pickle_number(m, size, &n) != FCC_OK
        || n > (uint64_t) (m->end - m->pos))
    {
        return FCC_ERROR;
    }

    m->pos += n;

    return fcc_pickle_push(m, FCC_PICKLE_PLAIN);
}


static int
fcc_pickle_string(fcc_pickle_t *m, size_t size)
{
    uint64_t  n;

    if (fcc_pickle_number(m, size, &n) != FCC_OK
        || n > (uint64_t) (m->end - m->pos)
        || fcc_pickle_push(m, FCC_PICKLE_STRING) != FCC_OK)
    {
        return FCC_ERROR;
    }

    m->stack[m->n - 1].str.len = n;
    m->stack[m->n - 1].str.data = (unsigned char *) m->pos;

    m->pos += n;

    return FCC_OK;
}


static int
fcc_pickle_dict(fcc_pickle_t *m)
{
    if (m->rooted) {
        return fcc_pickle_push(m, FCC_PICKLE_DICT);
    }

    m->rooted = 1;

    return fcc_pickle_push(m, FCC_PICKLE_ROOT);
}


static int
fcc_pickle_push(fcc_pickle_t *m, fcc_pickle_kind_e kind)
{
    if (m->n == FCC_PICKLE_STACK_MAX) {
        return FCC_ERROR;
    }

    m->stack[m->n].kind = kind;
    m->stack[m->n].str.len = 0;
    m->stack[m->n].str.data = NULL;
    m->n++;

    return FCC_OK;
}


static int
fcc_pickle_items(fcc_pickle_t *m)
{
    size_t  i;

    for (i = m->n; i > 0; i--) {
        if (m->stack[i - 1].kind == FCC_PICKLE_MARK) {
            break;
        }
    }

    /* the dict is below the mark */

    if (i < 2) {
        return FCC_ERROR;
    }

    return fcc_pickle_set(m, i - 2, i);
}


/* keys and values from first on go into the dict, which remains on top */

static int
fcc_pickle_set(fcc_pickle_t *m, size_t dict, size_t first)
{
    size_t               i;
    fcc_pickle_value_t  *v;

    v = m->stack;

    if ((v[dict].kind != FCC_PICKLE_DICT && v[dict].kind != FCC_PICKLE_ROOT)
        || (m->n - first) % 2 != 0)
    {
        return FCC_ERROR;
    }

    for (i = first; i < m->n; i += 2) {

        if ((v[i].kind != FCC_PICKLE_STRING && v[i].kind != FCC_PICKLE_PLAIN)
            || v[i + 1].kind == FCC_PICKLE_MARK)
        {
            return FCC_ERROR;
        }

        if (v[dict].kind == FCC_PICKLE_ROOT && v[i].kind == FCC_PICKLE_STRING)
        {
            fcc_pickle_found(m, &v[i].str, &v[i + 1]);
        }
    }

    m->n = dict + 1;

    return FCC_OK;
}


static void
fcc_pickle_found(fcc_pickle_t *m, const fcc_str_t *key,
    const fcc_pickle_value_t *value)
{
    size_t      i;
    fcc_str_t  *want;

    for (i = 0; i < m->nitems; i++) {
        want = &m->items[i].key;

        if (want->len == key->len
            && memcmp(want->data, key->data, key->len) == 0)
        {
            m->items[i].value = value->str;
        }
    }
}
