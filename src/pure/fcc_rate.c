
/*
 * The token bucket, and the hash that finds whose it is.
 */


#include <fcc_rate.h>


int
fcc_rate_parse(fcc_rate_t *rate, const unsigned char *data, size_t len)
{
    size_t   i;
    int64_t  n;

    n = 0;

    for (i = 0; i < len && data[i] >= '0' && data[i] <= '9'; i++) {
        n = n * 10 + (data[i] - '0');

        if (n > FCC_RATE_MAX) {
            return FCC_ERROR;
        }
    }

    if (n == 0 || len - i != 3) {
        return FCC_ERROR;
    }

    if (memcmp(data + i, "r/s", 3) == 0) {
        rate->interval = 1000000 / n;
        return FCC_OK;
    }

    if (memcmp(data + i, "r/m", 3) == 0) {
        rate->interval = 60000000 / n;
        return FCC_OK;
    }

    return FCC_ERROR;
}


int64_t
fcc_rate_take(int64_t *full, const fcc_rate_t *rate, int64_t now)
{
    int64_t  size, lack;

    now *= 1000;
    size = rate->interval * rate->burst;

    /* what is missing, in time; another rate or clock may have left more */

    lack = *full - now;

    if (lack < 0) {
        lack = 0;

    } else if (lack > size) {
        lack = size;
    }

    if (lack + rate->interval > size) {
        *full = now + lack;
        return (lack + rate->interval - size + 999) / 1000;
    }

    *full = now + lack + rate->interval;

    return 0;
}


void
fcc_rate_spend(int64_t *full, int64_t cost, int64_t now)
{
    int64_t  lack;

    now *= 1000;
    lack = *full - now;

    if (lack < 0) {
        lack = 0;

    } else if (lack > FCC_RATE_COST_MAX) {
        lack = FCC_RATE_COST_MAX;
    }

    if (cost > FCC_RATE_COST_MAX - lack) {
        cost = FCC_RATE_COST_MAX - lack;
    }

    *full = now + lack + cost;
}


void
fcc_rate_give(int64_t *full, const fcc_rate_t *rate)
{
    *full -= rate->interval;
}


int
fcc_rate_said(const fcc_said_t *said, uint64_t text, uint64_t cid,
    int64_t now)
{
    size_t  i;

    for (i = 0; i < FCC_RATE_SAID; i++) {

        if (said[i].text != text || (cid != 0 && said[i].cid == cid)) {
            continue;
        }

        /* a clock that jumped back forgets */

        if (said[i].at <= now && now - said[i].at < FCC_RATE_AGAIN) {
            return 1;
        }
    }

    return 0;
}


void
fcc_rate_say(fcc_said_t *said, uint64_t text, uint64_t cid, int64_t now)
{
    size_t  i, old;

    for (i = 1, old = 0; i < FCC_RATE_SAID; i++) {
        if (said[i].at < said[old].at) {
            old = i;
        }
    }

    said[old].text = text;
    said[old].cid = cid;
    said[old].at = now;
}


uint64_t
fcc_rate_hash(uint64_t hash, const void *data, size_t len)
{
    size_t                i;
    const unsigned char  *p;

    p = data;

    for (i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * 1099511628211ULL;
    }

    return hash;
}
