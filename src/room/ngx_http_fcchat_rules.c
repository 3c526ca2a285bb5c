
/*
 * The rules of a room in memory.
 *
 * Whoever is asked about at each message, users, stands in a tree by id; the
 * networks are few and looked through at a handshake; a pin is kept as the JSON
 * that "welcome" shows.  What ends by itself is compared with the clock when it
 * is asked for, and swept out when enough has gathered.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_rules.h>


#define NGX_HTTP_FCCHAT_RULES_SWEEP  1024       /* users, at least */


typedef struct {
    ngx_rbtree_node_t               node;       /* key: the user's id */
    int64_t                         banned;     /* until, ms; 0: is not */
    int64_t                         timeout;
    unsigned                        moderator:1;
} ngx_http_fcchat_rules_user_t;


typedef struct {
    ngx_cidr_t                      cidr;
    int64_t                         until;
} ngx_http_fcchat_rules_net_t;


typedef struct {
    ngx_queue_t                     queue;
    int64_t                         id;
    int64_t                         until;
    size_t                          len;
    u_char                          json[1];
} ngx_http_fcchat_rules_pin_t;


struct ngx_http_fcchat_rules_s {
    ngx_log_t                      *log;
    ngx_rbtree_t                    users;
    ngx_rbtree_node_t               sentinel;
    ngx_uint_t                      nusers;
    ngx_uint_t                      sweep;      /* when there are so many */
    ngx_http_fcchat_rules_net_t    *nets;
    ngx_uint_t                      nnets;
    ngx_uint_t                      nalloc;
    ngx_queue_t                     pins;       /* the oldest first */
    ngx_uint_t                      npins;
    int64_t                         slow;
};


static ngx_http_fcchat_rules_user_t *ngx_http_fcchat_rules_find(
    ngx_http_fcchat_rules_t *rules, int64_t user_id);
static ngx_http_fcchat_rules_user_t *ngx_http_fcchat_rules_user(
    ngx_http_fcchat_rules_t *rules, int64_t user_id);
static void ngx_http_fcchat_rules_clean(ngx_http_fcchat_rules_t *rules);
static ngx_int_t ngx_http_fcchat_rules_ban(ngx_http_fcchat_rules_t *rules,
    int64_t user_id, ngx_str_t *address, fcc_mod_e action, int64_t until);
static ngx_int_t ngx_http_fcchat_rules_net(ngx_http_fcchat_rules_t *rules,
    ngx_str_t *address, int64_t until);
static ngx_int_t ngx_http_fcchat_rules_pin(ngx_http_fcchat_rules_t *rules,
    fcc_event_t *e, int64_t until);
static void ngx_http_fcchat_rules_unpin(ngx_http_fcchat_rules_t *rules,
    int64_t id);
static ngx_uint_t ngx_http_fcchat_rules_match(ngx_cidr_t *cidr,
    ngx_http_fcchat_rules_addr_t *addr);


ngx_http_fcchat_rules_t *
ngx_http_fcchat_rules_create(ngx_log_t *log)
{
    ngx_http_fcchat_rules_t  *rules;

    rules = ngx_calloc(sizeof(ngx_http_fcchat_rules_t), log);
    if (rules == NULL) {
        return NULL;
    }

    rules->log = log;
    rules->sweep = NGX_HTTP_FCCHAT_RULES_SWEEP;

    ngx_rbtree_init(&rules->users, &rules->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&rules->pins);

    return rules;
}


void
ngx_http_fcchat_rules_free(ngx_http_fcchat_rules_t *rules)
{
    ngx_queue_t        *q;
    ngx_rbtree_node_t  *node;

    while (rules->users.root != &rules->sentinel) {
        node = rules->users.root;
        ngx_rbtree_delete(&rules->users, node);
        ngx_free(node);
    }

    while (!ngx_queue_empty(&rules->pins)) {
        q = ngx_queue_head(&rules->pins);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_http_fcchat_rules_pin_t, queue));
    }

    if (rules->nets) {
        ngx_free(rules->nets);
    }

    ngx_free(rules);
}


ngx_int_t
ngx_http_fcchat_rules_add(ngx_http_fcchat_rules_t *rules,
    ngx_http_fcchat_store_state_t *s)
{
    int64_t                        until;
    fcc_event_t                    e;
    ngx_http_fcchat_rules_user_t  *user;

    until = s->until ? s->until : NGX_HTTP_FCCHAT_FOR_EVER;

    switch (s->what) {

    case NGX_HTTP_FCCHAT_STORE_HEAD:
        rules->slow = s->until;
        return NGX_OK;

    case NGX_HTTP_FCCHAT_STORE_MODERATOR:
        user = ngx_http_fcchat_rules_user(rules, s->user_id);
        if (user == NULL) {
            return NGX_ERROR;
        }

        user->moderator = 1;

        return NGX_OK;

    case NGX_HTTP_FCCHAT_STORE_BAN:
        return ngx_http_fcchat_rules_ban(rules, s->user_id, &s->text,
                                         FCC_MOD_BAN, until);

    case NGX_HTTP_FCCHAT_STORE_TIMEOUT:
        return ngx_http_fcchat_rules_ban(rules, s->user_id, &s->text,
                                         FCC_MOD_TIMEOUT, until);

    case NGX_HTTP_FCCHAT_STORE_PIN:
        ngx_memzero(&e, sizeof(fcc_event_t));

        e.seq = s->seq;
        e.id = s->id;
        e.user_id = s->user_id;
        e.at = s->at;
        e.username.len = s->username.len;
        e.username.data = s->username.data;
        e.role.len = s->role.len;
        e.role.data = s->role.data;
        e.text.len = s->text.len;
        e.text.data = s->text.data;

        return ngx_http_fcchat_rules_pin(rules, &e, until);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_rules_apply(ngx_http_fcchat_rules_t *rules, fcc_mod_t *mod,
    fcc_event_t *e)
{
    int64_t      until;
    ngx_str_t    address;
    fcc_event_t  pin;

    until = mod->until ? mod->until : NGX_HTTP_FCCHAT_FOR_EVER;

    switch (mod->action) {

    case FCC_MOD_BAN:
    case FCC_MOD_TIMEOUT:
    case FCC_MOD_UNBAN:
        address.len = mod->address.len;
        address.data = mod->address.data;

        return ngx_http_fcchat_rules_ban(rules, mod->user_id, &address,
                                         mod->action, until);

    case FCC_MOD_DELETE:
    case FCC_MOD_UNPIN:
        ngx_http_fcchat_rules_unpin(rules, mod->id);
        return NGX_OK;

    case FCC_MOD_PIN:
        ngx_memzero(&pin, sizeof(fcc_event_t));

        pin.seq = mod->seq;
        pin.id = mod->id;
        pin.user_id = mod->user_id;
        pin.at = mod->at;
        pin.username = mod->username;
        pin.role = mod->role;
        pin.text = e->text;

        return ngx_http_fcchat_rules_pin(rules, &pin, until);

    case FCC_MOD_SLOW:
        rules->slow = ngx_max(mod->seconds, 0);
        return NGX_OK;

    default:
        return NGX_OK;
    }
}


static ngx_http_fcchat_rules_user_t *
ngx_http_fcchat_rules_find(ngx_http_fcchat_rules_t *rules, int64_t user_id)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = (ngx_rbtree_key_t) user_id;
    node = rules->users.root;

    while (node != &rules->sentinel) {

        if (key == node->key) {
            return (ngx_http_fcchat_rules_user_t *) node;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* the user's place, which may be a new one */

static ngx_http_fcchat_rules_user_t *
ngx_http_fcchat_rules_user(ngx_http_fcchat_rules_t *rules, int64_t user_id)
{
    ngx_http_fcchat_rules_user_t  *user;

    user = ngx_http_fcchat_rules_find(rules, user_id);
    if (user) {
        return user;
    }

    if (rules->nusers >= rules->sweep) {
        ngx_http_fcchat_rules_clean(rules);
    }

    user = ngx_calloc(sizeof(ngx_http_fcchat_rules_user_t), rules->log);
    if (user == NULL) {
        return NULL;
    }

    user->node.key = (ngx_rbtree_key_t) user_id;

    ngx_rbtree_insert(&rules->users, &user->node);
    rules->nusers++;

    return user;
}


/* those about whom there is nothing to say any more */

static void
ngx_http_fcchat_rules_clean(ngx_http_fcchat_rules_t *rules)
{
    int64_t                        now;
    ngx_rbtree_node_t             *node, *next;
    ngx_http_fcchat_rules_user_t  *user;

    now = ngx_http_fcchat_rules_now();

    node = ngx_rbtree_min(rules->users.root, &rules->sentinel);

    for ( /* void */ ; node; node = next) {
        next = ngx_rbtree_next(&rules->users, node);
        user = (ngx_http_fcchat_rules_user_t *) node;

        if (!user->moderator && user->banned <= now && user->timeout <= now) {
            ngx_rbtree_delete(&rules->users, node);
            ngx_free(user);
            rules->nusers--;
        }
    }

    rules->sweep = 2 * rules->nusers + NGX_HTTP_FCCHAT_RULES_SWEEP;
}


/* bans, or forbids to write, until then; or undoes both */

static ngx_int_t
ngx_http_fcchat_rules_ban(ngx_http_fcchat_rules_t *rules, int64_t user_id,
    ngx_str_t *address, fcc_mod_e action, int64_t until)
{
    ngx_http_fcchat_rules_user_t  *user;

    if (user_id == 0) {
        return ngx_http_fcchat_rules_net(rules, address,
                                         action == FCC_MOD_BAN ? until : 0);
    }

    if (action == FCC_MOD_UNBAN) {
        user = ngx_http_fcchat_rules_find(rules, user_id);

        if (user) {
            user->banned = 0;
            user->timeout = 0;
        }

        return NGX_OK;
    }

    user = ngx_http_fcchat_rules_user(rules, user_id);
    if (user == NULL) {
        return NGX_ERROR;
    }

    if (action == FCC_MOD_BAN) {
        user->banned = until;

    } else {
        user->timeout = until;
    }

    return NGX_OK;
}


/* until 0: not any more */

static ngx_int_t
ngx_http_fcchat_rules_net(ngx_http_fcchat_rules_t *rules, ngx_str_t *address,
    int64_t until)
{
    int64_t                       now;
    ngx_uint_t                    i, n;
    ngx_cidr_t                    cidr;
    ngx_http_fcchat_rules_net_t  *nets;

    ngx_memzero(&cidr, sizeof(ngx_cidr_t));

    if (ngx_ptocidr(address, &cidr) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, rules->log, 0,
                      "fcchat can't ban the address \"%V\"", address);
        return NGX_OK;
    }

    now = ngx_http_fcchat_rules_now();

    for (i = 0; i < rules->nnets; /* void */ ) {

        if (rules->nets[i].until <= now
            || ngx_memcmp(&rules->nets[i].cidr, &cidr, sizeof(ngx_cidr_t))
               == 0)
        {
            rules->nets[i] = rules->nets[--rules->nnets];
            continue;
        }

        i++;
    }

    if (until == 0) {
        return NGX_OK;
    }

    if (rules->nnets == rules->nalloc) {
        n = rules->nalloc ? 2 * rules->nalloc : 4;

        nets = ngx_alloc(n * sizeof(ngx_http_fcchat_rules_net_t), rules->log);
        if (nets == NULL) {
            return NGX_ERROR;
        }

        if (rules->nets) {
            ngx_memcpy(nets, rules->nets,
                       rules->nnets * sizeof(ngx_http_fcchat_rules_net_t));
            ngx_free(rules->nets);
        }

        rules->nets = nets;
        rules->nalloc = n;
    }

    rules->nets[rules->nnets].cidr = cidr;
    rules->nets[rules->nnets].until = until;
    rules->nnets++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_rules_pin(ngx_http_fcchat_rules_t *rules, fcc_event_t *e,
    int64_t until)
{
    u_char                       *p;
    size_t                        size;
    fcc_buf_t                     b;
    ngx_http_fcchat_rules_pin_t  *pin;

    static fcc_str_t  message = fcc_string("message");

    ngx_http_fcchat_rules_unpin(rules, e->id);

    e->type = message;

    if (e->text.len > NGX_HTTP_FCCHAT_PIN_TEXT_MAX) {
        e->text.len = NGX_HTTP_FCCHAT_PIN_TEXT_MAX;

        /* cut where a character begins */

        while (e->text.len && (e->text.data[e->text.len] & 0xc0) == 0x80) {
            e->text.len--;
        }
    }

    size = fcc_event_size(e);

    p = ngx_alloc(size, rules->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fcc_buf_init(&b, p, size);
    fcc_proto_v1_pin(&b, e, until == NGX_HTTP_FCCHAT_FOR_EVER ? 0 : until);

    pin = NULL;
    size = b.pos - b.start;

    if (!b.full) {
        pin = ngx_alloc(sizeof(ngx_http_fcchat_rules_pin_t) + size,
                        rules->log);
    }

    if (pin == NULL) {
        ngx_free(p);
        return NGX_ERROR;
    }

    pin->id = e->id;
    pin->until = until;
    pin->len = size;
    ngx_memcpy(pin->json, p, size);

    ngx_free(p);

    ngx_queue_insert_tail(&rules->pins, &pin->queue);
    rules->npins++;

    /* those that have ended are not told of, and make room */

    if (rules->npins > NGX_HTTP_FCCHAT_PINS_MAX) {
        pin = ngx_queue_data(ngx_queue_head(&rules->pins),
                             ngx_http_fcchat_rules_pin_t, queue);

        ngx_http_fcchat_rules_unpin(rules, pin->id);
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_rules_unpin(ngx_http_fcchat_rules_t *rules, int64_t id)
{
    int64_t                       now;
    ngx_queue_t                  *q, *next;
    ngx_http_fcchat_rules_pin_t  *pin;

    now = ngx_http_fcchat_rules_now();

    for (q = ngx_queue_head(&rules->pins);
         q != ngx_queue_sentinel(&rules->pins);
         q = next)
    {
        next = ngx_queue_next(q);
        pin = ngx_queue_data(q, ngx_http_fcchat_rules_pin_t, queue);

        if (pin->id == id || pin->until <= now) {
            ngx_queue_remove(q);
            ngx_free(pin);
            rules->npins--;
        }
    }
}


ngx_uint_t
ngx_http_fcchat_rules_moderator(ngx_http_fcchat_rules_t *rules,
    int64_t user_id)
{
    ngx_http_fcchat_rules_user_t  *user;

    user = ngx_http_fcchat_rules_find(rules, user_id);

    return user && user->moderator;
}


int64_t
ngx_http_fcchat_rules_banned(ngx_http_fcchat_rules_t *rules, int64_t user_id,
    int64_t now)
{
    ngx_http_fcchat_rules_user_t  *user;

    user = ngx_http_fcchat_rules_find(rules, user_id);

    return (user && user->banned > now) ? user->banned : 0;
}


int64_t
ngx_http_fcchat_rules_timeout(ngx_http_fcchat_rules_t *rules, int64_t user_id,
    int64_t now)
{
    ngx_http_fcchat_rules_user_t  *user;

    user = ngx_http_fcchat_rules_find(rules, user_id);

    return (user && user->timeout > now) ? user->timeout : 0;
}


ngx_uint_t
ngx_http_fcchat_rules_address(ngx_http_fcchat_rules_t *rules,
    ngx_http_fcchat_rules_addr_t *addr, int64_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < rules->nnets; i++) {
        if (rules->nets[i].until > now
            && ngx_http_fcchat_rules_match(&rules->nets[i].cidr, addr))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_fcchat_rules_match(ngx_cidr_t *cidr,
    ngx_http_fcchat_rules_addr_t *addr)
{
    in_addr_t    in;
#if (NGX_HAVE_INET6)
    ngx_uint_t   i;
#endif

    if (cidr->family != addr->family) {
        return 0;
    }

#if (NGX_HAVE_INET6)
    if (cidr->family == AF_INET6) {

        for (i = 0; i < 16; i++) {
            if ((addr->bytes[i] & cidr->u.in6.mask.s6_addr[i])
                != cidr->u.in6.addr.s6_addr[i])
            {
                return 0;
            }
        }

        return 1;
    }
#endif

    ngx_memcpy(&in, addr->bytes, sizeof(in_addr_t));

    return (in & cidr->u.in.mask) == cidr->u.in.addr;
}


ngx_uint_t
ngx_http_fcchat_rules_addresses(ngx_http_fcchat_rules_t *rules)
{
    return rules->nnets != 0;
}


int64_t
ngx_http_fcchat_rules_slow(ngx_http_fcchat_rules_t *rules)
{
    return rules->slow;
}


size_t
ngx_http_fcchat_rules_pins_size(ngx_http_fcchat_rules_t *rules)
{
    size_t                        size;
    ngx_queue_t                  *q;
    ngx_http_fcchat_rules_pin_t  *pin;

    size = 0;

    for (q = ngx_queue_head(&rules->pins);
         q != ngx_queue_sentinel(&rules->pins);
         q = ngx_queue_next(q))
    {
        pin = ngx_queue_data(q, ngx_http_fcchat_rules_pin_t, queue);
        size += pin->len + 1;
    }

    return size;
}


void
ngx_http_fcchat_rules_pins(ngx_http_fcchat_rules_t *rules, fcc_buf_t *b,
    int64_t now)
{
    ngx_queue_t                  *q;
    ngx_http_fcchat_rules_pin_t  *pin;

    for (q = ngx_queue_head(&rules->pins);
         q != ngx_queue_sentinel(&rules->pins);
         q = ngx_queue_next(q))
    {
        pin = ngx_queue_data(q, ngx_http_fcchat_rules_pin_t, queue);

        if (pin->until <= now) {
            continue;
        }

        if (b->pos != b->start) {
            fcc_buf_lit(b, ",");
        }

        fcc_buf_put(b, pin->json, pin->len);
    }
}


/* an IPv4 address inside an IPv6 one is what it is */

void
ngx_http_fcchat_rules_addr(ngx_http_fcchat_rules_addr_t *addr,
    ngx_str_t *text)
{
    in_addr_t  in;

    addr->family = AF_UNSPEC;

    in = ngx_inet_addr(text->data, text->len);

    if (in != INADDR_NONE) {
        addr->family = AF_INET;
        ngx_memcpy(addr->bytes, &in, sizeof(in_addr_t));
        return;
    }

#if (NGX_HAVE_INET6)
    if (ngx_inet6_addr(text->data, text->len, addr->bytes) == NGX_OK) {
        addr->family = AF_INET6;

        if (IN6_IS_ADDR_V4MAPPED((struct in6_addr *) addr->bytes)) {
            addr->family = AF_INET;
            ngx_memmove(addr->bytes, addr->bytes + 12, sizeof(in_addr_t));
        }
    }
#endif
}


int64_t
ngx_http_fcchat_rules_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}
