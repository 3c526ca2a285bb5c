
/*
 * A batch of items as one call of fcchat_append(), and its rows back into the
 * items.
 *
 * The parameters are arrays in text form.  Each text is put in quotes with '"'
 * and '\\' escaped, which is all that array_in() asks for; a number needs none.
 */


#include <ngx_http_fcchat_store_int.h>


static ngx_int_t ngx_http_fcchat_store_append_arrays(ngx_pool_t *pool,
    ngx_queue_t *items, const char **params);
static u_char *ngx_http_fcchat_store_quote(u_char *p, ngx_str_t *text);
static ngx_int_t ngx_http_fcchat_store_append_row(PGresult *res,
    ngx_uint_t row, ngx_http_fcchat_store_item_t *item);


ngx_http_fcchat_pg_job_t *
ngx_http_fcchat_store_append(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_queue_t *items, ngx_uint_t patient)
{
    const char                *sql, *params[5];
    ngx_http_fcchat_pg_job_t  *job;

    job = ngx_http_fcchat_pg_job(store->log);
    if (job == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_sql(job->pool,
                          "SELECT item, status, seq, id, at, epoch "
                          "FROM %s.fcchat_append($1::bigint[], $2::bigint[], "
                          "$3::text[], $4::text[], $5::boolean)", schema);

    params[4] = patient ? "t" : "f";

    if (sql == NULL
        || ngx_http_fcchat_store_append_arrays(job->pool, items, params)
           != NGX_OK
        || ngx_http_fcchat_pg_prepared(job, sql, 5, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return job;
}


static ngx_int_t
ngx_http_fcchat_store_append_arrays(ngx_pool_t *pool, ngx_queue_t *items,
    const char **params)
{
    u_char                        *rooms, *users, *cids, *texts;
    u_char                        *room, *user, *cid, *text, sep;
    size_t                         n, cids_len, texts_len;
    ngx_queue_t                   *q;
    ngx_http_fcchat_store_item_t  *item;

    n = 0;
    cids_len = 0;
    texts_len = 0;

    for (q = ngx_queue_head(items);
         q != ngx_queue_sentinel(items);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        n++;
        cids_len += 2 * item->cid.len + sizeof(",\"\"") - 1;
        texts_len += 2 * item->text.len + sizeof(",\"\"") - 1;
    }

    rooms = ngx_pnalloc(pool, n * (NGX_INT64_LEN + 1) + sizeof("{}"));
    users = ngx_pnalloc(pool, n * (NGX_INT64_LEN + 1) + sizeof("{}"));
    cids = ngx_pnalloc(pool, cids_len + sizeof("{}"));
    texts = ngx_pnalloc(pool, texts_len + sizeof("{}"));

    if (rooms == NULL || users == NULL || cids == NULL || texts == NULL) {
        return NGX_ERROR;
    }

    room = rooms;
    user = users;
    cid = cids;
    text = texts;
    sep = '{';

    for (q = ngx_queue_head(items);
         q != ngx_queue_sentinel(items);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        *room++ = sep;
        *user++ = sep;
        *cid++ = sep;
        *text++ = sep;

        room = ngx_sprintf(room, "%L", item->room_id);
        user = ngx_sprintf(user, "%L", item->user_id);
        cid = ngx_http_fcchat_store_quote(cid, &item->cid);
        text = ngx_http_fcchat_store_quote(text, &item->text);

        sep = ',';
    }

    ngx_memcpy(room, "}", 2);
    ngx_memcpy(user, "}", 2);
    ngx_memcpy(cid, "}", 2);
    ngx_memcpy(text, "}", 2);

    params[0] = (const char *) rooms;
    params[1] = (const char *) users;
    params[2] = (const char *) cids;
    params[3] = (const char *) texts;

    return NGX_OK;
}


static u_char *
ngx_http_fcchat_store_quote(u_char *p, ngx_str_t *text)
{
    u_char  *s, *last;

    s = text->data;
    last = s + text->len;

    *p++ = '"';

    while (s < last) {
        if (*s == '"' || *s == '\\') {
            *p++ = '\\';
        }

        *p++ = *s++;
    }

    *p++ = '"';

    return p;
}


ngx_int_t
ngx_http_fcchat_store_append_read(ngx_http_fcchat_pg_job_t *job,
    ngx_queue_t *items, ngx_uint_t n)
{
    ngx_uint_t                     row;
    ngx_queue_t                   *q;
    ngx_http_fcchat_store_item_t  *item;

    if (ngx_http_fcchat_store_rows(job, 0, 6) != (ngx_int_t) n) {
        return NGX_ERROR;
    }

    row = 0;

    for (q = ngx_queue_head(items);
         q != ngx_queue_sentinel(items);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        if (ngx_http_fcchat_store_append_row(job->results[0], row++, item)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_store_append_row(PGresult *res, ngx_uint_t row,
    ngx_http_fcchat_store_item_t *item)
{
    int64_t    ordinal;
    ngx_str_t  status, epoch;

    if (ngx_http_fcchat_store_int(res, row, 0, &ordinal) != NGX_OK
        || ordinal != (int64_t) row + 1)
    {
        return NGX_ERROR;
    }

    item->again = 0;

    ngx_http_fcchat_store_text(res, row, 1, &status);

    if (ngx_strcmp(status.data, "room") == 0) {
        item->rc = NGX_HTTP_FCCHAT_STORE_ROOM_GONE;
        return NGX_OK;
    }

    if (ngx_strcmp(status.data, "user") == 0) {
        item->rc = NGX_HTTP_FCCHAT_STORE_USER_GONE;
        return NGX_OK;
    }

    if (ngx_strcmp(status.data, "busy") == 0) {
        item->rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
        return NGX_OK;
    }

    if (ngx_strcmp(status.data, "again") == 0) {

        /* a cid made here was there: the first answer to it was lost */

        item->again = !item->made_cid;

    } else if (ngx_strcmp(status.data, "ok") != 0) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(res, row, 5, &epoch);

    if (ngx_http_fcchat_store_int(res, row, 2, &item->seq) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, row, 3, &item->id) != NGX_OK
        || ngx_http_fcchat_store_int(res, row, 4, &item->at) != NGX_OK
        || item->seq < 1
        || epoch.len == 0
        || epoch.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(item->epoch, epoch.data, epoch.len);

    item->epoch_len = epoch.len;
    item->rc = NGX_HTTP_FCCHAT_STORE_OK;

    return NGX_OK;
}
