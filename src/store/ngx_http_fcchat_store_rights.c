
/*
 * Sessions and users of open sockets, many in one question.
 *
 * Whoever asks again has a mark of the last answer: while the session's data
 * and the password are the same, neither is sent.  The mark is a hash of
 * PostgreSQL's own, so that one of another version is just another mark, and
 * the data comes once more.
 */


#include <ngx_http_fcchat_store_int.h>
#include <fcc_sql.h>


#define NGX_HTTP_FCCHAT_STORE_RIGHTS_COLUMNS  8
#define NGX_HTTP_FCCHAT_STORE_RIGHTS_SIZE     2048  /* bytes of ours */


static const char *ngx_http_fcchat_store_rights_sql(
    ngx_http_fcchat_store_t *store, ngx_pool_t *pool, ngx_uint_t keyed);
static ngx_uint_t ngx_http_fcchat_store_rights_keyed(
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n);
static void ngx_http_fcchat_store_rights_one(fcc_buf_t *b, const char *own,
    const char *ours, const char *value);
static const char *ngx_http_fcchat_store_rights_keys(ngx_pool_t *pool,
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n);
static const char *ngx_http_fcchat_store_rights_array(ngx_pool_t *pool,
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n, ngx_uint_t marks);
static ngx_int_t ngx_http_fcchat_store_rights_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


static const char  ngx_http_fcchat_store_rights_head[] =
    "SELECT data IS NOT NULL, id IS NOT NULL, active, staff, mark, same, "
    "CASE WHEN same THEN NULL ELSE data END, "
    "CASE WHEN same THEN NULL ELSE password END "
    "FROM (SELECT fcc.n, s.data, u.id, u.active, u.staff, u.password, m.mark, "
    "m.mark = fcc.mark AS same "
    "FROM unnest($1::text[], $2::bigint[], $3::bigint[]) "
    "WITH ORDINALITY AS fcc (key, id, mark, n) LEFT JOIN LATERAL (";

static const char  ngx_http_fcchat_store_rights_session[] =
    ") AS s (data) ON true LEFT JOIN LATERAL (";

static const char  ngx_http_fcchat_store_rights_user[] =
    ") AS u (id, name, password, active, staff) ON true "
    "CROSS JOIN LATERAL (SELECT hashtext(concat(s.data, ':', "
    "u.password))::bigint + 2147483649 AS mark) m) r ORDER BY n";


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_rights(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    ngx_uint_t                    keyed;
    const char                   *sql, *params[3];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    keyed = ngx_http_fcchat_store_rights_keyed(claims, n);

    sql = ngx_http_fcchat_store_rights_sql(store, job->pool, keyed);

    params[0] = ngx_http_fcchat_store_rights_keys(job->pool, claims, n);
    params[1] = ngx_http_fcchat_store_rights_array(job->pool, claims, n, 0);
    params[2] = ngx_http_fcchat_store_rights_array(job->pool, claims, n, 1);

    if (sql == NULL
        || params[0] == NULL
        || params[1] == NULL
        || params[2] == NULL
        || ngx_http_fcchat_pg_query(job, sql, 3, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_rights_read,
                                          handler, data);
}


/*
 * The site's own statements are asked for one row of each.  Where sessions are
 * no rows there may be no table of them, nor the right to read it.
 */

static const char *
ngx_http_fcchat_store_rights_sql(ngx_http_fcchat_store_t *store,
    ngx_pool_t *pool, ngx_uint_t keyed)
{
    size_t       size;
    fcc_buf_t    b;
    const char  *session, *user;
    u_char      *p;

    session = ngx_http_fcchat_store_query(store,
                                          NGX_HTTP_FCCHAT_STORE_Q_SESSION);
    user = ngx_http_fcchat_store_query(store, NGX_HTTP_FCCHAT_STORE_Q_USER);

    /* two bytes of "$1" become up to seven */

    size = 4 * ((session ? ngx_strlen(session) : 0)
                + (user ? ngx_strlen(user) : 0))
           + NGX_HTTP_FCCHAT_STORE_RIGHTS_SIZE;

    p = ngx_pnalloc(pool, size);
    if (p == NULL) {
        return NULL;
    }

    fcc_buf_init(&b, p, size);

    fcc_buf_put(&b, ngx_http_fcchat_store_rights_head,
                sizeof(ngx_http_fcchat_store_rights_head) - 1);

    if (keyed) {
        ngx_http_fcchat_store_rights_one(&b, session,
                                         NGX_HTTP_FCCHAT_STORE_SESSION_SQL,
                                         "fcc.key");

    } else {
        fcc_buf_lit(&b, "SELECT NULL::text");
    }

    fcc_buf_put(&b, ngx_http_fcchat_store_rights_session,
                sizeof(ngx_http_fcchat_store_rights_session) - 1);

    ngx_http_fcchat_store_rights_one(&b, user, NGX_HTTP_FCCHAT_STORE_USER_SQL,
                                     "fcc.id");

    /* with its NUL */

    fcc_buf_put(&b, ngx_http_fcchat_store_rights_user,
                sizeof(ngx_http_fcchat_store_rights_user));

    return b.full ? NULL : (const char *) p;
}


static ngx_uint_t
ngx_http_fcchat_store_rights_keyed(ngx_http_fcchat_store_claim_t *claims,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (claims[i].key.len) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_fcchat_store_rights_one(fcc_buf_t *b, const char *own,
    const char *ours, const char *value)
{
    if (own == NULL) {
        fcc_sql_bind(b, (const u_char *) ours, ngx_strlen(ours), value);
        return;
    }

    fcc_buf_lit(b, "SELECT * FROM (\n");
    fcc_sql_bind(b, (const u_char *) own, ngx_strlen(own), value);
    fcc_buf_lit(b, "\n) AS q LIMIT 1");
}


/* as text[]; no key needs more than quotes, and an empty one needs them */

static const char *
ngx_http_fcchat_store_rights_keys(ngx_pool_t *pool,
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n)
{
    size_t       size;
    u_char      *p, *array;
    ngx_uint_t   i;

    size = sizeof("{}");

    for (i = 0; i < n; i++) {
        size += claims[i].key.len + sizeof(",\"\"") - 1;
    }

    array = ngx_pnalloc(pool, size);
    if (array == NULL) {
        return NULL;
    }

    p = array;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, i ? ",\"%V\"" : "\"%V\"", &claims[i].key);
    }

    *p++ = '}';
    *p = '\0';

    return (const char *) array;
}


/* the users, or the marks */

static const char *
ngx_http_fcchat_store_rights_array(ngx_pool_t *pool,
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n, ngx_uint_t marks)
{
    int64_t     *elts;
    ngx_uint_t   i;

    elts = ngx_palloc(pool, n * sizeof(int64_t));
    if (elts == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        elts[i] = marks ? claims[i].mark : claims[i].user_id;
    }

    return ngx_http_fcchat_store_array(pool, elts, n);
}


static ngx_int_t
ngx_http_fcchat_store_rights_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    int64_t                         mark;
    PGresult                       *res;
    ngx_int_t                       i, n;
    ngx_http_fcchat_store_right_t  *r;

    n = ngx_http_fcchat_store_rows(job, 1,
                                   NGX_HTTP_FCCHAT_STORE_RIGHTS_COLUMNS);

    if (n < 0) {
        return NGX_ERROR;
    }

    res = job->results[1];

    r = ngx_pcalloc(job->pool,
                    (n + 1) * sizeof(ngx_http_fcchat_store_right_t));
    if (r == NULL) {
        return NGX_ERROR;
    }

    answer->rights = r;
    answer->n = n;

    for (i = 0; i < n; i++, r++) {

        if (ngx_http_fcchat_store_int(res, i, 4, &mark) != NGX_OK) {
            return NGX_ERROR;
        }

        r->session = ngx_http_fcchat_store_flag(res, i, 0);
        r->user = ngx_http_fcchat_store_flag(res, i, 1);
        r->active = ngx_http_fcchat_store_flag(res, i, 2);
        r->staff = ngx_http_fcchat_store_flag(res, i, 3);
        r->same = ngx_http_fcchat_store_flag(res, i, 5);
        r->mark = (uint32_t) mark;

        ngx_http_fcchat_store_text(res, i, 6, &r->data);
        ngx_http_fcchat_store_text(res, i, 7, &r->password);
    }

    return NGX_OK;
}
