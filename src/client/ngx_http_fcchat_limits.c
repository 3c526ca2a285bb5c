
/*
 * The directives that limit users and addresses.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_SOCKETS_MAX  1000000


/* "user=N" and "ip=N", each a number or "off"; what is not said has the
 * default */

char *
ngx_http_fcchat_set_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    size_t       skip;
    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i, *max;

    if (lcf->user_max != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    lcf->user_max = NGX_HTTP_FCCHAT_USER_MAX;
    lcf->addr_max = NGX_HTTP_FCCHAT_ADDR_MAX;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        max = NULL;
        skip = 0;

        if (ngx_strncmp(value[i].data, "user=", 5) == 0) {
            max = &lcf->user_max;
            skip = 5;

        } else if (ngx_strncmp(value[i].data, "ip=", 3) == 0) {
            max = &lcf->addr_max;
            skip = 3;
        }

        if (max && ngx_strcmp(value[i].data + skip, "off") == 0) {
            *max = 0;
            continue;
        }

        n = max ? ngx_atoi(value[i].data + skip, value[i].len - skip)
                : NGX_ERROR;

        if (n < 1 || n > NGX_HTTP_FCCHAT_SOCKETS_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", it must be "
                               "\"user=N\" or \"ip=N\", from 1 to %d or "
                               "\"off\"", &value[i],
                               NGX_HTTP_FCCHAT_SOCKETS_MAX);
            return NGX_CONF_ERROR;
        }

        *max = n;
    }

    return NGX_CONF_OK;
}


/* "off", or "on" with "limit=N" and "grace=T", which have defaults */

char *
ngx_http_fcchat_set_presence(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value, time;
    ngx_uint_t   i;

    if (lcf->presence != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->presence = ngx_strcmp(value[1].data, "on") == 0;
    lcf->presence_limit = NGX_HTTP_FCCHAT_PRESENCE_LIMIT;
    lcf->presence_grace = NGX_HTTP_FCCHAT_PRESENCE_GRACE;

    if (!lcf->presence
        && (ngx_strcmp(value[1].data, "off") != 0 || cf->args->nelts > 2))
    {
        return "must be \"off\", or \"on\" with \"limit=N\" and \"grace=TIME\"";
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "limit=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n >= 1 && n <= NGX_HTTP_FCCHAT_PRESENCE_LIMIT_MAX) {
                lcf->presence_limit = n;
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "grace=", 6) == 0) {
            time.len = value[i].len - 6;
            time.data = value[i].data + 6;

            n = ngx_parse_time(&time, 0);

            if (n >= 0 && n <= NGX_HTTP_FCCHAT_PRESENCE_GRACE_MAX) {
                lcf->presence_grace = n;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it must be "
                           "\"limit=N\", from 1 to %d, or \"grace=TIME\", up "
                           "to 5m", &value[i],
                           NGX_HTTP_FCCHAT_PRESENCE_LIMIT_MAX);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* as limit_req's, but a burst is all that the bucket holds; post: defaults */

char *
ngx_http_fcchat_set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t     burst;
    ngx_str_t    *value;
    fcc_rate_t  **rate, *def;

    rate = (fcc_rate_t **) ((char *) conf + cmd->offset);

    if (*rate != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        *rate = NULL;
        return NGX_CONF_OK;
    }

    *rate = ngx_palloc(cf->pool, sizeof(fcc_rate_t));
    if (*rate == NULL) {
        return NGX_CONF_ERROR;
    }

    def = cmd->post;
    **rate = *def;

    if (fcc_rate_parse(*rate, value[1].data, value[1].len) != FCC_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\", it must be \"off\" or as "
                           "\"5r/s\" or \"30r/m\", up to %d", &value[1],
                           FCC_RATE_MAX);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    burst = (ngx_strncmp(value[2].data, "burst=", 6) == 0)
            ? ngx_atoi(value[2].data + 6, value[2].len - 6) : NGX_ERROR;

    if (burst == NGX_ERROR || burst < 1 || burst > FCC_RATE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it must be "
                           "\"burst=N\", from 1 to %d", &value[2],
                           FCC_RATE_MAX);
        return NGX_CONF_ERROR;
    }

    (*rate)->burst = burst;

    return NGX_CONF_OK;
}
