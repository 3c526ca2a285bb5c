
/*
 * fcc_rate: the bucket against one that counts tokens, the syntax of a rate,
 * clocks that jump.
 */


#include "tap.h"

#include <fcc_rate.h>


static int
parsed(fcc_rate_t *rate, const char *text)
{
    int             rc;
    unsigned char  *p;

    p = tap_copy(text, strlen(text));
    rc = fcc_rate_parse(rate, p, strlen(text));
    free(p);

    return rc;
}


static void
syntax(void)
{
    size_t       i;
    fcc_rate_t   rate;
    const char  *bad[] = {
        "", "r/s", "0r/s", "5", "5r", "5r/", "5r/h", "5r/ss", " 5r/s", "-5r/s",
        "5 r/s", "5.5r/s", "1000001r/s", "99999999999999999999r/s"
    };

    is_int(parsed(&rate, "5r/s"), FCC_OK, "5r/s");
    is_int(rate.interval, 200000, "is 200 ms");
    is_int(parsed(&rate, "30r/m"), FCC_OK, "30r/m");
    is_int(rate.interval, 2000000, "is 2 s");
    is_int(parsed(&rate, "1000000r/s"), FCC_OK, "a million");
    is_int(rate.interval, 1, "is 1 us");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(parsed(&rate, bad[i]), FCC_ERROR, bad[i]);
    }
}


static void
bucket(void)
{
    int64_t     full, i, now, got;
    fcc_rate_t  rate;

    rate.interval = 200000;
    rate.burst = 10;
    now = 5000;
    full = 0;

    for (i = 0; i < 10; i++) {
        is_int(fcc_rate_take(&full, &rate, now), 0, "a full bucket");
    }

    is_int(fcc_rate_take(&full, &rate, now), 200, "an empty one");
    is_int(fcc_rate_take(&full, &rate, now), 200, "to ask costs nothing");
    is_int(fcc_rate_take(&full, &rate, now + 199), 1, "a moment before");
    is_int(fcc_rate_take(&full, &rate, now + 200), 0, "and then");
    is_int(fcc_rate_take(&full, &rate, now + 200), 200, "empty again");

    for (i = 0, got = 0; i < 20; i++) {
        got += fcc_rate_take(&full, &rate, now + 1000000) == 0;
    }

    is_int(got, 10, "never more than the burst");

    fcc_rate_give(&full, &rate);
    is_int(fcc_rate_take(&full, &rate, now + 1000000), 0, "one is given back");
    is_int(fcc_rate_take(&full, &rate, now + 1000000), 200, "and no more");

    full = 0;
    fcc_rate_give(&full, &rate);

    for (i = 0, got = 0; i < 20; i++) {
        got += fcc_rate_take(&full, &rate, now) == 0;
    }

    is_int(got, 10, "a full one holds no more");

    /* a third of a second: what it says is enough, and the least */

    rate.interval = 333333;
    rate.burst = 1;
    full = 0;

    is_int(fcc_rate_take(&full, &rate, now), 0, "one");
    is_int(fcc_rate_take(&full, &rate, now), 334, "in whole ms");
    is_int(fcc_rate_take(&full, &rate, now + 333), 1, "not before");
    is_int(fcc_rate_take(&full, &rate, now + 334), 0, "but then");
}


static void
clocks(void)
{
    int64_t     full;
    fcc_rate_t  rate;

    rate.interval = 1000000;
    rate.burst = 2;
    full = 0;

    (void) fcc_rate_take(&full, &rate, 1000000);
    (void) fcc_rate_take(&full, &rate, 1000000);

    is_int(fcc_rate_take(&full, &rate, 10), 1000, "an hour back: one token");
    is_int(fcc_rate_take(&full, &rate, 1010), 0, "which comes");

    full = INT64_MAX / 2;

    is_int(fcc_rate_take(&full, &rate, 10), 1000, "whatever was there");
    is_int(fcc_rate_take(&full, &rate, 1010), 0, "is bounded");

    full = -INT64_MAX / 2;

    is_int(fcc_rate_take(&full, &rate, 0), 0, "below, too");
    is_int(fcc_rate_take(&full, &rate, 0), 0, "a whole bucket");
    is_int(fcc_rate_take(&full, &rate, 0), 1000, "and not more");
}


static void
model(void)
{
    int         same;
    double      tokens;
    int64_t     full, now, wait;
    uint32_t    seed, step;
    fcc_rate_t  rate;

    seed = 7;
    rate.interval = 200000;
    rate.burst = 5;
    full = 0;
    now = 1;
    tokens = 5;
    same = 1;

    for (step = 0; step < 100000 && same; step++) {
        wait = fcc_rate_take(&full, &rate, now);

        if (wait == 0) {
            tokens -= 1;
            same = tokens > -0.001;

        } else {
            same = tokens + wait / 200.0 > 0.999
                   && tokens + (wait - 1) / 200.0 < 1.001;
        }

        wait = tap_random(&seed) % 400;
        now += wait;
        tokens += wait / 200.0;
        tokens = tokens > 5 ? 5 : tokens;
    }

    ok(same, "as a bucket of tokens");
}


static void
again(void)
{
    int64_t     i;
    fcc_said_t  said[FCC_RATE_SAID];

    memset(said, 0, sizeof(said));

    is_int(fcc_rate_said(said, 7, 0, 1000), 0, "nothing was said");

    fcc_rate_say(said, 7, 70, 1000);

    is_int(fcc_rate_said(said, 7, 0, 1000), 1, "the same at once");
    is_int(fcc_rate_said(said, 7, 71, 30999), 1, "and within 30 s");
    is_int(fcc_rate_said(said, 7, 0, 31000), 0, "and not later");
    is_int(fcc_rate_said(said, 7, 70, 1001), 0, "the same message");
    is_int(fcc_rate_said(said, 8, 0, 1001), 0, "another text");
    is_int(fcc_rate_said(said, 7, 0, 999), 0, "before that");

    for (i = 0; i < FCC_RATE_SAID - 1; i++) {
        fcc_rate_say(said, 10 + i, 0, 2000 + i);
    }

    is_int(fcc_rate_said(said, 7, 0, 3000), 1, "with others since");
    is_int(fcc_rate_said(said, 10, 0, 3000), 1, "one of them");

    fcc_rate_say(said, 20, 0, 3000);

    is_int(fcc_rate_said(said, 7, 0, 3000), 0, "the oldest is forgotten");
    is_int(fcc_rate_said(said, 10, 0, 3000), 1, "and no other");
    is_int(fcc_rate_said(said, 20, 0, 3000), 1, "the last one");
}


static void
hash(void)
{
    ok(fcc_rate_hash(FCC_RATE_HASH_INIT, "", 0) == 0xcbf29ce484222325ULL,
       "FNV-1a of nothing");
    ok(fcc_rate_hash(FCC_RATE_HASH_INIT, "foobar", 6)
       == 0x85944171f73967e8ULL, "FNV-1a of foobar");
    ok(fcc_rate_hash(fcc_rate_hash(FCC_RATE_HASH_INIT, "foo", 3), "bar", 3)
       == 0x85944171f73967e8ULL, "in pieces");
}


static void
elsewhere(void)
{
    int64_t     full;
    fcc_rate_t  rate;

    rate.interval = 200000;
    rate.burst = 10;
    full = 0;

    fcc_rate_spend(&full, 9 * rate.interval, 5000);
    is_int(fcc_rate_take(&full, &rate, 5000), 0, "one is left");
    is_int(fcc_rate_take(&full, &rate, 5000), 200, "and no more");

    fcc_rate_spend(&full, 3 * rate.interval, 5000);
    is_int(fcc_rate_take(&full, &rate, 5000), 200, "never emptier than empty");
    is_int(fcc_rate_take(&full, &rate, 5200), 0, "that was all");

    full = INT64_MAX;
    fcc_rate_spend(&full, INT64_MAX, 5000);
    is_int(full, 5000000 + FCC_RATE_COST_MAX, "what is not believed");

    fcc_rate_spend(&full, 0, 1000000000);
    is_int(full, 1000000000000LL, "a long time later");
}


int
main(void)
{
    syntax();
    bucket();
    clocks();
    model();
    again();
    hash();
    elsewhere();

    return tap_done();
}
