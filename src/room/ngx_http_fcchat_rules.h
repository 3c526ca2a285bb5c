
/*
 * What moderators have laid down for a room, as this worker knows it: bans and
 * timeouts, who moderates, what is pinned, how slow it is.
 *
 * Read from PostgreSQL as of a number of the room's log, and then kept up by
 * the events of the log, so that it is the same on all workers and nodes that
 * have come so far.  What holds in all rooms of a schema are the rules of one
 * more room, with id 0, whose log is followed as that of any other.
 *
 * How much there can be is bounded where it is written: see fcchat_moderate().
 */


#ifndef _NGX_HTTP_FCCHAT_RULES_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_RULES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_store.h>
#include <fcc_proto.h>


#define NGX_HTTP_FCCHAT_PIN_TEXT_MAX  2048      /* bytes of it in welcome */
#define NGX_HTTP_FCCHAT_PINS_MAX      10
#define NGX_HTTP_FCCHAT_FOR_EVER      INT64_MAX


typedef struct ngx_http_fcchat_rules_s  ngx_http_fcchat_rules_t;


/* an address as a ban knows it */

typedef struct {
    ngx_uint_t                   family;    /* AF_UNSPEC: none */
    u_char                       bytes[16];
} ngx_http_fcchat_rules_addr_t;


/* empty ones, or NULL without memory */
ngx_http_fcchat_rules_t *ngx_http_fcchat_rules_create(ngx_log_t *log);

void ngx_http_fcchat_rules_free(ngx_http_fcchat_rules_t *rules);

/* one thing of the state in PostgreSQL; NGX_ERROR without memory */
ngx_int_t ngx_http_fcchat_rules_add(ngx_http_fcchat_rules_t *rules,
    ngx_http_fcchat_store_state_t *s);

/*
 * What an event changes.  NGX_OK; NGX_ERROR without memory: the state is to be
 * read anew.
 */
ngx_int_t ngx_http_fcchat_rules_apply(ngx_http_fcchat_rules_t *rules,
    fcc_mod_t *mod, fcc_event_t *e);

/* 1: a moderator of the room, by a row */
ngx_uint_t ngx_http_fcchat_rules_moderator(ngx_http_fcchat_rules_t *rules,
    int64_t user_id);

/* until when (ms of the Unix epoch) the user is banned, or may not write; 0:
 * it is not so */
int64_t ngx_http_fcchat_rules_banned(ngx_http_fcchat_rules_t *rules,
    int64_t user_id, int64_t now);
int64_t ngx_http_fcchat_rules_timeout(ngx_http_fcchat_rules_t *rules,
    int64_t user_id, int64_t now);

/* 1: the address is banned */
ngx_uint_t ngx_http_fcchat_rules_address(ngx_http_fcchat_rules_t *rules,
    ngx_http_fcchat_rules_addr_t *addr, int64_t now);

/* 1: some address is, or was */
ngx_uint_t ngx_http_fcchat_rules_addresses(ngx_http_fcchat_rules_t *rules);

/* seconds between two messages of a member; 0: no slow mode */
int64_t ngx_http_fcchat_rules_slow(ngx_http_fcchat_rules_t *rules);

/* bytes that pins() writes at most; and they, with commas between */
size_t ngx_http_fcchat_rules_pins_size(ngx_http_fcchat_rules_t *rules);
void ngx_http_fcchat_rules_pins(ngx_http_fcchat_rules_t *rules, fcc_buf_t *b,
    int64_t now);

/* an address in text, as a connection has it */
void ngx_http_fcchat_rules_addr(ngx_http_fcchat_rules_addr_t *addr,
    ngx_str_t *text);

/* ms of the Unix epoch */
int64_t ngx_http_fcchat_rules_now(void);


#endif /* _NGX_HTTP_FCCHAT_RULES_H_INCLUDED_ */
