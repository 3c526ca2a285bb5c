
/*
 * PostgreSQL, as far as libpq needs it: the extended protocol in pipeline mode,
 * over a Unix socket.
 */


#include "conn.h"

#include <sys/socket.h>
#include <sys/un.h>


#define PG_CONNS   16
#define PG_NAMES   64
#define PG_PARAMS  12


typedef struct {
    char           *name;
    char           *sql;
} pg_statement_t;


typedef struct {
    int             fd;             /* -1: free */
    unsigned        started:1;
    unsigned        skip:1;         /* an error, until the Sync */
    unsigned        lost:1;         /* ends when all is written */
    conn_bytes_t    in;
    conn_bytes_t    out;
    pg_statement_t  names[PG_NAMES];
    const char     *sql;            /* of the portal */
    char           *params[PG_PARAMS];
    unsigned        nparams;
} pg_conn_t;


conn_server_t     conn_pg;
int64_t           conn_head;
ngx_uint_t        conn_epoch;

static int        pg_listen = -1;
static pg_conn_t  pg_conns[PG_CONNS];


const char *
conn_epoch_text(void)
{
    static char  epoch[64];

    snprintf(epoch, sizeof(epoch), "00000000-0000-4000-8000-%012x",
             (unsigned) conn_epoch);

    return epoch;
}


int
conn_mode(conn_server_t *server, conn_mode_e mode)
{
    if (server->mode != mode) {
        return 0;
    }

    if (server->left && --server->left == 0) {
        server->mode = CONN_ANSWER;
    }

    return 1;
}


int
conn_listen(const char *path)
{
    int                 fd;
    struct sockaddr_un  sa;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    claim(fd != -1);

    memset(&sa, 0, sizeof(sa));
    sa.sun_family = AF_UNIX;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);

    claim(__real_bind(fd, (struct sockaddr *) &sa, sizeof(sa)) == 0);
    claim(__real_listen(fd, 16) == 0);

    return fd;
}


void
conn_pg_init(const char *path)
{
    int  i;

    for (i = 0; i < PG_CONNS; i++) {
        pg_conns[i].fd = -1;
    }

    pg_listen = conn_listen(path);
}


/* ---- messages to libpq ---- */

static void
pg_message(pg_conn_t *pg, char type, conn_bytes_t *body)
{
    conn_put(&pg->out, &type, 1);
    conn_put_int(&pg->out, body->len + 4, 4);
    conn_put(&pg->out, body->data, body->len);
    conn_drop(body);
}


static void
pg_simple(pg_conn_t *pg, char type)
{
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    pg_message(pg, type, &body);
}


static void
pg_ready(pg_conn_t *pg)
{
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    conn_put(&body, "I", 1);
    pg_message(pg, 'Z', &body);
}


static void
pg_error(pg_conn_t *pg, const char *severity, const char *sqlstate)
{
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    conn_putf(&body, "S%s%cV%s%cC%s%cMa reason\n with lines%c%c", severity, 0,
              severity, 0, sqlstate, 0, 0, 0);
    pg_message(pg, 'E', &body);
}


static void
pg_refuse(pg_conn_t *pg, unsigned arg)
{
    static const char  *states[] = {
        "57P01", "55P03", "42P01", "3F000", "23505", "22021", "0A000", "26000",
        "53300", "25006", "42P05", "40001", "XX000", "42P10"
    };

    pg_error(pg, arg & 64 ? "FATAL" : "ERROR",
             states[arg % (sizeof(states) / sizeof(states[0]))]);

    if (arg & 64) {
        pg->lost = 1;
    }
}


static void
pg_start(pg_conn_t *pg)
{
    size_t        i;
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    static const char  *status[] = {
        "server_version", "15.8", "server_encoding", "UTF8",
        "client_encoding", "UTF8", "integer_datetimes", "on",
        "standard_conforming_strings", "on", "DateStyle", "ISO, MDY",
        "in_hot_standby", "off", "default_transaction_read_only", "off"
    };

    pg->started = 1;

    conn_put_int(&body, 0, 4);
    pg_message(pg, 'R', &body);

    for (i = 0; i < sizeof(status) / sizeof(status[0]); i += 2) {
        conn_put(&body, status[i], strlen(status[i]) + 1);
        conn_put(&body, status[i + 1], strlen(status[i + 1]) + 1);
        pg_message(pg, 'S', &body);
    }

    conn_put_int(&body, 1, 4);
    conn_put_int(&body, 2, 4);
    pg_message(pg, 'K', &body);

    pg_ready(pg);
}


/* ---- answers ---- */

static void
pg_describe(pg_conn_t *pg)
{
    int           i, n;
    const char   *list;
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    list = conn_rows_list(pg->sql);

    if (list == NULL) {
        pg_simple(pg, 'n');
        return;
    }

    n = conn_rows_columns(list) + (conn_pg.mode == CONN_MORE)
        - (conn_pg.mode == CONN_FEWER);

    conn_put_int(&body, n, 2);

    for (i = 0; i < n; i++) {
        conn_put(&body, "c", 2);
        conn_put_int(&body, 0, 4);
        conn_put_int(&body, 0, 2);
        conn_put_int(&body, 25, 4);
        conn_put_int(&body, (uint32_t) -1, 2);
        conn_put_int(&body, (uint32_t) -1, 4);
        conn_put_int(&body, 0, 2);
    }

    pg_message(pg, 'T', &body);
}


static void
pg_row(pg_conn_t *pg, const char *list, unsigned row, int64_t seq,
    conn_mode_e mode)
{
    int           i, n, odd;
    size_t        len;
    const char   *expr;
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    static const char  *odds[] = {
        "", "-1", "9223372036854775808", "x", "\377", "99999999", "t", "\n"
    };

    n = conn_rows_columns(list) + (mode == CONN_MORE) - (mode == CONN_FEWER);
    odd = (mode == CONN_NULL || mode == CONN_ODD)
          ? (int) (conn_pg.arg % (n ? n : 1)) : -1;

    conn_put_int(&body, n, 2);

    for (i = 0; i < n; i++) {
        expr = conn_rows_column(&list, &len);

        if (expr == NULL) {
            conn_rows_put(&body, "more");

        } else if (i != odd) {
            conn_rows_value(&body, expr, len, row, seq);

        } else {
            conn_rows_put(&body, mode == CONN_NULL ? NULL
                                            : odds[conn_pg.arg / 8 % 8]);
        }
    }

    pg_message(pg, 'D', &body);
}


static void
pg_execute(pg_conn_t *pg)
{
    int64_t       seq;
    unsigned      i, n;
    const char   *list;
    conn_mode_e   mode;
    conn_bytes_t  body = { NULL, 0, 0, 0 };

    mode = conn_pg.mode;
    list = conn_rows_list(pg->sql);

    if (list) {
        n = conn_rows(pg->sql, pg->params, pg->nparams, &seq);
        n = (mode == CONN_NOTHING) ? 0 : n;

        for (i = 0; i < n; i++) {
            pg_row(pg, list, i, seq ? seq + i : 0, mode);
        }
    }

    conn_put(&body, "SELECT 1", 9);
    pg_message(pg, 'C', &body);
}


/* ---- messages from libpq ---- */

static void
pg_forget(pg_conn_t *pg)
{
    unsigned  i;

    for (i = 0; i < pg->nparams; i++) {
        free(pg->params[i]);
    }

    pg->nparams = 0;
    pg->sql = NULL;
}


static void
pg_parse(pg_conn_t *pg, const char *name, const char *sql)
{
    int              i;
    pg_statement_t  *st;

    for (i = 0; i < PG_NAMES - 1; i++) {
        st = &pg->names[i];

        if (st->name == NULL || strcmp(st->name, name) == 0) {
            break;
        }
    }

    st = &pg->names[i];

    free(st->name);
    free(st->sql);

    st->name = strdup(name);
    st->sql = strdup(sql);
    claim(st->name != NULL && st->sql != NULL);
}


static const char *
pg_find(pg_conn_t *pg, const char *name)
{
    int  i;

    for (i = 0; i < PG_NAMES && pg->names[i].name; i++) {
        if (strcmp(pg->names[i].name, name) == 0) {
            return pg->names[i].sql;
        }
    }

    return NULL;
}


static uint32_t
pg_read(const u_char **p, int bytes)
{
    uint32_t  n;

    for (n = 0; bytes; bytes--) {
        n = n << 8 | *(*p)++;
    }

    return n;
}


static void
pg_bind(pg_conn_t *pg, const u_char *p)
{
    unsigned     i, n;
    uint32_t     len;
    const char  *name;

    pg_forget(pg);

    p += strlen((char *) p) + 1;
    name = (char *) p;
    p += strlen(name) + 1;

    n = pg_read(&p, 2);
    p += 2 * n;

    n = pg_read(&p, 2);
    claim(n <= PG_PARAMS);

    for (i = 0; i < n; i++) {
        len = pg_read(&p, 4);
        pg->params[i] = NULL;

        if (len != (uint32_t) -1) {
            pg->params[i] = strndup((char *) p, len);
            claim(strlen(pg->params[i]) == len);
            p += len;
        }
    }

    pg->nparams = n;
    pg->sql = pg_find(pg, name);

    claim(pg->sql != NULL);
}


static void
pg_read_message(pg_conn_t *pg, char type, const u_char *p)
{
    const char  *name;

    if (type == 'X') {
        pg->lost = 1;
        return;
    }

    if (type == 'S') {
        pg->skip = 0;

        if (conn_mode(&conn_pg, CONN_LOSE_AFTER)) {
            pg->lost = 1;
            conn_drop(&pg->out);
            return;
        }

        /* one question is what one Sync ends */

        if (conn_pg.mode != CONN_HOLD && conn_pg.mode != CONN_REFUSE) {
            (void) conn_mode(&conn_pg, conn_pg.mode);
        }

        pg_ready(pg);
        return;
    }

    if (pg->skip) {
        return;
    }

    switch (type) {

    case 'P':
        name = (char *) p;

        if (conn_pg.mode == CONN_LOSE) {
            (void) conn_mode(&conn_pg, CONN_LOSE);
            pg->lost = 1;
            conn_drop(&pg->out);
            return;
        }

        pg_parse(pg, name, name + strlen(name) + 1);
        pg_simple(pg, '1');
        break;

    case 'B':
        pg_bind(pg, p);

        /* the search_path's statement is answered, that of the job fails */

        if (conn_pg.mode == CONN_ERROR
            && (conn_pg.arg & 32 || strstr(pg->sql, "set_config") == NULL))
        {
            pg->skip = 1;
            pg_refuse(pg, conn_pg.arg);
            return;
        }

        pg_simple(pg, '2');
        break;

    case 'D':

        /* of a statement that is prepared: none is asked for */

        pg_describe(pg);
        break;

    case 'E':
        pg_execute(pg);
        break;

    case 'H':
    case 'C':
        break;

    default:
        claim(!"a message that libpq does not send");
    }
}


static int
pg_input(pg_conn_t *pg)
{
    char       type;
    size_t     head;
    uint32_t   len;
    u_char    *p;

    head = pg->started ? 1 : 0;

    if (pg->in.len < head + 4) {
        return 0;
    }

    p = pg->in.data + pg->in.sent;
    type = *p;

    memcpy(&len, p + head, 4);
    len = ntohl(len);

    if (pg->in.len < head + len) {
        return 0;
    }

    if (pg->started) {
        pg_read_message(pg, type, p + 5);

    } else {
        pg_start(pg);
    }

    conn_take(&pg->in, head + len);

    return 1;
}


/* ---- sockets ---- */

static void
pg_close(pg_conn_t *pg)
{
    int  i;

    close(pg->fd);
    pg_forget(pg);

    for (i = 0; i < PG_NAMES; i++) {
        free(pg->names[i].name);
        free(pg->names[i].sql);
    }

    conn_drop(&pg->in);
    conn_drop(&pg->out);

    memset(pg, 0, sizeof(pg_conn_t));
    pg->fd = -1;
}


static int
pg_accept(void)
{
    int  i, fd;

    fd = accept4(pg_listen, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

    if (fd == -1) {
        return 0;
    }

    for (i = 0; i < PG_CONNS && pg_conns[i].fd != -1; i++) { /* void */ }

    claim(i < PG_CONNS);

    pg_conns[i].fd = fd;

    if (conn_mode(&conn_pg, CONN_REFUSE)) {
        pg_close(&pg_conns[i]);
    }

    return 1;
}


static int
pg_write(pg_conn_t *pg, size_t max)
{
    ssize_t  n;

    if (pg->out.len == 0) {
        return 0;
    }

    n = send(pg->fd, pg->out.data + pg->out.sent,
             max ? ngx_min(max, pg->out.len) : pg->out.len, MSG_NOSIGNAL);

    if (n <= 0) {
        if (n == -1 && errno == EAGAIN) {
            return 0;
        }

        pg->lost = 1;
        conn_drop(&pg->out);
        return 1;
    }

    conn_take(&pg->out, n);

    return 1;
}


static int
pg_run(pg_conn_t *pg)
{
    int      some;
    u_char   buf[16384];
    ssize_t  n;

    some = 0;

    for ( ;; ) {
        n = recv(pg->fd, buf, sizeof(buf), 0);

        if (n <= 0) {
            break;
        }

        conn_put(&pg->in, buf, n);
        some = 1;
    }

    if (n == 0 || errno != EAGAIN) {
        pg_close(pg);
        return 1;
    }

    while (!pg->lost && conn_pg.mode != CONN_HOLD && pg_input(pg)) {
        some = 1;
    }

    if (conn_pg.mode != CONN_HOLD && pg_write(pg, 0)) {
        some = 1;
    }

    if (pg->lost && pg->out.len == 0) {
        pg_close(pg);
        some = 1;
    }

    return some;
}


int
conn_pg_run(void)
{
    int  i, some;

    some = 0;

    while (pg_accept()) {
        some = 1;
    }

    for (i = 0; i < PG_CONNS; i++) {
        if (pg_conns[i].fd != -1 && pg_run(&pg_conns[i])) {
            some = 1;
        }
    }

    return some;
}


void
conn_pg_cut(void)
{
    int  i;

    for (i = 0; i < PG_CONNS; i++) {
        if (pg_conns[i].fd != -1) {
            pg_close(&pg_conns[i]);
        }
    }
}


/* what has been asked is answered now, for n bytes: the rest stays held */

void
conn_pg_release(size_t n)
{
    int          i;
    conn_mode_e  mode;

    mode = conn_pg.mode;

    if (mode == CONN_HOLD) {
        conn_pg.mode = CONN_ANSWER;
    }

    for (i = 0; i < PG_CONNS; i++) {
        if (pg_conns[i].fd == -1) {
            continue;
        }

        while (!pg_conns[i].lost && pg_input(&pg_conns[i])) { /* void */ }

        (void) pg_write(&pg_conns[i], n);
    }

    conn_pg.mode = mode;
}


int
conn_pg_open(void)
{
    int  i, n;

    for (i = 0, n = 0; i < PG_CONNS; i++) {
        n += (pg_conns[i].fd != -1);
    }

    return n;
}
