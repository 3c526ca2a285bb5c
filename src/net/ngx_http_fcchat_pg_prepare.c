
/*
 * Prepared statements of a connection.
 *
 *     NEW ---Parse sent---> PARSING ---its answer---> READY
 *      ^                       |                        |
 *      +------ it failed ------+---- its use failed ----+
 *
 * While a statement is PARSING others send its text as before, so that nobody
 * but the job that brought the Parse depends on it.  A Parse is not undone
 * when its transaction fails.
 *
 * What may come back from its use: the tables have been changed (0A000), or
 * another connection of the server answers, as behind a pooler (26000, and
 * 42P05 for the Parse).  Nothing was done then: the same job goes again as
 * text, and the statement begins anew under another name, a few times; after
 * that the text is sent for as long as the connection lives.  A name stands for
 * its text, so that a stranger's statement can't be taken for ours.
 *
 * They belong to the connection and go with it.
 */


#include <ngx_http_fcchat_pg_int.h>


#define NGX_HTTP_FCCHAT_PG_STATEMENTS  256      /* of a connection */
#define NGX_HTTP_FCCHAT_PG_TRIES       4        /* of one */


static ngx_http_fcchat_pg_statement_t *ngx_http_fcchat_pg_statement(
    ngx_http_fcchat_pg_conn_t *conn, const char *sql);


int
ngx_http_fcchat_pg_prepare_send(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_pg_query_t *q)
{
    ngx_http_fcchat_pg_statement_t  *st;

    /* it may come from a connection that was lost while it was sent */

    q->parsing = 0;

    st = (q->prepared && !job->plain)
         ? ngx_http_fcchat_pg_statement(conn, q->sql) : NULL;

    if (st == NULL || st->state == NGX_HTTP_FCCHAT_PG_PARSING) {
        q->statement = NULL;

        return PQsendQueryParams(conn->pgc, q->sql, (int) q->nparams, NULL,
                                 q->params, NULL, NULL, 0);
    }

    q->statement = st;

    if (st->state == NGX_HTTP_FCCHAT_PG_NEW) {
        (void) ngx_snprintf((u_char *) st->name, sizeof(st->name),
                            "fcchat_%08xD%08xD_%ui%Z",
                            ngx_murmur_hash2(st->sn.str.data, st->sn.str.len),
                            ngx_crc32_long(st->sn.str.data, st->sn.str.len),
                            st->tries);

        if (PQsendPrepare(conn->pgc, st->name, q->sql, 0, NULL) != 1) {
            return 0;
        }

        st->state = NGX_HTTP_FCCHAT_PG_PARSING;
        q->parsing = 1;
    }

    return PQsendQueryPrepared(conn->pgc, st->name, (int) q->nparams,
                               q->params, NULL, NULL, 0);
}


static ngx_http_fcchat_pg_statement_t *
ngx_http_fcchat_pg_statement(ngx_http_fcchat_pg_conn_t *conn, const char *sql)
{
    uint32_t                         hash;
    ngx_str_t                        text;
    ngx_http_fcchat_pg_statement_t  *st;

    text.data = (u_char *) sql;
    text.len = ngx_strlen(sql);

    hash = ngx_crc32_long(text.data, text.len);

    st = (ngx_http_fcchat_pg_statement_t *)
              ngx_str_rbtree_lookup(&conn->statements, &text, hash);

    if (st) {
        return (st->tries < NGX_HTTP_FCCHAT_PG_TRIES) ? st : NULL;
    }

    if (conn->nstatements == NGX_HTTP_FCCHAT_PG_STATEMENTS) {
        return NULL;
    }

    st = ngx_alloc(sizeof(ngx_http_fcchat_pg_statement_t) + text.len,
                   conn->pg->log);
    if (st == NULL) {
        return NULL;
    }

    ngx_memzero(st, sizeof(ngx_http_fcchat_pg_statement_t));

    st->sn.node.key = hash;
    st->sn.str.len = text.len;
    st->sn.str.data = (u_char *) (st + 1);
    ngx_memcpy(st->sn.str.data, text.data, text.len);

    ngx_rbtree_insert(&conn->statements, &st->sn.node);
    conn->nstatements++;

    return st;
}


void
ngx_http_fcchat_pg_prepare_parsed(ngx_http_fcchat_pg_query_t *q,
    ExecStatusType status)
{
    ngx_http_fcchat_pg_statement_t  *st;

    st = q->statement;

    if (status == PGRES_COMMAND_OK) {
        st->state = NGX_HTTP_FCCHAT_PG_READY;
        return;
    }

    st->state = NGX_HTTP_FCCHAT_PG_NEW;

    if (status != PGRES_PIPELINE_ABORTED) {
        st->tries++;
    }
}


ngx_uint_t
ngx_http_fcchat_pg_prepare_again(ngx_http_fcchat_pg_job_t *job)
{
    ngx_uint_t                       i, named;
    ngx_http_fcchat_pg_statement_t  *st;

    if (job->plain
        || (ngx_strcmp(job->sqlstate, "0A000") != 0
            && ngx_strcmp(job->sqlstate, "26000") != 0
            && ngx_strcmp(job->sqlstate, "42P05") != 0))
    {
        return 0;
    }

    named = 0;

    for (i = 0; i < job->nqueries; i++) {
        st = job->queries[i].statement;

        if (st == NULL) {
            continue;
        }

        named = 1;

        /* of several jobs that fail for one reason the first one tells */

        if (st->state == NGX_HTTP_FCCHAT_PG_READY) {
            st->state = NGX_HTTP_FCCHAT_PG_NEW;
            st->tries++;
        }
    }

    if (!named) {
        return 0;
    }

    for (i = 0; i < NGX_HTTP_FCCHAT_PG_QUERIES; i++) {
        PQclear(job->results[i]);
        job->results[i] = NULL;
    }

    job->plain = 1;
    job->read = 0;
    job->failed = 0;
    job->sqlstate[0] = '\0';
    ngx_str_null(&job->message);

    return 1;
}


void
ngx_http_fcchat_pg_prepare_init(ngx_http_fcchat_pg_conn_t *conn)
{
    ngx_rbtree_init(&conn->statements, &conn->sentinel,
                    ngx_str_rbtree_insert_value);

    conn->nstatements = 0;
}


void
ngx_http_fcchat_pg_prepare_free(ngx_http_fcchat_pg_conn_t *conn)
{
    ngx_rbtree_node_t  *node;

    while (conn->statements.root != &conn->sentinel) {
        node = conn->statements.root;

        ngx_rbtree_delete(&conn->statements, node);
        ngx_free(node);
    }

    conn->nstatements = 0;
}
