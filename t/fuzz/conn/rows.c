
/*
 * What PostgreSQL would answer.
 *
 * It has no tables.  What is asked for is found in the words of a statement:
 * each column that is selected gets a value by its name, so that statements may
 * change without this file.  The log of the one room is a number, the head.
 */


#include "conn.h"


#define ROWS_EVENTS  12             /* of an answer */


/* what a column holds, by the first of these words in its expression */

static const struct {
    const char  *word;
    const char  *value;
} rows_values[] = {
    { "none",          NULL },
    { "place",         NULL },
    { "room_id",       NULL },
    { "IS NOT NULL",   "t" },
    { "session_data",  NULL },
    { "epoch FROM",    NULL },
    { "epoch",         NULL },
    { "last_seq",      NULL },
    { "seq",           NULL },
    { "message_id",    "4711" },
    { "item",          NULL },
    { "status",        "ok" },
    { "stream_id",     "1" },
    { "user_id",       CONN_USER },
    { "u.id",          CONN_USER },
    { "username",      "alice" },
    { "password",      NULL },
    { "is_active",     "t" },
    { "is_staff",      "f" },
    { "message_type",  "message" },
    { "content",       "<b>\"\\\303\244\360\237\230\200\342\200\250" },
    { "schema_name",   "localhost" },
    { "worker",        "0123456789abcdef" },
    { "count",         "3" },
    { "age",           "0" },
    { "name",          ":smile:" },
    { "image",         "stamps/01_smile.svg" },
    { "what",          "head" },
    { "owner",         "9" },
    { "role",          "member" },
    { "mark",          "5" },
    { "same",          "t" },
    { "set_config",    "x" },
    { "at",            NULL },
    { "id",            "1" },
    { NULL,            "1" }
};


static char  rows_rooms[512];


/* the next expression of a list, which ends at a comma or " FROM " outside of
 * brackets; NULL after the last */

const char *
conn_rows_column(const char **pos, size_t *len)
{
    int          depth;
    const char  *p, *start;

    start = *pos;

    if (start == NULL) {
        return NULL;
    }

    while (*start == ' ') {
        start++;
    }

    depth = 0;

    for (p = start; *p; p++) {
        if (*p == '(') {
            depth++;

        } else if (*p == ')') {
            depth--;

        } else if (depth == 0 && *p == ',') {
            break;

        } else if (depth == 0 && strncmp(p, " FROM ", 6) == 0) {
            break;
        }

        if (depth < 0) {
            break;
        }
    }

    *len = p - start;
    *pos = (*p == ',') ? p + 1 : NULL;

    return start;
}


static int
rows_has(const char *expr, size_t len, const char *word)
{
    return memmem(expr, len, word, strlen(word)) != NULL;
}


/* elements of an array's text */

static unsigned
rows_elements(const char *array)
{
    int       quoted;
    unsigned  n;

    if (array == NULL || strlen(array) < 3) {
        return 0;
    }

    quoted = 0;

    for (n = 1; *array; array++) {
        if (*array == '\\' && array[1]) {
            array++;

        } else if (*array == '"') {
            quoted = !quoted;

        } else if (*array == ',' && !quoted) {
            n++;
        }
    }

    return n;
}


/* where the list of columns begins that the statement gives; NULL: it gives no
 * rows */

const char *
conn_rows_list(const char *sql)
{
    const char  *p;

    if (strstr(sql, "SELECT * FROM n")) {
        p = strstr(sql, "RETURNING ");
        return p ? p + 10 : NULL;
    }

    if (strstr(sql, ".fcchat_viewers(")) {
        return "room_id, worker, count, age";
    }

    if (strstr(sql, ".fcchat_state(")) {
        return "place, what, owner, none, none, role, epoch, last_seq, none, "
               "none";
    }

    if (strstr(sql, " WITH ORDINALITY AS fcc ")) {
        return "IS NOT NULL, IS NOT NULL, is_active, is_staff, mark, same, "
               "none, none";
    }

    if (strncmp(sql, "SELECT ", 7) == 0) {
        return sql + 7;
    }

    p = strstr(sql, "RETURNING ");

    return p ? p + 10 : NULL;
}


/* how many rows, and the number of the first one */

unsigned
conn_rows(const char *sql, char **params, unsigned nparams, int64_t *seq)
{
    int64_t  n, limit;

    *seq = conn_head;

    if (strstr(sql, "fcchat_append")) {
        n = rows_elements(params[0]);
        *seq = conn_head + 1;
        conn_head += n;
        return n;
    }

    if (strstr(sql, " WITH ORDINALITY AS fcc ")) {
        return rows_elements(params[0]);
    }

    rows_rooms[0] = '\0';

    if (strstr(sql, ".fcchat_state(") || strstr(sql, "ANY ($1::bigint[])")) {
        snprintf(rows_rooms, sizeof(rows_rooms), "%s", params[0]);
        return rows_elements(params[0]);
    }

    if (strstr(sql, ".fcchat_moderate(") || strstr(sql, ".fcchat_publish(")) {
        *seq = ++conn_head;
        return 1;
    }

    if (strstr(sql, "fcchat_event") && nparams >= 3) {
        n = atoll(params[1] ? params[1] : "0");
        limit = atoll(params[2] ? params[2] : "0");
        limit = ngx_min(limit, ROWS_EVENTS);

        if (strstr(sql, "seq >")) {
            n = ngx_max(n, 0);
            *seq = n + 1;
            n = conn_head - n;

        } else {
            n = ngx_min(n, conn_head + 1);
            *seq = ngx_max(n - limit, 1);
            n = n - *seq;
        }

        /* a head without an event is a row, too */

        n = ngx_min(n, limit);

        if (n <= 0) {
            *seq = 0;
            n = 1;
        }

        return n;
    }

    return 1;
}


/* of an array that was asked for the row-th, else the only one there is */

static long long
rows_room(unsigned row)
{
    char  *p;

    if (rows_rooms[0] == '\0') {
        return 1;
    }

    for (p = rows_rooms + 1; row && *p; p++) {
        row -= (*p == ',');
    }

    return atoll(p);
}


void
conn_rows_put(conn_bytes_t *body, const char *value)
{
    if (value == NULL) {
        conn_put_int(body, (uint32_t) -1, 4);
        return;
    }

    conn_put_int(body, strlen(value), 4);
    conn_put(body, value, strlen(value));
}


void
conn_rows_value(conn_bytes_t *body, const char *expr, size_t len, unsigned row,
    int64_t seq)
{
    char         number[32];
    unsigned     i;
    const char  *word;

    for (i = 0; rows_values[i].word; i++) {
        if (rows_has(expr, len, rows_values[i].word)) {
            break;
        }
    }

    word = rows_values[i].word;

    if (word == NULL || rows_values[i].value) {
        conn_rows_put(body, seq == 0 && word && strcmp(word, "message_id") == 0
                     ? NULL : rows_values[i].value);
        return;
    }

    if (strcmp(word, "place") == 0 || strcmp(word, "room_id") == 0) {
        snprintf(number, sizeof(number), "%lld", rows_room(row));
        conn_rows_put(body, number);
        return;
    }

    if (strcmp(word, "none") == 0) {
        conn_rows_put(body, NULL);
        return;
    }

    if (strcmp(word, "session_data") == 0) {
        conn_rows_put(body, conn_session_data(0));
        return;
    }

    if (strcmp(word, "password") == 0) {
        conn_rows_put(body, conn_password());
        return;
    }

    if (strcmp(word, "epoch") == 0) {
        conn_rows_put(body, conn_epoch_text());
        return;
    }

    if (strcmp(word, "seq") == 0 && seq == 0) {
        conn_rows_put(body, NULL);
        return;
    }

    if (strcmp(word, "last_seq") == 0) {
        seq = conn_head;

    } else if (strcmp(word, "item") == 0) {
        seq = row + 1;

    } else if (strcmp(word, "seq") != 0) {
        seq = 1763900000000;
    }

    snprintf(number, sizeof(number), "%lld", (long long) seq);
    conn_rows_put(body, number);
}


unsigned
conn_rows_columns(const char *list)
{
    size_t    len;
    unsigned  n;

    for (n = 0; conn_rows_column(&list, &len); n++) { /* void */ }

    return n;
}
