
/*
 * Directives that name files with secrets: read while the configuration is,
 * kept in memory alone, and told to nobody.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_SECRET_MAX  4096    /* bytes of a file */
#define NGX_HTTP_FCCHAT_SECRET_MIN  16      /* of a secret of ours */


static char *ngx_http_fcchat_read_secret(ngx_conf_t *cf, ngx_str_t *name,
    fcc_str_t *key);
static char *ngx_http_fcchat_check_secret(ngx_conf_t *cf, ngx_str_t *name,
    fcc_str_t *key);


char *
ngx_http_fcchat_set_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                  *rv;
    ngx_str_t             *value;
    ngx_uint_t             i;
    fcc_django_secrets_t  *secrets, **sp;

    sp = (fcc_django_secrets_t **) ((char *) conf + cmd->offset);

    if (*sp != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (cf->args->nelts - 1 > FCC_DJANGO_SECRETS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many key files, there can be %d",
                           FCC_DJANGO_SECRETS);
        return NGX_CONF_ERROR;
    }

    secrets = ngx_pcalloc(cf->pool, sizeof(fcc_django_secrets_t));
    if (secrets == NULL) {
        return NGX_CONF_ERROR;
    }

    *sp = secrets;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_fcchat_read_secret(cf, &value[i], &secrets->key[i - 1]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }

        secrets->n++;
    }

    return NGX_CONF_OK;
}


/* who knows one of them may write and moderate everywhere */

char *
ngx_http_fcchat_set_api_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    rv = ngx_http_fcchat_set_secret(cf, cmd, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_fcchat_check_secret(cf, &value[i],
                                          &lcf->api_secrets->key[i - 1]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


/* the first file has the secret that seals, the others those of before */

char *
ngx_http_fcchat_set_redis_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    char        *rv;
    fcc_str_t    secret;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (lcf->seal != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (cf->args->nelts - 1 > FCC_SEAL_KEYS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many key files, there can be %d",
                           FCC_SEAL_KEYS);
        return NGX_CONF_ERROR;
    }

    lcf->seal = ngx_pcalloc(cf->pool, sizeof(fcc_seal_t));
    if (lcf->seal == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_fcchat_read_secret(cf, &value[i], &secret);
        if (rv != NGX_CONF_OK) {
            return rv;
        }

        rv = ngx_http_fcchat_check_secret(cf, &value[i], &secret);
        if (rv != NGX_CONF_OK) {
            return rv;
        }

        if (fcc_seal_add(lcf->seal, secret.data, secret.len) != FCC_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_read_secret(ngx_conf_t *cf, ngx_str_t *name, fcc_str_t *key)
{
    u_char           *p;
    size_t            len;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_CONF_ERROR;
    }

    p = ngx_pcalloc(cf->pool, NGX_HTTP_FCCHAT_SECRET_MAX);
    n = p ? ngx_read_fd(fd, p, NGX_HTTP_FCCHAT_SECRET_MAX) : -1;

    if (n != -1 && ngx_fd_info(fd, &fi) != NGX_FILE_ERROR
        && (ngx_file_access(&fi) & 0007))
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "key file \"%V\" can be read by everybody", name);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", name);
    }

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "could not read key file \"%V\"", name);
        return NGX_CONF_ERROR;
    }

    for (len = 0; len < (size_t) n; len++) {
        if (p[len] == LF || p[len] == CR) {
            break;
        }
    }

    if (len == 0 || len == NGX_HTTP_FCCHAT_SECRET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key file \"%V\" must have a key in its first line",
                           name);
        return NGX_CONF_ERROR;
    }

    key->len = len;
    key->data = p;

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_check_secret(ngx_conf_t *cf, ngx_str_t *name, fcc_str_t *key)
{
    if (key->len < NGX_HTTP_FCCHAT_SECRET_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the key in \"%V\" must have at least %d "
                           "characters, as \"openssl rand -hex 32\" makes them",
                           name, NGX_HTTP_FCCHAT_SECRET_MIN);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
