
/*
 * The store of a worker: its start and end, what a failure of PostgreSQL means,
 * and reading an answer without trusting it.
 */


#include <ngx_http_fcchat_store_int.h>
#include <fcc_utf8.h>


static void ngx_http_fcchat_store_changed(void *data, ngx_uint_t up);
static ngx_http_fcchat_store_fate_e ngx_http_fcchat_store_sqlstate(
    const char *s);


ngx_http_fcchat_store_t *
ngx_http_fcchat_store_create(ngx_http_fcchat_store_conf_t *conf,
    void (*drained)(void *data), void *data, ngx_log_t *log)
{
    ngx_http_fcchat_store_t  *store;

    store = ngx_calloc(sizeof(ngx_http_fcchat_store_t), log);
    if (store == NULL) {
        return NULL;
    }

    store->conf = conf;
    store->log = log;
    store->drained = drained;
    store->data = data;

    ngx_http_fcchat_store_write_init(store);
    ngx_http_fcchat_store_reaction_init(store);
    ngx_http_fcchat_store_ask_init(store);

    store->pg = ngx_http_fcchat_pg_create(conf->pg,
                                          ngx_http_fcchat_store_changed,
                                          store, log);
    if (store->pg == NULL) {
        ngx_free(store);
        return NULL;
    }

    if (ngx_http_fcchat_store_retain_init(store) != NGX_OK) {
        ngx_http_fcchat_store_destroy(store);
        return NULL;
    }

    return store;
}


void
ngx_http_fcchat_store_destroy(ngx_http_fcchat_store_t *store)
{
    store->closing = 1;

    ngx_http_fcchat_store_retain_close(store);
    ngx_http_fcchat_store_ask_close(store);

    ngx_http_fcchat_pg_destroy(store->pg);

    ngx_http_fcchat_store_write_close(store);
    ngx_http_fcchat_store_reaction_close(store);

    ngx_free(store);
}


static void
ngx_http_fcchat_store_changed(void *data, ngx_uint_t up)
{
    ngx_http_fcchat_store_t *store = data;

    if (up && !store->closing) {
        ngx_http_fcchat_store_write_up(store);
        ngx_http_fcchat_store_queries_try(store);
    }
}


ngx_uint_t
ngx_http_fcchat_store_up(ngx_http_fcchat_store_t *store)
{
    return ngx_http_fcchat_pg_up(store->pg, NGX_HTTP_FCCHAT_PG_WRITE);
}


ngx_uint_t
ngx_http_fcchat_store_pending(ngx_http_fcchat_store_t *store)
{
    return store->nitems + store->nreactions;
}


ngx_http_fcchat_store_fate_e
ngx_http_fcchat_store_fate(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_pg_job_t *job, ngx_str_t *schema, const char *file)
{
    uint32_t                      hash;
    const char                   *end;
    ngx_http_fcchat_store_fate_e  fate;

    if (job->status == NGX_HTTP_FCCHAT_PG_OK) {
        return NGX_HTTP_FCCHAT_STORE_DONE;
    }

    if (job->status != NGX_HTTP_FCCHAT_PG_FAILED) {

        /* the pool has told the log that the server is away */

        return NGX_HTTP_FCCHAT_STORE_LATER;
    }

    fate = ngx_http_fcchat_store_sqlstate(job->sqlstate);

    if (fate == NGX_HTTP_FCCHAT_STORE_MISSING
        && ngx_http_fcchat_store_nowhere(job))
    {
        /* a name that a client may have chosen: not worth more */

        end = ngx_http_fcchat_net_seldom(&store->nowhere, 1);

        if (end) {
            ngx_log_error(NGX_LOG_INFO, store->log, 0,
                          "fcchat: there is no schema \"%V\"%s", schema, end);
        }

        return NGX_HTTP_FCCHAT_STORE_NOWHERE;
    }

    if (fate == NGX_HTTP_FCCHAT_STORE_MISSING && file == NULL) {

        end = ngx_http_fcchat_store_seldom(store->classes,
                                           NGX_HTTP_FCCHAT_STORE_CLASSES,
                                           1, 60);
        if (end) {
            ngx_log_error(NGX_LOG_ERR, store->log, 0,
                          "fcchat: the database lacks what "
                          "fcchat_tenant_tables names; "
                          "PostgreSQL said %s: %V%s",
                          job->sqlstate, &job->message, end);
        }

        return fate;
    }

    if (fate == NGX_HTTP_FCCHAT_STORE_MISSING) {
        hash = ngx_crc32_short(schema->data, schema->len)
               ^ ngx_crc32_short((u_char *) file, ngx_strlen(file));

        end = ngx_http_fcchat_store_seldom(store->schemas,
                                           NGX_HTTP_FCCHAT_STORE_WARNINGS,
                                           hash, 60);
        if (end) {
            ngx_log_error(NGX_LOG_ERR, store->log, 0,
                          "fcchat: schema \"%V\" lacks what fcchat needs: "
                          "apply %s to it (before it sql/seed.sql for a site "
                          "without Django); PostgreSQL said %s: %V%s",
                          schema, file, job->sqlstate, &job->message, end);
        }

        return fate;
    }

    hash = ngx_crc32_short((u_char *) job->sqlstate, 2);

    end = ngx_http_fcchat_store_seldom(store->classes,
                                       NGX_HTTP_FCCHAT_STORE_CLASSES, hash, 1);

    if (end == NULL) {
        return fate;
    }

    if (fate == NGX_HTTP_FCCHAT_STORE_ROW) {

        /* the text may be of a trigger of the site and quote the row */

        ngx_log_error(NGX_LOG_WARN, store->log, 0,
                      "fcchat: PostgreSQL refused a value in schema \"%V\" "
                      "with SQLSTATE %s%s", schema, job->sqlstate, end);
        return fate;
    }

    ngx_log_error(NGX_LOG_ERR, store->log, 0,
                  "fcchat: PostgreSQL failed in schema \"%V\", %s: %V%s",
                  schema, job->sqlstate, &job->message, end);

    return fate;
}


/*
 * Whose fault it is.  What is not known to be the server's or the schema's is
 * the row's: a trigger of the site may raise any code it likes.
 */

static ngx_http_fcchat_store_fate_e
ngx_http_fcchat_store_sqlstate(const char *s)
{
    const char         **p;

    static const char   *missing[] = {
        "3F000",        /* invalid_schema_name */
        "42703",        /* undefined_column */
        "42883",        /* undefined_function */
        "42P01",        /* undefined_table */
        NULL
    };

    static const char   *later[] = {
        "08",           /* connection */
        "0A",           /* not supported: a plan that no longer fits */
        "0B",           /* transaction initiation */
        "25",           /* transaction state: read-only */
        "28",           /* authorization */
        "3D",           /* catalog */
        "40",           /* rollback: serialization, deadlock */
        "42",           /* access rule: a right is missing */
        "53",           /* resources */
        "55",           /* prerequisite state: lock timeout */
        "57",           /* operator: shutdown, statement timeout */
        "58",           /* system */
        "F0",           /* configuration file */
        "XX",           /* internal */
        NULL
    };

    for (p = missing; *p; p++) {
        if (ngx_strcmp(s, *p) == 0) {
            return NGX_HTTP_FCCHAT_STORE_MISSING;
        }
    }

    /* invalid_column_reference: an ON CONFLICT of the site's own rules */

    if (ngx_strcmp(s, "42P10") == 0) {
        return NGX_HTTP_FCCHAT_STORE_ROW;
    }

    for (p = later; *p; p++) {
        if (s[0] == (*p)[0] && s[1] == (*p)[1]) {
            return NGX_HTTP_FCCHAT_STORE_LATER;
        }
    }

    return s[0] ? NGX_HTTP_FCCHAT_STORE_ROW : NGX_HTTP_FCCHAT_STORE_LATER;
}


ngx_uint_t
ngx_http_fcchat_store_nowhere(ngx_http_fcchat_pg_job_t *job)
{
    return ngx_http_fcchat_store_rows(job, 0, 4) == 1
           && !ngx_http_fcchat_store_flag(job->results[0], 0, 2);
}


const char *
ngx_http_fcchat_store_seldom(ngx_http_fcchat_store_warning_t *warnings,
    ngx_uint_t n, uint32_t hash, time_t seconds)
{
    ngx_http_fcchat_store_warning_t  *w;

    w = &warnings[hash % n];

    /* two that share a place take turns there, a line a second */

    if (w->hash != hash) {
        w->hash = hash;
        seconds = 1;
    }

    return ngx_http_fcchat_net_seldom(&w->seldom, seconds);
}


void
ngx_http_fcchat_store_malformed(ngx_http_fcchat_store_t *store,
    const char *what)
{
    const char  *end;

    end = ngx_http_fcchat_store_seldom(store->classes,
                                       NGX_HTTP_FCCHAT_STORE_CLASSES, 0, 1);

    if (end) {
        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "fcchat: unexpected answer of PostgreSQL to %s%s", what,
                      end);
    }
}


char *
ngx_http_fcchat_store_ident(u_char *ident, ngx_str_t *schema)
{
    u_char      *p;
    ngx_uint_t   i;

    if (schema->len == 0
        || schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX
        || ngx_strlchr(schema->data, schema->data + schema->len, '\0') != NULL
        || fcc_utf8_length(schema->data, schema->len) < 0)
    {
        return NULL;
    }

    if (schema->len >= 3 && ngx_strncmp(schema->data, "pg_", 3) == 0) {
        return NULL;
    }

    p = ident;
    *p++ = '"';

    for (i = 0; i < schema->len; i++) {
        if (schema->data[i] == '"') {
            *p++ = '"';
        }

        *p++ = schema->data[i];
    }

    *p++ = '"';
    *p = '\0';

    return (char *) ident;
}


const char *
ngx_http_fcchat_store_sql(ngx_pool_t *pool, const char *format,
    ngx_str_t *schema)
{
    u_char  *p, ident[NGX_HTTP_FCCHAT_STORE_IDENT_LEN];

    if (ngx_http_fcchat_store_ident(ident, schema) == NULL) {
        return NULL;
    }

    p = ngx_pnalloc(pool, ngx_strlen(format) + 3 * sizeof(ident));
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, format, ident, ident, ident)[0] = '\0';

    return (const char *) p;
}


ngx_int_t
ngx_http_fcchat_store_path(ngx_http_fcchat_pg_job_t *job, ngx_str_t *schema)
{
    const char  *params[3];

    params[0] = ngx_http_fcchat_store_sql(job->pool, "%s, public", schema);
    params[1] = ngx_http_fcchat_store_sql(job->pool, "%s", schema);
    params[2] = NGX_HTTP_FCCHAT_STORE_LOCK;

    if (params[0] == NULL || params[1] == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_fcchat_pg_query(job,
                             "SELECT set_config('search_path', $1, true), "
                             "set_config('timezone', 'UTC', true), "
                             "to_regnamespace($2) IS NOT NULL, "
                             "set_config('lock_timeout', $3, true)",
                             3, params);
}


void
ngx_http_fcchat_store_hurry(ngx_http_fcchat_pg_job_t *job, const char *ms)
{
    job->queries[0].params[2] = ms;
}


const char *
ngx_http_fcchat_store_number(ngx_pool_t *pool, int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(pool, NGX_INT64_LEN + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, "%L", n)[0] = '\0';

    return (const char *) p;
}


const char *
ngx_http_fcchat_store_array(ngx_pool_t *pool, int64_t *elts, ngx_uint_t n)
{
    u_char      *p, *array;
    ngx_uint_t   i;

    array = ngx_pnalloc(pool, n * (NGX_INT64_LEN + 1) + sizeof("{}"));
    if (array == NULL) {
        return NULL;
    }

    p = array;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, i ? ",%L" : "%L", elts[i]);
    }

    *p++ = '}';
    *p = '\0';

    return (const char *) array;
}


ngx_int_t
ngx_http_fcchat_store_rows(ngx_http_fcchat_pg_job_t *job, ngx_uint_t n,
    ngx_uint_t columns)
{
    PGresult  *res;

    if (n >= job->nqueries) {
        return -1;
    }

    res = job->results[n];

    if (res == NULL
        || PQresultStatus(res) != PGRES_TUPLES_OK
        || PQnfields(res) != (int) columns)
    {
        return -1;
    }

    return PQntuples(res);
}


ngx_int_t
ngx_http_fcchat_store_int(PGresult *res, ngx_uint_t row, ngx_uint_t column,
    int64_t *value)
{
    int          len;
    char        *p, *last;
    uint64_t     n, max;
    ngx_uint_t   minus;

    if (PQgetisnull(res, row, column)) {
        return NGX_ERROR;
    }

    len = PQgetlength(res, row, column);
    p = PQgetvalue(res, row, column);
    last = p + len;

    minus = 0;

    if (len > 0 && *p == '-') {
        minus = 1;
        p++;
    }

    if (p == last) {
        return NGX_ERROR;
    }

    max = (uint64_t) INT64_MAX + minus;

    for (n = 0; p < last; p++) {
        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        if (n > (max - (*p - '0')) / 10) {
            return NGX_ERROR;
        }

        n = n * 10 + (*p - '0');
    }

    *value = minus ? (int64_t) (0 - n) : (int64_t) n;

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_store_int_null(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, int64_t *value)
{
    if (PQgetisnull(res, row, column)) {
        *value = 0;
        return NGX_OK;
    }

    return ngx_http_fcchat_store_int(res, row, column, value);
}


void
ngx_http_fcchat_store_text(PGresult *res, ngx_uint_t row, ngx_uint_t column,
    ngx_str_t *value)
{
    value->data = (u_char *) PQgetvalue(res, row, column);
    value->len = PQgetlength(res, row, column);
}


void
ngx_http_fcchat_store_fcc_text(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, fcc_str_t *value)
{
    ngx_str_t  text;

    ngx_http_fcchat_store_text(res, row, column, &text);

    value->data = text.data;
    value->len = text.len;
}


ngx_uint_t
ngx_http_fcchat_store_flag(PGresult *res, ngx_uint_t row, ngx_uint_t column)
{
    return PQgetlength(res, row, column) == 1
           && PQgetvalue(res, row, column)[0] == 't';
}
