
/*
 * fcchat_postgres while the configuration is read: from a conninfo to the
 * arrays of PQconnectStartParams().
 *
 * libpq resolves names inside of PQconnectPoll(), which would block a worker,
 * so the names become addresses here: host=a,b turns into host=a,a,b with
 * hostaddr=1.2.3.4,::1,5.6.7.8 (host is still needed to verify certificates).
 */


#include <ngx_http_fcchat_pg.h>


#define NGX_HTTP_FCCHAT_PG_HOSTS    32
#define NGX_HTTP_FCCHAT_PG_OPTIONS  64


typedef struct {
    ngx_conf_t                 *cf;
    ngx_http_fcchat_pg_conf_t  *conf;
    ngx_uint_t                  n;          /* keywords and values */

    const char                 *host;       /* as written, or NULL */
    const char                 *hostaddr;
    const char                 *port;
    const char                 *options;
    const char                **values;     /* as written down below */

    ngx_uint_t                  nhosts;     /* after names were resolved */
    ngx_str_t                   hosts[NGX_HTTP_FCCHAT_PG_HOSTS];
    ngx_str_t                   addrs[NGX_HTTP_FCCHAT_PG_HOSTS];
    ngx_str_t                   ports[NGX_HTTP_FCCHAT_PG_HOSTS];

    unsigned                    no_memory:1;
} ngx_http_fcchat_pg_parse_t;


static char *ngx_http_fcchat_pg_conf_read(ngx_http_fcchat_pg_parse_t *p,
    PQconninfoOption *options);
static char *ngx_http_fcchat_pg_conf_option(ngx_http_fcchat_pg_parse_t *p,
    const char *name, const char *value);
static char *ngx_http_fcchat_pg_conf_check(ngx_http_fcchat_pg_parse_t *p);
static char *ngx_http_fcchat_pg_conf_hosts(ngx_http_fcchat_pg_parse_t *p);
static ngx_uint_t ngx_http_fcchat_pg_conf_remote(
    ngx_http_fcchat_pg_parse_t *p);
static char *ngx_http_fcchat_pg_conf_host(ngx_http_fcchat_pg_parse_t *p,
    ngx_str_t *host, ngx_str_t *port);
static char *ngx_http_fcchat_pg_conf_add_host(ngx_http_fcchat_pg_parse_t *p,
    ngx_str_t *host, ngx_str_t *addr, ngx_str_t *port);
static void ngx_http_fcchat_pg_conf_defaults(ngx_http_fcchat_pg_parse_t *p);
static void ngx_http_fcchat_pg_conf_begin(ngx_http_fcchat_pg_parse_t *p);
static const char **ngx_http_fcchat_pg_conf_values(
    ngx_http_fcchat_pg_parse_t *p, ngx_uint_t first);
static const char *ngx_http_fcchat_pg_conf_turn(ngx_http_fcchat_pg_parse_t *p,
    const char *list, ngx_uint_t first);
static void ngx_http_fcchat_pg_conf_add(ngx_http_fcchat_pg_parse_t *p,
    const char *name, const char *value);
static ngx_uint_t ngx_http_fcchat_pg_conf_has(ngx_http_fcchat_pg_parse_t *p,
    const char *name);
static ngx_uint_t ngx_http_fcchat_pg_conf_count(const char *list);
static ngx_uint_t ngx_http_fcchat_pg_conf_next(const char **list,
    ngx_str_t *item);
static char *ngx_http_fcchat_pg_conf_join(ngx_http_fcchat_pg_parse_t *p,
    ngx_str_t *items);
static char *ngx_http_fcchat_pg_conf_text(ngx_conf_t *cf, const char *fmt, ...);


static const char  *ngx_http_fcchat_pg_conf_sslmodes[] = {
    "disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL
};


/* what the server must do with each connection; the user's options follow, and
 * the last one wins.  The server gives up before we do, so that its verdict (it
 * is rolled back) comes in place of our doubt */

static const char  ngx_http_fcchat_pg_conf_options[] =
    "-c timezone=UTC -c statement_timeout=%M"
    " -c lock_timeout=%M -c idle_in_transaction_session_timeout=%M %s%Z";


char *
ngx_http_fcchat_pg_conf(ngx_conf_t *cf, ngx_http_fcchat_pg_conf_t *conf)
{
    char                        *rc, *error;
    size_t                       size;
    PQconninfoOption            *options;
    ngx_http_fcchat_pg_parse_t  *p;

    p = ngx_pcalloc(cf->temp_pool, sizeof(ngx_http_fcchat_pg_parse_t));
    size = NGX_HTTP_FCCHAT_PG_OPTIONS * sizeof(char *);
    conf->keywords = ngx_pcalloc(cf->pool, size);

    if (p == NULL || conf->keywords == NULL) {
        return "no memory";
    }

    p->values = ngx_pcalloc(cf->temp_pool, size);
    if (p->values == NULL) {
        return "no memory";
    }

    if (ngx_strlchr(conf->conninfo.data,
                    conf->conninfo.data + conf->conninfo.len, '\0'))
    {
        return "a zero byte in the conninfo";
    }

    if (conf->connections == 0 || conf->timeout == 0) {
        return "connections and timeout must be above zero";
    }

    p->cf = cf;
    p->conf = conf;

    /* a configuration string is terminated by zero */

    error = NULL;
    options = PQconninfoParse((char *) conf->conninfo.data, &error);

    if (options == NULL) {
        rc = ngx_http_fcchat_pg_conf_text(cf, "bad conninfo: %s",
                                          error ? error : "no memory");
        PQfreemem(error);
        return rc;
    }

    rc = ngx_http_fcchat_pg_conf_read(p, options);

    PQconninfoFree(options);

    if (rc != NGX_CONF_OK) {
        return rc;
    }

    ngx_http_fcchat_pg_conf_defaults(p);
    ngx_http_fcchat_pg_conf_begin(p);

    return p->no_memory ? "no memory" : NGX_CONF_OK;
}


static char *
ngx_http_fcchat_pg_conf_read(ngx_http_fcchat_pg_parse_t *p,
    PQconninfoOption *options)
{
    char              *rc;
    PQconninfoOption  *o;

    for (o = options; o->keyword; o++) {
        if (o->val == NULL || o->val[0] == '\0') {
            continue;
        }

        rc = ngx_http_fcchat_pg_conf_option(p, o->keyword, o->val);
        if (rc != NGX_CONF_OK) {
            return rc;
        }
    }

    rc = ngx_http_fcchat_pg_conf_check(p);
    if (rc != NGX_CONF_OK) {
        return rc;
    }

    return ngx_http_fcchat_pg_conf_hosts(p);
}


static char *
ngx_http_fcchat_pg_conf_option(ngx_http_fcchat_pg_parse_t *p, const char *name,
    const char *value)
{
    ngx_str_t     s;
    ngx_uint_t    i;
    const char  **modes;

    if (ngx_strcmp(name, "service") == 0) {
        return "\"service\" would be a file to read for each connection: "
               "write its parameters here instead";
    }

    if (ngx_strcmp(name, "replication") == 0) {
        return "\"replication\" connections can't run statements";
    }

    if (ngx_strcmp(name, "sslmode") == 0) {
        modes = ngx_http_fcchat_pg_conf_sslmodes;

        for (i = 0; modes[i]; i++) {
            if (ngx_strcmp(value, modes[i]) == 0) {
                break;
            }
        }

        if (modes[i] == NULL) {
            return ngx_http_fcchat_pg_conf_text(p->cf,
                       "bad sslmode \"%s\": one of disable, allow, prefer, "
                       "require, verify-ca, verify-full is right", value);
        }

        p->conf->verified = ngx_strncmp(value, "verify-", 7) == 0;
    }

    if (ngx_strcmp(name, "password") == 0) {
        p->conf->password = 1;
    }

    if (ngx_strcmp(name, "host") == 0) {
        p->host = value;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(name, "hostaddr") == 0) {
        p->hostaddr = value;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(name, "port") == 0) {
        p->port = value;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(name, "options") == 0) {
        s.len = ngx_strlen(value) + 1;
        s.data = (u_char *) value;
        p->options = (char *) ngx_pstrdup(p->cf->temp_pool, &s);
        p->no_memory |= (p->options == NULL);
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(name, "client_encoding") != 0) {
        ngx_http_fcchat_pg_conf_add(p, name, value);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_pg_conf_check(ngx_http_fcchat_pg_parse_t *p)
{
    ngx_int_t    n;
    ngx_str_t    item;
    ngx_uint_t   hosts, ports;
    const char  *list;

    hosts = ngx_http_fcchat_pg_conf_count(p->hostaddr ? p->hostaddr : p->host);
    ports = ngx_http_fcchat_pg_conf_count(p->port);

    if (p->host && p->hostaddr
        && ngx_http_fcchat_pg_conf_count(p->host) != hosts)
    {
        return "as many \"host\" as \"hostaddr\" are needed";
    }

    if (ports > 1 && ports != hosts) {
        return "one \"port\", or as many as hosts, are needed";
    }

    list = p->port;

    while (list && ngx_http_fcchat_pg_conf_next(&list, &item)) {
        if (item.len == 0) {
            continue;
        }

        n = ngx_atoi(item.data, item.len);

        if (n < 1 || n > 65535) {
            return ngx_http_fcchat_pg_conf_text(p->cf,
                       "bad port \"%V\": 1 to 65535 is right", &item);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_pg_conf_hosts(ngx_http_fcchat_pg_parse_t *p)
{
    char        *rc;
    ngx_str_t    host, port;
    ngx_uint_t   many;
    const char  *hosts, *ports;

    p->conf->remote = ngx_http_fcchat_pg_conf_remote(p);

    if (p->host == NULL || p->hostaddr) {
        ngx_http_fcchat_pg_conf_add(p, "host", p->host);
        ngx_http_fcchat_pg_conf_add(p, "hostaddr", p->hostaddr);
        ngx_http_fcchat_pg_conf_add(p, "port", p->port);
        return NGX_CONF_OK;
    }

    hosts = p->host;
    ports = p->port;
    many = ngx_http_fcchat_pg_conf_count(ports) > 1;
    ngx_str_null(&port);

    if (ports && !many) {
        (void) ngx_http_fcchat_pg_conf_next(&ports, &port);
    }

    while (ngx_http_fcchat_pg_conf_next(&hosts, &host)) {
        if (many) {
            (void) ngx_http_fcchat_pg_conf_next(&ports, &port);
        }

        rc = ngx_http_fcchat_pg_conf_host(p, &host, &port);
        if (rc != NGX_CONF_OK) {
            return rc;
        }
    }

    ngx_http_fcchat_pg_conf_add(p, "host",
                                ngx_http_fcchat_pg_conf_join(p, p->hosts));
    ngx_http_fcchat_pg_conf_add(p, "hostaddr",
                                ngx_http_fcchat_pg_conf_join(p, p->addrs));
    ngx_http_fcchat_pg_conf_add(p, "port",
                                ngx_http_fcchat_pg_conf_join(p, p->ports));

    return NGX_CONF_OK;
}


/* 1 when one of the hosts is not this machine, as far as their names say */

static ngx_uint_t
ngx_http_fcchat_pg_conf_remote(ngx_http_fcchat_pg_parse_t *p)
{
    ngx_str_t    host;
    const char  *list;

    list = p->hostaddr ? p->hostaddr : p->host;

    while (list && ngx_http_fcchat_pg_conf_next(&list, &host)) {

        if (host.len && host.data[0] != '/' && host.data[0] != '@'
            && (host.len < 4 || ngx_strncmp(host.data, "127.", 4) != 0)
            && (host.len != 3 || ngx_strncmp(host.data, "::1", 3) != 0)
            && (host.len != 9 || ngx_strncmp(host.data, "localhost", 9) != 0))
        {
            return 1;
        }
    }

    return 0;
}


static char *
ngx_http_fcchat_pg_conf_host(ngx_http_fcchat_pg_parse_t *p, ngx_str_t *host,
    ngx_str_t *port)
{
    char        *rc;
    u_char       text[NGX_SOCKADDR_STRLEN];
    ngx_str_t    addr;
    ngx_url_t    u;
    ngx_uint_t   i;

    ngx_str_null(&addr);

    /* a directory of a Unix socket, an abstract one, libpq's own default */

    if (host->len == 0 || host->data[0] == '/' || host->data[0] == '@') {
        return ngx_http_fcchat_pg_conf_add_host(p, host, &addr, port);
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.host = *host;
    u.default_port = 5432;
    u.port = 5432;

    if (ngx_inet_resolve_host(p->cf->temp_pool, &u) != NGX_OK) {
        return ngx_http_fcchat_pg_conf_text(p->cf, "%s for host \"%V\"",
                                     u.err ? u.err : "no address", host);
    }

    for (i = 0; i < u.naddrs; i++) {
        addr.data = text;
        addr.len = ngx_sock_ntop(u.addrs[i].sockaddr, u.addrs[i].socklen, text,
                                 NGX_SOCKADDR_STRLEN, 0);

        rc = ngx_http_fcchat_pg_conf_add_host(p, host, &addr, port);
        if (rc != NGX_CONF_OK) {
            return rc;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_pg_conf_add_host(ngx_http_fcchat_pg_parse_t *p,
    ngx_str_t *host, ngx_str_t *addr, ngx_str_t *port)
{
    ngx_uint_t  n;

    n = p->nhosts;

    if (n == NGX_HTTP_FCCHAT_PG_HOSTS) {
        return "more than 32 addresses";
    }

    p->hosts[n] = *host;
    p->ports[n] = *port;
    p->addrs[n].len = addr->len;
    p->addrs[n].data = ngx_pstrdup(p->cf->temp_pool, addr);

    p->no_memory |= (p->addrs[n].data == NULL);
    p->nhosts++;

    return p->no_memory ? "no memory" : NGX_CONF_OK;
}


static void
ngx_http_fcchat_pg_conf_defaults(ngx_http_fcchat_pg_parse_t *p)
{
    size_t       size;
    u_char      *options;
    ngx_msec_t   ms;
    u_char       timeout[NGX_INT_T_LEN + 1];
    u_char       seconds[NGX_INT_T_LEN + 1];

    ms = p->conf->timeout;

    (void) ngx_sprintf(timeout, "%M%Z", ms);
    (void) ngx_sprintf(seconds, "%M%Z", ngx_max((ms + 999) / 1000, 2));

    ngx_http_fcchat_pg_conf_add(p, "client_encoding", "UTF8");

    /* Kerberos reads files and asks the resolver */
    ngx_http_fcchat_pg_conf_add(p, "gssencmode", "disable");

    ngx_http_fcchat_pg_conf_add(p, "fallback_application_name", "fcchat");
    ngx_http_fcchat_pg_conf_add(p, "connect_timeout", (char *) seconds);
    ngx_http_fcchat_pg_conf_add(p, "tcp_user_timeout", (char *) timeout);
    ngx_http_fcchat_pg_conf_add(p, "keepalives", "1");
    ngx_http_fcchat_pg_conf_add(p, "keepalives_idle", "30");
    ngx_http_fcchat_pg_conf_add(p, "keepalives_interval", "10");
    ngx_http_fcchat_pg_conf_add(p, "keepalives_count", "3");

    size = sizeof(ngx_http_fcchat_pg_conf_options) + 3 * NGX_INT_T_LEN
           + (p->options ? ngx_strlen(p->options) : 0);

    options = ngx_pnalloc(p->cf->temp_pool, size);
    if (options == NULL) {
        p->no_memory = 1;
        return;
    }

    (void) ngx_sprintf(options, ngx_http_fcchat_pg_conf_options,
                       ngx_max(ms * 3 / 4, 1), ngx_max(ms / 2, 1), ms,
                       p->options ? p->options : "");

    ngx_http_fcchat_pg_conf_add(p, "options", (char *) options);
}


/* the list of hosts as it is, and once for each other host turned so that an
 * attempt begins there: a host that hangs must not keep us from the others */

static void
ngx_http_fcchat_pg_conf_begin(ngx_http_fcchat_pg_parse_t *p)
{
    ngx_uint_t   i, n;
    const char  *hosts, *addrs;

    hosts = NULL;
    addrs = NULL;

    for (i = 0; i < p->n; i++) {
        if (ngx_strcmp(p->conf->keywords[i], "host") == 0) {
            hosts = p->values[i];

        } else if (ngx_strcmp(p->conf->keywords[i], "hostaddr") == 0) {
            addrs = p->values[i];
        }
    }

    n = ngx_max(ngx_http_fcchat_pg_conf_count(addrs ? addrs : hosts), 1);

    p->conf->nhosts = n;
    p->conf->values = ngx_palloc(p->cf->pool, n * sizeof(char **));

    if (p->conf->values == NULL) {
        p->no_memory = 1;
        return;
    }

    for (i = 0; i < n; i++) {
        p->conf->values[i] = ngx_http_fcchat_pg_conf_values(p, i);
    }
}


static const char **
ngx_http_fcchat_pg_conf_values(ngx_http_fcchat_pg_parse_t *p, ngx_uint_t first)
{
    ngx_uint_t    i;
    const char  **values, *name;

    values = ngx_pcalloc(p->cf->pool, (p->n + 1) * sizeof(char *));
    if (values == NULL) {
        p->no_memory = 1;
        return NULL;
    }

    for (i = 0; i < p->n; i++) {
        name = p->conf->keywords[i];

        if (ngx_strcmp(name, "host") == 0
            || ngx_strcmp(name, "hostaddr") == 0
            || ngx_strcmp(name, "port") == 0)
        {
            values[i] = ngx_http_fcchat_pg_conf_turn(p, p->values[i], first);

        } else {
            values[i] = p->values[i];
        }
    }

    return values;
}


/* the list with that item first and those before it last; a list of one is for
 * all hosts */

static const char *
ngx_http_fcchat_pg_conf_turn(ngx_http_fcchat_pg_parse_t *p, const char *list,
    ngx_uint_t first)
{
    size_t       len, rest;
    u_char      *data, *last;
    ngx_str_t    item;
    ngx_uint_t   i;
    const char  *from;

    from = list;

    for (i = 0; i < first && from; i++) {
        (void) ngx_http_fcchat_pg_conf_next(&from, &item);
    }

    if (from == NULL || from == list) {
        return list;
    }

    len = ngx_strlen(list);
    rest = ngx_strlen(from);

    data = ngx_pnalloc(p->cf->pool, len + 1);
    if (data == NULL) {
        p->no_memory = 1;
        return list;
    }

    last = ngx_cpymem(data, from, rest);
    *last++ = ',';
    last = ngx_cpymem(last, list, len - rest - 1);
    *last = '\0';

    return (char *) data;
}


/* adds a copy, unless the keyword is there already */

static void
ngx_http_fcchat_pg_conf_add(ngx_http_fcchat_pg_parse_t *p, const char *name,
    const char *value)
{
    u_char     *copy;
    ngx_str_t   s;

    if (value == NULL || *value == '\0'
        || ngx_http_fcchat_pg_conf_has(p, name))
    {
        return;
    }

    /* the last element stays NULL */

    if (p->n == NGX_HTTP_FCCHAT_PG_OPTIONS - 1) {
        p->no_memory = 1;
        return;
    }

    s.len = ngx_strlen(name) + 1;
    s.data = (u_char *) name;
    copy = ngx_pstrdup(p->cf->pool, &s);
    p->no_memory |= (copy == NULL);
    p->conf->keywords[p->n] = (char *) copy;

    s.len = ngx_strlen(value) + 1;
    s.data = (u_char *) value;
    copy = ngx_pstrdup(p->cf->pool, &s);
    p->no_memory |= (copy == NULL);
    p->values[p->n] = (char *) copy;

    if (!p->no_memory) {
        p->n++;
    }
}


static ngx_uint_t
ngx_http_fcchat_pg_conf_has(ngx_http_fcchat_pg_parse_t *p, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; i < p->n; i++) {
        if (ngx_strcmp(p->conf->keywords[i], name) == 0) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_fcchat_pg_conf_count(const char *list)
{
    ngx_str_t   item;
    ngx_uint_t  n;

    for (n = 0; list && ngx_http_fcchat_pg_conf_next(&list, &item); n++) {
        /* void */
    }

    return n;
}


/* the next item of a list with commas; *list is NULL after the last one */

static ngx_uint_t
ngx_http_fcchat_pg_conf_next(const char **list, ngx_str_t *item)
{
    const char  *comma;

    if (*list == NULL) {
        return 0;
    }

    comma = strchr(*list, ',');

    item->data = (u_char *) *list;
    item->len = comma ? (size_t) (comma - *list) : ngx_strlen(*list);

    *list = comma ? comma + 1 : NULL;

    return 1;
}


/* "" if all of the items are empty */

static char *
ngx_http_fcchat_pg_conf_join(ngx_http_fcchat_pg_parse_t *p, ngx_str_t *items)
{
    size_t       len, total;
    u_char      *data, *last;
    ngx_uint_t   i;

    len = 0;
    total = 0;

    for (i = 0; i < p->nhosts; i++) {
        total += items[i].len;
        len += items[i].len + 1;
    }

    if (total == 0) {
        return "";
    }

    data = ngx_pnalloc(p->cf->temp_pool, len);
    if (data == NULL) {
        p->no_memory = 1;
        return "";
    }

    last = data;

    for (i = 0; i < p->nhosts; i++) {
        last = ngx_cpymem(last, items[i].data, items[i].len);
        *last++ = ',';
    }

    last[-1] = '\0';

    return (char *) data;
}


static char *
ngx_http_fcchat_pg_conf_text(ngx_conf_t *cf, const char *fmt, ...)
{
    u_char   *text, *last, *p;
    va_list   args;

    text = ngx_pnalloc(cf->pool, NGX_MAX_CONF_ERRSTR);
    if (text == NULL) {
        return "no memory";
    }

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + NGX_MAX_CONF_ERRSTR - 1, fmt, args);
    va_end(args);

    while (last > text && last[-1] == '\n') {
        last--;
    }

    *last = '\0';

    for (p = text; p < last; p++) {
        if (*p < 0x20) {
            *p = ' ';
        }
    }

    return (char *) text;
}
