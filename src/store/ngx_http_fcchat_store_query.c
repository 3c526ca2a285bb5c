
/*
 * fcchat_query: statements of a site in the place of ours, for what is looked
 * up.
 *
 * What can be told without a server is told by nginx -t; columns and their
 * types when the worker has its first connection, and with each answer, as
 * tables may change.  A statement that is wrong gives no answer but a line in
 * the log, and whoever needs it is told "unavailable".
 */


#include <ngx_http_fcchat_store_int.h>
#include <fcc_sql.h>


#define NGX_HTTP_FCCHAT_STORE_COLUMNS  5


typedef enum {
    NGX_HTTP_FCCHAT_STORE_INT = 0,
    NGX_HTTP_FCCHAT_STORE_TEXT,
    NGX_HTTP_FCCHAT_STORE_BOOL
} ngx_http_fcchat_store_type_e;


typedef struct {
    const char                    *name;
    ngx_http_fcchat_store_type_e   type;
} ngx_http_fcchat_store_column_t;


typedef struct {
    ngx_str_t                      name;
    ngx_uint_t                     nparams;
    const char                    *params[4];   /* to try it with */
    ngx_uint_t                     ncolumns;    /* 0: it stores */
    ngx_http_fcchat_store_column_t columns[NGX_HTTP_FCCHAT_STORE_COLUMNS];
} ngx_http_fcchat_store_shape_t;


static void ngx_http_fcchat_store_query_try(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n);
static ngx_int_t ngx_http_fcchat_store_query_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static const char *ngx_http_fcchat_store_query_type(Oid oid,
    ngx_http_fcchat_store_type_e type);
static ngx_uint_t ngx_http_fcchat_store_query_quiet(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_http_fcchat_store_query_e n);


/* in the order of ngx_http_fcchat_store_query_e */

static ngx_http_fcchat_store_shape_t  ngx_http_fcchat_store_shapes[] = {

    { ngx_string("session"), 1, { NULL }, 1,
      { { "session_data", NGX_HTTP_FCCHAT_STORE_TEXT } } },

    { ngx_string("user"), 1, { "0" }, 5,
      { { "id", NGX_HTTP_FCCHAT_STORE_INT },
        { "username", NGX_HTTP_FCCHAT_STORE_TEXT },
        { "password", NGX_HTTP_FCCHAT_STORE_TEXT },
        { "is_active", NGX_HTTP_FCCHAT_STORE_BOOL },
        { "is_staff", NGX_HTTP_FCCHAT_STORE_BOOL } } },

    { ngx_string("room"), 1, { NULL }, 2,
      { { "id", NGX_HTTP_FCCHAT_STORE_INT },
        { "stream_id", NGX_HTTP_FCCHAT_STORE_INT } } },

    { ngx_string("stamps"), 0, { NULL }, 3,
      { { "id", NGX_HTTP_FCCHAT_STORE_INT },
        { "name", NGX_HTTP_FCCHAT_STORE_TEXT },
        { "image", NGX_HTTP_FCCHAT_STORE_TEXT } } },

    { ngx_string("owner"), 1, { "0" }, 1,
      { { "user_id", NGX_HTTP_FCCHAT_STORE_INT } } },

    { ngx_string("reaction"), 4, { "{}", "{}", "{}", "{}" }, 0,
      { { NULL, NGX_HTTP_FCCHAT_STORE_INT } } }
};


ngx_int_t
ngx_http_fcchat_store_query_find(ngx_str_t *name)
{
    ngx_uint_t  n;
    ngx_str_t  *known;

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        known = &ngx_http_fcchat_store_shapes[n].name;

        if (name->len == known->len
            && ngx_memcmp(name->data, known->data, name->len) == 0)
        {
            return n;
        }
    }

    return NGX_ERROR;
}


ngx_str_t *
ngx_http_fcchat_store_query_name(ngx_http_fcchat_store_query_e n)
{
    return &ngx_http_fcchat_store_shapes[n].name;
}


u_char *
ngx_http_fcchat_store_query_wrong(ngx_http_fcchat_store_query_e n,
    ngx_str_t *sql, u_char *p, u_char *last)
{
    fcc_sql_t                       scan;
    ngx_uint_t                      i;
    ngx_http_fcchat_store_shape_t  *shape;

    shape = &ngx_http_fcchat_store_shapes[n];

    if (fcc_sql_scan(sql->data, sql->len, &scan) != FCC_OK) {
        return ngx_slprintf(p, last, "has a string, a name or a comment "
                            "without an end");
    }

    if (scan.many) {
        return ngx_slprintf(p, last, "must be one statement without \";\"");
    }

    if (!(scan.word.len == 6
          && ngx_strncasecmp(scan.word.data, (u_char *) "select", 6) == 0)
        && !(scan.word.len == 4
             && ngx_strncasecmp(scan.word.data, (u_char *) "with", 4) == 0)
        && !(scan.word.len == 6 && shape->ncolumns == 0
             && ngx_strncasecmp(scan.word.data, (u_char *) "insert", 6) == 0))
    {
        return ngx_slprintf(p, last, "must begin with SELECT%s or WITH",
                            shape->ncolumns ? "" : ", INSERT");
    }

    if (scan.highest > shape->nparams || (scan.used & 1)) {
        return ngx_slprintf(p, last, "must not use $%ui",
                            (scan.used & 1) ? (ngx_uint_t) 0
                                            : (ngx_uint_t) scan.highest);
    }

    for (i = 1; i <= shape->nparams; i++) {
        if (!(scan.used & ((uint64_t) 1 << i))) {
            return ngx_slprintf(p, last, "must use $%ui", i);
        }
    }

    return NULL;
}


const char *
ngx_http_fcchat_store_query(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_query_e n)
{
    const char  *sql;

    sql = store->conf->queries->sql[n];

    return sql[0] ? sql : NULL;
}


ngx_int_t
ngx_http_fcchat_store_ask_query(ngx_http_fcchat_store_ask_t *ask,
    ngx_http_fcchat_store_query_e n, const char *sql, ngx_uint_t nparams,
    const char **params)
{
    const char  *own;

    own = ngx_http_fcchat_store_query(ask->store, n);

    if (own) {
        ask->own = 1;
        ask->query = n;
        sql = own;
    }

    return ngx_http_fcchat_pg_query(ask->job, sql, nparams, params);
}


void
ngx_http_fcchat_store_queries_try(ngx_http_fcchat_store_t *store)
{
    ngx_uint_t   i, n;
    ngx_str_t   *schema;

    if (store->tried || store->conf->schemas == NULL) {
        return;
    }

    store->tried = 1;

    schema = store->conf->schemas->elts;

    for (i = 0; i < store->conf->schemas->nelts; i++) {
        for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
            ngx_http_fcchat_store_query_try(store, &schema[i], n);
        }
    }
}


/*
 * Its columns are told by an answer without rows, for which nothing is run; a
 * statement that stores is planned alone.
 */

static void
ngx_http_fcchat_store_query_try(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n)
{
    u_char                         *p;
    const char                     *sql, *format;
    ngx_http_fcchat_pg_job_t       *job;
    ngx_http_fcchat_store_ask_t    *ask;
    ngx_http_fcchat_store_shape_t  *shape;

    static const char  select[] = "SELECT * FROM (\n%s\n) AS q LIMIT 0";
    static const char  explain[] = "EXPLAIN %s";

    sql = ngx_http_fcchat_store_query(store, n);
    if (sql == NULL) {
        return;
    }

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return;
    }

    shape = &ngx_http_fcchat_store_shapes[n];
    format = shape->ncolumns ? select : explain;

    ask->own = 1;
    ask->query = n;

    p = ngx_pnalloc(job->pool, sizeof(select) + ngx_strlen(sql));

    if (p == NULL
        || ngx_http_fcchat_pg_query(job, (const char *) p, shape->nparams,
                                    shape->params)
           != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return;
    }

    ngx_sprintf(p, format, sql)[0] = '\0';

    /* without a handler: what is to be said goes to the log */

    (void) ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_query_read,
                                          NULL, NULL);
}


static ngx_int_t
ngx_http_fcchat_store_query_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_store_query_columns(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n, PGresult *res)
{
    int                             first, have;
    u_char                         *p, *last;
    ngx_uint_t                      i;
    const char                     *type;
    u_char                          names[128];
    ngx_http_fcchat_store_shape_t  *shape;

    shape = &ngx_http_fcchat_store_shapes[n];

    if (shape->ncolumns == 0) {
        return NGX_OK;
    }

    /* what we put around it comes first */

    have = PQnfields(res);
    first = (n == NGX_HTTP_FCCHAT_STORE_Q_ROOM && have > 0
             && ngx_strcmp(PQfname(res, 0), NGX_HTTP_FCCHAT_STORE_EPOCH) == 0)
            ? 2 : 0;

    if (have != first + (int) shape->ncolumns) {

        if (ngx_http_fcchat_store_query_quiet(store, schema, n)) {
            return NGX_ERROR;
        }

        p = names;
        last = names + sizeof(names);

        for (i = 0; i < shape->ncolumns; i++) {
            p = ngx_slprintf(p, last, "%s%s", i ? ", " : "",
                             shape->columns[i].name);
        }

        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "fcchat: \"fcchat_query %V\" must give %ui columns "
                      "(%*s), it gives %d in schema \"%V\"",
                      &shape->name, shape->ncolumns, (size_t) (p - names),
                      names, have - first, schema);

        return NGX_ERROR;
    }

    for (i = 0; i < shape->ncolumns; i++) {

        type = ngx_http_fcchat_store_query_type(PQftype(res, first + (int) i),
                                                shape->columns[i].type);
        if (type == NULL) {
            continue;
        }

        if (!ngx_http_fcchat_store_query_quiet(store, schema, n)) {
            ngx_log_error(NGX_LOG_ERR, store->log, 0,
                          "fcchat: \"fcchat_query %V\" must give %s as column "
                          "%ui (%s), it does not in schema \"%V\"",
                          &shape->name, type, i + 1, shape->columns[i].name,
                          schema);
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NULL: it is of that type; else what would be, in words */

static const char *
ngx_http_fcchat_store_query_type(Oid oid, ngx_http_fcchat_store_type_e type)
{
    ngx_uint_t   i;

    /* src/include/catalog/pg_type.dat; 0 ends a row */

    static const Oid          oids[][5] = {
        { 20, 21, 23, 0 },              /* int8, int2, int4 */
        { 25, 1043, 1042, 19, 0 },      /* text, varchar, bpchar, name */
        { 16, 0 }                       /* bool */
    };

    static const char  *const  names[] = {
        "an integer", "a text", "a boolean"
    };

    for (i = 0; oids[type][i]; i++) {
        if (oid == oids[type][i]) {
            return NULL;
        }
    }

    return names[type];
}


ngx_int_t
ngx_http_fcchat_store_query_failed(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n,
    ngx_http_fcchat_pg_job_t *job)
{
    /* what the text itself is to blame for: names, types, rights; a function
     * of ours that is missing is not */

    if (job->status != NGX_HTTP_FCCHAT_PG_FAILED
        || ngx_strncmp(job->sqlstate, "42", 2) != 0
        || ngx_http_fcchat_store_nowhere(job)
        || ngx_strlcasestrn(job->message.data,
                            job->message.data + job->message.len,
                            (u_char *) NGX_HTTP_FCCHAT_STORE_OURS,
                            sizeof(NGX_HTTP_FCCHAT_STORE_OURS) - 2)
           != NULL)
    {
        return NGX_DECLINED;
    }

    if (!ngx_http_fcchat_store_query_quiet(store, schema, n)) {
        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "fcchat: \"fcchat_query %V\" fails in schema \"%V\", "
                      "%s: %V", &ngx_http_fcchat_store_shapes[n].name, schema,
                      job->sqlstate, &job->message);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_fcchat_store_query_quiet(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n)
{
    return ngx_http_fcchat_store_seldom(store->schemas,
                                        NGX_HTTP_FCCHAT_STORE_WARNINGS,
                                        ngx_crc32_short(schema->data,
                                                        schema->len)
                                        + 1 + n,
                                        60)
           == NULL;
}
