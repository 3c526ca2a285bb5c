
/*
 * One URL of fcchat_redis, while the configuration is read.
 */


#include <ngx_http_fcchat_redis.h>
#include <sys/un.h>


#define NGX_HTTP_FCCHAT_REDIS_PORT  6379


static char *ngx_http_fcchat_redis_conf_unix(ngx_conf_t *cf, ngx_str_t *path,
    ngx_http_fcchat_redis_conf_t *conf);
static char *ngx_http_fcchat_redis_conf_tcp(ngx_conf_t *cf, u_char *p,
    u_char *last, ngx_http_fcchat_redis_conf_t *conf);
static char *ngx_http_fcchat_redis_conf_user(ngx_conf_t *cf, u_char *p,
    u_char *last, ngx_http_fcchat_redis_conf_t *conf);
static char *ngx_http_fcchat_redis_conf_host(ngx_conf_t *cf, ngx_url_t *u,
    ngx_http_fcchat_redis_conf_t *conf);
static char *ngx_http_fcchat_redis_conf_decode(ngx_conf_t *cf, ngx_str_t *dst,
    u_char *p, u_char *last);


char *
ngx_http_fcchat_redis_conf(ngx_conf_t *cf, ngx_str_t *url,
    ngx_http_fcchat_redis_conf_t *conf)
{
    u_char     *p, *last;
    ngx_str_t   path;

    p = url->data;
    last = p + url->len;

    if (ngx_strlchr(p, last, '\0')) {
        return "a zero byte in the URL";
    }

    ngx_memzero(conf, sizeof(ngx_http_fcchat_redis_conf_t));

    if (url->len > 5 && ngx_strncmp(p, "unix:", 5) == 0) {
        path.data = p + 5;
        path.len = url->len - 5;
        return ngx_http_fcchat_redis_conf_unix(cf, &path, conf);
    }

    if (url->len > 8 && ngx_strncmp(p, "redis://", 8) == 0) {
        return ngx_http_fcchat_redis_conf_tcp(cf, p + 8, last, conf);
    }

    if (url->len > 9 && ngx_strncmp(p, "rediss://", 9) == 0) {
        return "TLS is not spoken to Redis: use a Unix socket or a tunnel";
    }

    return "not a URL of Redis: redis://[user:password@]host[:port] or "
           "unix:/path is right";
}


static char *
ngx_http_fcchat_redis_conf_unix(ngx_conf_t *cf, ngx_str_t *path,
    ngx_http_fcchat_redis_conf_t *conf)
{
    u_char  *p;

    if (path->data[0] != '/') {
        return "not an absolute path of a Unix socket: unix:/path is right";
    }

    if (path->len >= sizeof(((struct sockaddr_un *) 0)->sun_path)) {
        return "too long a path of a Unix socket";
    }

    p = ngx_pnalloc(cf->pool, sizeof("unix:") + path->len);
    if (p == NULL) {
        return "no memory";
    }

    conf->url.data = p;
    conf->url.len = ngx_sprintf(p, "unix:%V%Z", path) - p - 1;
    conf->path = (char *) p + 5;

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_redis_conf_tcp(ngx_conf_t *cf, u_char *p, u_char *last,
    ngx_http_fcchat_redis_conf_t *conf)
{
    char       *rc;
    u_char     *at;
    ngx_url_t   u;

    for (at = last; at > p && at[-1] != '@'; at--) { /* void */ }

    if (at > p) {
        rc = ngx_http_fcchat_redis_conf_user(cf, p, at - 1, conf);
        if (rc != NGX_CONF_OK) {
            return rc;
        }

        p = at;
    }

    if (last > p && last[-1] == '/') {
        last--;
    }

    if (ngx_strlchr(p, last, '/') || ngx_strlchr(p, last, '?')) {
        return "nothing may follow the port: channels are the same in all of "
               "Redis's databases";
    }

    if (p == last || *p == ':') {
        return "no host in the URL";
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url.data = p;
    u.url.len = last - p;
    u.default_port = NGX_HTTP_FCCHAT_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        return u.err ? u.err : "bad host in the URL";
    }

    return ngx_http_fcchat_redis_conf_host(cf, &u, conf);
}


static char *
ngx_http_fcchat_redis_conf_user(ngx_conf_t *cf, u_char *p, u_char *last,
    ngx_http_fcchat_redis_conf_t *conf)
{
    char    *rc;
    u_char  *colon;

    colon = ngx_strlchr(p, last, ':');

    if (colon == NULL || colon + 1 == last) {
        return "no password in the URL: redis://user:password@host or "
               "redis://:password@host is right";
    }

    rc = ngx_http_fcchat_redis_conf_decode(cf, &conf->user, p, colon);
    if (rc != NGX_CONF_OK) {
        return rc;
    }

    return ngx_http_fcchat_redis_conf_decode(cf, &conf->password, colon + 1,
                                             last);
}


static char *
ngx_http_fcchat_redis_conf_host(ngx_conf_t *cf, ngx_url_t *u,
    ngx_http_fcchat_redis_conf_t *conf)
{
    size_t       len;
    u_char      *p;
    ngx_uint_t   i;

    if (u->naddrs == 0 || u->family == AF_UNIX) {
        return "no address for the host";
    }

    /* as hiredis does: Redis listens on 127.0.0.1 more often than on ::1 */

    for (i = 0; i < u->naddrs; i++) {
        if (u->addrs[i].sockaddr->sa_family == AF_INET) {
            break;
        }
    }

    if (i == u->naddrs) {
        i = 0;
    }

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return "no memory";
    }

    len = ngx_sock_ntop(u->addrs[i].sockaddr, u->addrs[i].socklen, p,
                        NGX_SOCKADDR_STRLEN, 0);
    p[len] = '\0';

    conf->host = (char *) p;
    conf->port = u->port;

    p = ngx_pnalloc(cf->pool, sizeof("redis://:65535") + u->host.len);
    if (p == NULL) {
        return "no memory";
    }

    conf->url.data = p;
    conf->url.len = ngx_sprintf(p, "redis://%V:%ui", &u->host, conf->port) - p;

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_redis_conf_decode(ngx_conf_t *cf, ngx_str_t *dst, u_char *p,
    u_char *last)
{
    u_char     *d;
    ngx_int_t   n;

    dst->data = ngx_pnalloc(cf->pool, last - p + 1);
    if (dst->data == NULL) {
        return "no memory";
    }

    d = dst->data;

    while (p < last) {
        if (*p != '%') {
            *d++ = *p++;
            continue;
        }

        n = (last - p >= 3) ? ngx_hextoi(p + 1, 2) : NGX_ERROR;

        if (n == NGX_ERROR) {
            return "\"%\" in user and password must be followed by two "
                   "hexadecimal digits";
        }

        *d++ = (u_char) n;
        p += 3;
    }

    dst->len = d - dst->data;

    return NGX_CONF_OK;
}
