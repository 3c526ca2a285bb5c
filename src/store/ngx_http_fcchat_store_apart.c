
/*
 * Whose items a lane leaves out for a moment, since they can't be stored while
 * others may: what a user says in a room, or all of the room.
 */


#include <ngx_http_fcchat_store_int.h>


ngx_int_t
ngx_http_fcchat_store_apart_put(ngx_http_fcchat_store_apart_t *apart,
    int64_t room_id, int64_t user_id, ngx_msec_t pause)
{
    ngx_uint_t                          i;
    ngx_http_fcchat_store_apart_elt_t  *elt;

    for (i = 0; i < apart->n; i++) {
        elt = &apart->elts[i];

        if (elt->room_id == room_id && elt->user_id == user_id) {
            return NGX_OK;
        }
    }

    if (apart->n == NGX_HTTP_FCCHAT_STORE_APART_MAX) {
        return NGX_DECLINED;
    }

    elt = &apart->elts[apart->n++];

    elt->room_id = room_id;
    elt->user_id = user_id;
    elt->until = ngx_current_msec + pause;

    return NGX_OK;
}


ngx_uint_t
ngx_http_fcchat_store_apart(ngx_http_fcchat_store_apart_t *apart,
    int64_t room_id, int64_t user_id)
{
    ngx_uint_t                          i;
    ngx_http_fcchat_store_apart_elt_t  *elt;

    for (i = 0; i < apart->n; i++) {
        elt = &apart->elts[i];

        if (elt->room_id == room_id
            && (elt->user_id == 0 || user_id == 0 || elt->user_id == user_id))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_fcchat_store_apart_over(ngx_http_fcchat_store_apart_t *apart)
{
    ngx_uint_t                          i;
    ngx_http_fcchat_store_apart_elt_t  *elt;

    for (i = 0; i < apart->n; i++) {
        elt = &apart->elts[i];

        if ((ngx_msec_int_t) (elt->until - ngx_current_msec) <= 0) {
            apart->n--;

            ngx_memmove(elt, elt + 1,
                        (apart->n - i)
                        * sizeof(ngx_http_fcchat_store_apart_elt_t));
            return 1;
        }
    }

    return 0;
}


ngx_msec_int_t
ngx_http_fcchat_store_apart_left(ngx_http_fcchat_store_apart_t *apart,
    ngx_msec_int_t max)
{
    ngx_uint_t      i;
    ngx_msec_int_t  left;

    for (i = 0; i < apart->n; i++) {
        left = (ngx_msec_int_t) (apart->elts[i].until - ngx_current_msec);
        max = ngx_min(max, left);
    }

    return max;
}
