
/*
 * How many watch a room, over all workers and nodes.
 *
 * Each worker publishes its own count when it has changed, once a second at
 * most, and again every two seconds while it is not 0; a count that was not
 * heard of for four seconds is not believed any more, which is noticed in less
 * than one more.  So a worker that was killed is forgotten by itself, and
 * joining costs nothing per reader.
 *
 * While the bus is away counts come by way of PostgreSQL, under the same names,
 * so that nobody is counted twice when they come both ways.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_VIEWERS_REPEAT  1500    /* ms, and up to a tick */


void
ngx_http_fcchat_viewers_peer(ngx_http_fcchat_room_t *room, u_char *id,
    int64_t count, ngx_msec_t age)
{
    ngx_uint_t               i, n;
    ngx_msec_t               seen;
    ngx_http_fcchat_peer_t  *peer, *peers;

    seen = ngx_current_msec - age;

    for (i = 0; i < room->npeers; i++) {
        peer = &room->peers[i];

        if (ngx_memcmp(peer->id, id, FCC_BUS_WORKER_LEN) == 0) {

            /* what came another way may be younger */

            if ((ngx_msec_int_t) (seen - peer->seen) >= 0) {
                peer->count = count;
                peer->seen = seen;
            }

            return;
        }
    }

    if (room->npeers >= NGX_HTTP_FCCHAT_PEERS_MAX) {
        return;
    }

    /* the array doubles: its size is the power of two at or above npeers */

    if (room->npeers == 0 || (room->npeers & (room->npeers - 1)) == 0) {
        n = room->npeers ? room->npeers * 2 : 1;

        peers = ngx_alloc(n * sizeof(ngx_http_fcchat_peer_t), room->hub->log);
        if (peers == NULL) {
            return;
        }

        if (room->peers) {
            ngx_memcpy(peers, room->peers,
                       room->npeers * sizeof(ngx_http_fcchat_peer_t));
            ngx_free(room->peers);
        }

        room->peers = peers;
    }

    peer = &room->peers[room->npeers++];

    ngx_memcpy(peer->id, id, FCC_BUS_WORKER_LEN);
    peer->count = count;
    peer->seen = seen;
}


int64_t
ngx_http_fcchat_room_viewers(ngx_http_fcchat_room_t *room)
{
    int64_t     count;
    ngx_uint_t  i;

    count = ngx_http_fcchat_room_members(room);

    for (i = 0; i < room->npeers; i++) {
        if (ngx_current_msec - room->peers[i].seen
            < NGX_HTTP_FCCHAT_PEER_FRESH)
        {
            count += room->peers[i].count;
        }
    }

    return count;
}


void
ngx_http_fcchat_viewers_left(ngx_http_fcchat_room_t *room)
{
    /* an exiting worker has no next tick to tell that nobody is left */

    if (room->published && ngx_http_fcchat_room_members(room) == 0) {
        room->published = 0;
        ngx_http_fcchat_bus_viewers(room, 0);
    }
}


void
ngx_http_fcchat_viewers_tick(ngx_http_fcchat_room_t *room)
{
    int64_t     count;
    ngx_uint_t  i;

    /* stale peers make room for new ones */

    for (i = 0; i < room->npeers; /* void */ ) {
        if (ngx_current_msec - room->peers[i].seen
            < 2 * NGX_HTTP_FCCHAT_PEER_FRESH)
        {
            i++;
            continue;
        }

        room->peers[i] = room->peers[--room->npeers];
    }

    count = ngx_http_fcchat_room_members(room);

    if (count != room->published
        || (count && ngx_current_msec - room->published_at
                     >= NGX_HTTP_FCCHAT_VIEWERS_REPEAT))
    {
        room->published = count;
        room->published_at = ngx_current_msec;

        ngx_http_fcchat_bus_viewers(room, count);
    }

    ngx_http_fcchat_viewers_tell(room);
}


void
ngx_http_fcchat_viewers_tell(ngx_http_fcchat_room_t *room)
{
    int64_t    all;
    fcc_buf_t  b;
    u_char     buf[FCC_PROTO_OVERHEAD];

    all = ngx_http_fcchat_room_viewers(room);

    if (all == room->viewers) {
        return;
    }

    room->viewers = all;

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_proto_v1_viewers(&b, all);

    ngx_http_fcchat_room_ephemeral(room, NGX_HTTP_FCCHAT_V1, &b);
}
