
/* fcc_api: paths, numbers and times of a request. */


#include "tap.h"

#include <fcc_api.h>


typedef struct {
    const char  *path;
    fcc_api_e    resource;
    const char  *room;
    int64_t      number;
} path_t;


static void
paths(void)
{
    size_t           i;
    fcc_api_path_t   path;
    unsigned char   *p;
    const path_t    *t;
    static path_t    all[] = {
        { "/api/chat/a/", FCC_API_ROOM, "a", 0 },
        { "/api/chat/a", FCC_API_ROOM, "a", 0 },
        { "a", FCC_API_ROOM, "a", 0 },
        { "", FCC_API_ROOM, "", 0 },
        { "/", FCC_API_ROOM, "", 0 },
        { "/a//", FCC_API_ROOM, "", 0 },
        { "/x/a/history", FCC_API_HISTORY, "a", 0 },
        { "/x/a/history/", FCC_API_HISTORY, "a", 0 },
        { "history", FCC_API_HISTORY, "", 0 },
        { "/history", FCC_API_HISTORY, "", 0 },
        { "/a/history/7", FCC_API_EVENT, "a", 7 },
        { "/a/history/7/", FCC_API_EVENT, "a", 7 },
        { "/history/7", FCC_API_EVENT, "", 7 },
        { "/a/history/0", FCC_API_ROOM, "0", 0 },
        { "/a/history/7x", FCC_API_ROOM, "7x", 0 },
        { "/a/history/-7", FCC_API_ROOM, "-7", 0 },
        { "/a/history/9007199254740992", FCC_API_EVENT, "a",
          9007199254740992LL },
        { "/a/history/9007199254740993", FCC_API_ROOM, "9007199254740993",
          0 },
        { "/a/history/99999999999999999999999", FCC_API_ROOM,
          "99999999999999999999999", 0 },
        { "/a/messages/12", FCC_API_MESSAGE, "a", 12 },
        { "/a/messages", FCC_API_ROOM, "messages", 0 },
        { "/a/viewers", FCC_API_VIEWERS, "a", 0 },
        { "/a/viewers/1", FCC_API_ROOM, "1", 0 },
        { "/a/reactions", FCC_API_REACTIONS, "a", 0 },
        { "/a/publish", FCC_API_PUBLISH, "a", 0 },
        { "/a/moderation/", FCC_API_MODERATION, "a", 0 },
        { "/a/bans", FCC_API_BANS, "a", 0 },
        { "/a/bans/1", FCC_API_ROOM, "1", 0 },
        { "/a/audit/", FCC_API_AUDIT, "a", 0 },
        { "/history/history", FCC_API_HISTORY, "history", 0 },
        { "/a/History", FCC_API_ROOM, "History", 0 },
    };

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        t = &all[i];
        p = tap_copy(t->path, strlen(t->path));
        fcc_api_path(p, strlen(t->path), &path);
        is_int(path.resource, t->resource, t->path);
        is_str(path.room.data, path.room.len, t->room, "its room");
        is_int(path.number, t->number, "its number");
        free(p);
    }
}


static void
numbers(void)
{
    int64_t         n;
    size_t          i;
    unsigned char  *p;
    const char     *bad[] = { "", "-1", "+1", "1 ", " 1", "1.0", "1e3", "0x1",
                              "4", "101", "99999999999999999999" };

    p = tap_copy("00042", 5);
    is_int(fcc_api_number(p, 5, 5, 100, &n), FCC_OK, "zeros before it");
    is_int(n, 42, "its value");
    is_int(fcc_api_number(p + 3, 2, 42, 42, &n), FCC_OK, "at both bounds");
    free(p);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = tap_copy(bad[i], strlen(bad[i]));
        is_int(fcc_api_number(p, strlen(bad[i]), 5, 100, &n), FCC_ERROR,
               bad[i]);
        free(p);
    }
}


typedef struct {
    const char  *text;
    int64_t      ms;
} moment_t;


static void
times(void)
{
    int64_t          ms;
    size_t           i, n;
    unsigned char   *p;
    static moment_t  good[] = {
        { "0", 0 },
        { "1790000000123", 1790000000123LL },
        { "1970-01-01T00:00Z", 0 },
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01T00:01:02.345Z", 62345 },
        { "1999-12-31T23:59:59.999Z", 946684799999LL },
        { "2000-02-29T00:00Z", 951782400000LL },
        { "2000-03-01T00:00Z", 951868800000LL },
        { "2024-02-29T12:00Z", 1709208000000LL },
        { "2026-11-23T10:00:00.123Z", 1795428000123LL },
        { "9999-12-31T23:59:59.999Z", 253402300799999LL },
    };
    const char      *bad[] = {
        "", "Z", "-1", "1969-12-31T00:00Z", "2026-11-23", "2026-11-23T10Z",
        "2026-11-23T10:00", "2026-11-23T10:00:00", "2026-11-23T10:00:00.1Z",
        "2026-11-23T10:00:00.1234Z", "2026-11-23T10:00:00+09:00",
        "2026-11-23 10:00Z", "2026-13-01T00:00Z", "2026-00-01T00:00Z",
        "2026-02-29T00:00Z", "2100-02-29T00:00Z", "2026-04-31T00:00Z",
        "2026-01-32T00:00Z", "2026-01-00T00:00Z", "2026-01-01T24:00Z",
        "2026-01-01T00:60Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00ZZ",
        "2026-01-01T0:00Z", "2026-1-01T00:00Z", "9007199254740993"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        p = tap_copy(good[i].text, strlen(good[i].text));
        is_int(fcc_api_time(p, strlen(good[i].text), &ms), FCC_OK,
               good[i].text);
        is_int(ms, good[i].ms, "its value");
        free(p);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = tap_copy(bad[i], strlen(bad[i]));
        is_int(fcc_api_time(p, strlen(bad[i]), &ms), FCC_ERROR, bad[i]);
        free(p);
    }

    /* cut off anywhere */

    for (n = 1; n < sizeof("2026-11-23T10:00:00.123Z") - 1; n++) {
        p = tap_copy("2026-11-23T10:00:00.123Z", n);

        if (fcc_api_time(p, n, &ms) == FCC_OK && n > 4) {
            ok(0, "a part of a time");
        }

        free(p);
    }
}


int
main(void)
{
    paths();
    numbers();
    times();

    return tap_done();
}
