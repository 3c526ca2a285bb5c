
/*
 * What the query of a request of the HTTP API says: pages and times.
 */


#include <ngx_http_fcchat_api.h>


#define NGX_HTTP_FCCHAT_API_MINUTE    60000LL   /* ms */
#define NGX_HTTP_FCCHAT_API_TIME_MAX  253402300740000LL   /* of the year 9999 */


static ngx_int_t ngx_http_fcchat_api_query_page(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_query_list(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_query_range(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_number(ngx_http_fcchat_api_t *api,
    const char *name, int64_t max, int64_t *n);
static ngx_int_t ngx_http_fcchat_api_time(ngx_http_fcchat_api_t *api,
    const char *name, int64_t *ms);
static ngx_int_t ngx_http_fcchat_api_bad(ngx_http_fcchat_api_t *api,
    const char *text);


ngx_int_t
ngx_http_fcchat_api_query(ngx_http_fcchat_api_t *api)
{
    switch (api->path.resource) {

    case FCC_API_HISTORY:
        return ngx_http_fcchat_api_query_page(api);

    case FCC_API_REACTIONS:
        return ngx_http_fcchat_api_query_range(api);

    case FCC_API_BANS:
    case FCC_API_AUDIT:
        return ngx_http_fcchat_api_query_list(api);

    default:
        return NGX_DECLINED;
    }
}


static ngx_int_t
ngx_http_fcchat_api_query_page(ngx_http_fcchat_api_t *api)
{
    api->limit = FCC_PROTO_HISTORY;
    api->before = -1;
    api->after = -1;

    if (ngx_http_fcchat_api_number(api, "limit", FCC_PROTO_HISTORY_MAX,
                                   &api->limit)
        != NGX_OK
        || api->limit == 0)
    {
        return ngx_http_fcchat_api_bad(api,
                                       "The \"limit\" must be from 1 to 100.");
    }

    if (ngx_http_fcchat_api_number(api, "before", FCC_API_NUMBER_MAX,
                                   &api->before)
        != NGX_OK
        || ngx_http_fcchat_api_number(api, "after", FCC_API_NUMBER_MAX,
                                      &api->after)
           != NGX_OK)
    {
        return ngx_http_fcchat_api_bad(api,
                                       "A \"before\" or \"after\" must be "
                                       "a number.");
    }

    if (api->before >= 0 && api->after >= 0) {
        return ngx_http_fcchat_api_bad(api,
                                       "There can be a \"before\" or "
                                       "an \"after\".");
    }

    return NGX_DECLINED;
}


/* newest first, so there is nothing after a page */

static ngx_int_t
ngx_http_fcchat_api_query_list(ngx_http_fcchat_api_t *api)
{
    ngx_int_t   rc;
    ngx_str_t   value;

    rc = ngx_http_fcchat_api_query_page(api);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (api->after >= 0) {
        return ngx_http_fcchat_api_bad(api, "There is no \"after\" here.");
    }

    if (ngx_http_arg(api->ctx.request, (u_char *) "scope", 5, &value)
        != NGX_OK
        || (value.len == 4 && ngx_strncmp(value.data, "room", 4) == 0))
    {
        return NGX_DECLINED;
    }

    if (value.len == 6 && ngx_strncmp(value.data, "tenant", 6) == 0) {
        api->tenant = 1;
        return NGX_DECLINED;
    }

    return ngx_http_fcchat_api_bad(api, "The \"scope\" is \"room\" or "
                                        "\"tenant\".");
}


/* whole minutes, the last of which may not be over */

static ngx_int_t
ngx_http_fcchat_api_query_range(ngx_http_fcchat_api_t *api)
{
    int64_t      rest;
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    api->to = (int64_t) tp->sec * 1000 + tp->msec;

    if (ngx_http_fcchat_api_time(api, "to", &api->to) != NGX_OK) {
        return ngx_http_fcchat_api_bad(api, "The \"to\" must be a time.");
    }

    api->from = ngx_max(api->to - 60 * NGX_HTTP_FCCHAT_API_MINUTE, 0);

    if (ngx_http_fcchat_api_time(api, "from", &api->from) != NGX_OK) {
        return ngx_http_fcchat_api_bad(api, "The \"from\" must be a time.");
    }

    if (api->from >= api->to
        || api->to - api->from > NGX_HTTP_FCCHAT_API_RANGE)
    {
        return ngx_http_fcchat_api_bad(api,
                                       "The \"from\" must be before \"to\", "
                                       "by 24 hours at most.");
    }

    api->from -= api->from % NGX_HTTP_FCCHAT_API_MINUTE;

    rest = api->to % NGX_HTTP_FCCHAT_API_MINUTE;

    if (rest) {
        api->to += NGX_HTTP_FCCHAT_API_MINUTE - rest;
    }

    return NGX_DECLINED;
}


/* NGX_OK with the value as it was where the query has none */

static ngx_int_t
ngx_http_fcchat_api_number(ngx_http_fcchat_api_t *api, const char *name,
    int64_t max, int64_t *n)
{
    ngx_str_t  value;

    if (ngx_http_arg(api->ctx.request, (u_char *) name, ngx_strlen(name),
                     &value)
        != NGX_OK)
    {
        return NGX_OK;
    }

    return (fcc_api_number(value.data, value.len, 0, max, n) == FCC_OK)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_api_time(ngx_http_fcchat_api_t *api, const char *name,
    int64_t *ms)
{
    u_char     *dst, *src;
    ngx_str_t   value;
    u_char      buf[NGX_HTTP_FCCHAT_API_CURSOR];

    if (ngx_http_arg(api->ctx.request, (u_char *) name, ngx_strlen(name),
                     &value)
        != NGX_OK)
    {
        return NGX_OK;
    }

    if (value.len > sizeof(buf)) {
        return NGX_ERROR;
    }

    dst = buf;
    src = value.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    return (fcc_api_time(buf, dst - buf, ms) == FCC_OK
            && *ms <= NGX_HTTP_FCCHAT_API_TIME_MAX)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_api_bad(ngx_http_fcchat_api_t *api, const char *text)
{
    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_BAD_REQUEST, "bad_request",
                                      text, -1);
}
