
/*
 * Whose a host is: django-tenants' two tables.
 *
 * They are the site's, with names of its own, and lie in one schema for all
 * tenants; nothing that sql/ makes is needed for them.
 */


#include <ngx_http_fcchat_store_int.h>


static u_char *ngx_http_fcchat_store_table(u_char *p, ngx_str_t *name);
static ngx_int_t ngx_http_fcchat_store_tenant_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


const char *
ngx_http_fcchat_store_tenant_sql(ngx_pool_t *pool, ngx_str_t *domains,
    ngx_str_t *tenants)
{
    u_char  *p;
    u_char   domain[NGX_HTTP_FCCHAT_STORE_TABLE_LEN];
    u_char   tenant[NGX_HTTP_FCCHAT_STORE_TABLE_LEN];

    static const char  format[] = "SELECT t.schema_name FROM %s d "
                                  "JOIN %s t ON t.id = d.tenant_id "
                                  "WHERE d.domain = $1";

    if (ngx_http_fcchat_store_table(domain, domains) == NULL
        || ngx_http_fcchat_store_table(tenant, tenants) == NULL)
    {
        return NULL;
    }

    p = ngx_pnalloc(pool, sizeof(format) + sizeof(domain) + sizeof(tenant));
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, format, domain, tenant)[0] = '\0';

    return (const char *) p;
}


const char *
ngx_http_fcchat_store_tenants_sql(ngx_pool_t *pool, ngx_str_t *tenants)
{
    u_char  *p;
    u_char   tenant[NGX_HTTP_FCCHAT_STORE_TABLE_LEN];

    static const char  format[] = "SELECT t.schema_name FROM %s t "
                                  "WHERE t.schema_name > $1 "
                                  "ORDER BY t.schema_name LIMIT $2::bigint";

    if (ngx_http_fcchat_store_table(tenant, tenants) == NULL) {
        return NULL;
    }

    p = ngx_pnalloc(pool, sizeof(format) + sizeof(tenant));
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, format, tenant)[0] = '\0';

    return (const char *) p;
}


/*
 * "schema"."name" with a NUL, as Django quotes it: case counts.  NULL when it
 * is neither NAME nor SCHEMA.NAME.
 */

static u_char *
ngx_http_fcchat_store_table(u_char *p, ngx_str_t *name)
{
    u_char      c;
    size_t      i, len;
    ngx_uint_t  parts;

    p = ngx_cpymem(p, "\"", 1);

    if (ngx_strlchr(name->data, name->data + name->len, '.') == NULL) {
        p = ngx_cpymem(p, "public\".\"", sizeof("public\".\"") - 1);
    }

    len = 0;
    parts = 1;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (c == '.') {
            if (len == 0 || ++parts > 2) {
                return NULL;
            }

            p = ngx_cpymem(p, "\".\"", 3);
            len = 0;
            continue;
        }

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
              || (c >= '0' && c <= '9')))
        {
            return NULL;
        }

        if (++len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX) {
            return NULL;
        }

        *p++ = c;
    }

    if (len == 0) {
        return NULL;
    }

    *p++ = '"';
    *p = '\0';

    return p;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_tenant(ngx_http_fcchat_store_t *store, const char *sql,
    ngx_str_t *host, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *param;
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    static ngx_str_t  schema = ngx_string("public");

    ask = ngx_http_fcchat_store_ask(store, &schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    ask->file = NULL;

    param = ngx_http_fcchat_store_param(job->pool, host);

    if (param == NULL
        || ngx_http_fcchat_pg_query(job, sql, 1, &param) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_tenant_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_tenant_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t  n;

    n = ngx_http_fcchat_store_rows(job, 1, 1);

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (n != 1) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(job->results[1], 0, 0, &answer->data);

    return NGX_OK;
}
