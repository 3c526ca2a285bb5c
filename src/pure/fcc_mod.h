
/*
 * Moderation: what a moderator asks for, and what an event in the room's log
 * says of it.  Both are JSON with the same keys; what a key means, and who may
 * what, is decided in the database.
 */


#ifndef _FCC_MOD_H_INCLUDED_
#define _FCC_MOD_H_INCLUDED_


#include <fcc.h>


#define FCC_MOD_REASON_MAX   500        /* code points */
#define FCC_MOD_ADDRESS_MAX  64         /* bytes of an address or network */
#define FCC_MOD_SECONDS_MAX  3153600000LL
#define FCC_MOD_SLOW_MAX     86400      /* seconds between two messages */


typedef enum {
    FCC_MOD_NONE = 0,
    FCC_MOD_DELETE,
    FCC_MOD_PIN,
    FCC_MOD_UNPIN,
    FCC_MOD_BAN,
    FCC_MOD_TIMEOUT,
    FCC_MOD_UNBAN,
    FCC_MOD_SLOW,
    FCC_MOD_STATE               /* an event only: read the state anew */
} fcc_mod_e;


typedef struct {
    fcc_mod_e    action;
    int64_t      id;            /* of the message; 0: not given */
    int64_t      seq;           /* and its number, likewise */
    int64_t      user_id;       /* 0: not given */
    int64_t      seconds;       /* -1: not given */
    int64_t      until;         /* ms of the Unix epoch; 0: not given */
    int64_t      at;            /* of the message, likewise */
    fcc_str_t    username;      /* len 0: not given, as those below */
    fcc_str_t    role;
    fcc_str_t    address;
    fcc_str_t    reason;
    unsigned     tenant:1;      /* "scope": all rooms */
} fcc_mod_t;


/* the action of that name, or FCC_MOD_NONE; FCC_MOD_STATE is none to ask for */
fcc_mod_e fcc_mod_action(const fcc_str_t *name);

/* its name, NUL-terminated */
const char *fcc_mod_name(fcc_mod_e action);

/*
 * What an event says: the type and the detail of a fcc_event_t.  FCC_OK, and
 * json_decref() by fcc_mod_free(*root) is due, the strings live until then;
 * FCC_ERROR: it is no such event, or there is no memory.
 */
int fcc_mod_read(fcc_mod_t *mod, const fcc_str_t *type,
    const fcc_str_t *detail, void **root);

void fcc_mod_free(void *root);


#endif /* _FCC_MOD_H_INCLUDED_ */
