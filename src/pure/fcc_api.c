
/*
 * The paths and parameters of the HTTP API.
 */


#include <fcc_api.h>


#define FCC_API_DAY  86400000LL         /* ms */


typedef struct {
    char         name[12];
    fcc_api_e    resource;
    fcc_api_e    item;          /* with a number behind it */
} fcc_api_name_t;


static void fcc_api_last(const unsigned char *p, size_t *len,
    fcc_str_t *segment);
static const fcc_api_name_t *fcc_api_find(const fcc_str_t *segment);
static int fcc_api_digits(const unsigned char **p, const unsigned char *end,
    size_t digits, int64_t max, int64_t *n);
static int fcc_api_clock(const unsigned char *p, const unsigned char *end,
    int64_t *ms);
static int64_t fcc_api_days(int64_t year, int64_t month, int64_t day);


/* FCC_API_ROOM: there is no such thing */

static const fcc_api_name_t  fcc_api_names[] = {
    { "history", FCC_API_HISTORY, FCC_API_EVENT },
    { "messages", FCC_API_ROOM, FCC_API_MESSAGE },
    { "viewers", FCC_API_VIEWERS, FCC_API_ROOM },
    { "reactions", FCC_API_REACTIONS, FCC_API_ROOM },
    { "publish", FCC_API_PUBLISH, FCC_API_ROOM },
    { "moderation", FCC_API_MODERATION, FCC_API_ROOM },
    { "bans", FCC_API_BANS, FCC_API_ROOM },
    { "audit", FCC_API_AUDIT, FCC_API_ROOM }
};


void
fcc_api_path(const unsigned char *p, size_t len, fcc_api_path_t *path)
{
    int64_t                n;
    fcc_str_t              last, before;
    const fcc_api_name_t  *name;

    memset(path, 0, sizeof(fcc_api_path_t));

    if (len && p[len - 1] == '/') {
        len--;
    }

    fcc_api_last(p, &len, &last);

    name = fcc_api_find(&last);

    if (name != NULL && name->resource != FCC_API_ROOM) {
        path->resource = name->resource;
        fcc_api_last(p, &len, &path->room);
        return;
    }

    if (fcc_api_number(last.data, last.len, 1, FCC_API_NUMBER_MAX, &n)
        == FCC_OK)
    {
        fcc_api_last(p, &len, &before);

        name = fcc_api_find(&before);

        if (name != NULL && name->item != FCC_API_ROOM) {
            path->resource = name->item;
            path->number = n;
            fcc_api_last(p, &len, &path->room);
            return;
        }
    }

    path->room = last;
}


/* the segment at the end, which is taken off with the slash before it */

static void
fcc_api_last(const unsigned char *p, size_t *len, fcc_str_t *segment)
{
    size_t  i;

    for (i = *len; i > 0 && p[i - 1] != '/'; i--) { /* void */ }

    segment->data = (unsigned char *) p + i;
    segment->len = *len - i;

    *len = i ? i - 1 : 0;
}


static const fcc_api_name_t *
fcc_api_find(const fcc_str_t *segment)
{
    size_t                 i;
    const fcc_api_name_t  *name;

    for (i = 0; i < sizeof(fcc_api_names) / sizeof(fcc_api_names[0]); i++) {
        name = &fcc_api_names[i];

        if (strlen(name->name) == segment->len
            && memcmp(name->name, segment->data, segment->len) == 0)
        {
            return name;
        }
    }

    return NULL;
}


int
fcc_api_number(const unsigned char *p, size_t len, int64_t min, int64_t max,
    int64_t *n)
{
    const unsigned char  *end;

    end = p + len;

    if (len == 0
        || fcc_api_digits(&p, end, len, max, n) != FCC_OK
        || p != end
        || *n < min)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


/* so many digits, and a value of at most max */

static int
fcc_api_digits(const unsigned char **pos, const unsigned char *end,
    size_t digits, int64_t max, int64_t *n)
{
    size_t                i;
    int64_t               value;
    const unsigned char  *p;

    p = *pos;
    value = 0;

    if ((size_t) (end - p) < digits) {
        return FCC_ERROR;
    }

    for (i = 0; i < digits; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return FCC_ERROR;
        }

        value = value * 10 + (p[i] - '0');

        if (value > max) {
            return FCC_ERROR;
        }
    }

    *pos = p + digits;
    *n = value;

    return FCC_OK;
}


int
fcc_api_time(const unsigned char *p, size_t len, int64_t *ms)
{
    int64_t               year, month, day;
    const unsigned char  *end;

    if (fcc_api_number(p, len, 0, FCC_API_NUMBER_MAX, ms) == FCC_OK) {
        return FCC_OK;
    }

    end = p + len;

    if (fcc_api_digits(&p, end, 4, 9999, &year) != FCC_OK
        || year < 1970
        || p == end
        || *p++ != '-'
        || fcc_api_digits(&p, end, 2, 12, &month) != FCC_OK
        || month < 1
        || p == end
        || *p++ != '-'
        || fcc_api_digits(&p, end, 2, 31, &day) != FCC_OK
        || day < 1
        || p == end
        || *p++ != 'T'
        || fcc_api_clock(p, end, ms) != FCC_OK)
    {
        return FCC_ERROR;
    }

    /* the 31st of a short month would be a day of the next one */

    if (fcc_api_days(year, month, day) >= fcc_api_days(year, month + 1, 1)) {
        return FCC_ERROR;
    }

    *ms += fcc_api_days(year, month, day) * FCC_API_DAY;

    return FCC_OK;
}


/* "10:00", "10:00:00" or "10:00:00.123", and a "Z" */

static int
fcc_api_clock(const unsigned char *p, const unsigned char *end, int64_t *ms)
{
    int64_t  hour, minute, second, fraction;

    second = 0;
    fraction = 0;

    if (fcc_api_digits(&p, end, 2, 23, &hour) != FCC_OK
        || p == end
        || *p++ != ':'
        || fcc_api_digits(&p, end, 2, 59, &minute) != FCC_OK)
    {
        return FCC_ERROR;
    }

    if (p != end && *p == ':') {
        p++;

        if (fcc_api_digits(&p, end, 2, 59, &second) != FCC_OK) {
            return FCC_ERROR;
        }

        if (p != end && *p == '.') {
            p++;

            if (fcc_api_digits(&p, end, 3, 999, &fraction) != FCC_OK) {
                return FCC_ERROR;
            }
        }
    }

    if (end - p != 1 || *p != 'Z') {
        return FCC_ERROR;
    }

    *ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction;

    return FCC_OK;
}


/*
 * Days since 1970-01-01; month may be 13.  Years begin in March here, so that
 * the leap day is their last.
 */

static int64_t
fcc_api_days(int64_t year, int64_t month, int64_t day)
{
    if (month > 12) {
        year++;
        month -= 12;
    }

    if (month < 3) {
        year--;
        month += 12;
    }

    return year * 365 + year / 4 - year / 100 + year / 400
           + (month - 3) * 30 + ((month - 3) * 3 + 2) / 5
           + day - 1 - 719468;
}
