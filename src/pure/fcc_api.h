
/*
 * What a request of the HTTP API asks for: the path, numbers and times of the
 * query.
 */


#ifndef _FCC_API_H_INCLUDED_
#define _FCC_API_H_INCLUDED_


#include <fcc.h>


#define FCC_API_NUMBER_MAX  (1LL << 53)     /* exact in a double, too */


typedef enum {
    FCC_API_ROOM = 0,           /* ROOM */
    FCC_API_HISTORY,            /* ROOM/history */
    FCC_API_EVENT,              /* ROOM/history/SEQ */
    FCC_API_MESSAGE,            /* ROOM/messages/ID */
    FCC_API_VIEWERS,            /* ROOM/viewers */
    FCC_API_REACTIONS,          /* ROOM/reactions */
    FCC_API_PUBLISH,            /* ROOM/publish */
    FCC_API_MODERATION,         /* ROOM/moderation */
    FCC_API_BANS,               /* ROOM/bans */
    FCC_API_AUDIT               /* ROOM/audit */
} fcc_api_e;


typedef struct {
    fcc_api_e    resource;
    fcc_str_t    room;          /* in the path; data NULL: there is none */
    int64_t      number;        /* SEQ or ID */
} fcc_api_path_t;


/*
 * Reads a path from its end; one slash at the end is ignored.  What ends with
 * no name of a resource is a room's.
 */
void fcc_api_path(const unsigned char *p, size_t len, fcc_api_path_t *path);

/* FCC_ERROR when it is not a decimal number from min to max */
int fcc_api_number(const unsigned char *p, size_t len, int64_t min,
    int64_t max, int64_t *n);

/*
 * A time as milliseconds of the Unix epoch: a number of them, or
 * "2026-11-23T10:00[:00[.123]]Z" (RFC 3339 in UTC).  FCC_ERROR when it is
 * neither.
 */
int fcc_api_time(const unsigned char *p, size_t len, int64_t *ms);


#endif /* _FCC_API_H_INCLUDED_ */
