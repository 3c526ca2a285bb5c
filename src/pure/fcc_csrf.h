
/*
 * Who may ask for a change over HTTP: tokens against forgery as Django checks
 * them (django.middleware.csrf), the Referer's origin, and a shared secret.
 */


#ifndef _FCC_CSRF_H_INCLUDED_
#define _FCC_CSRF_H_INCLUDED_


#include <fcc.h>
#include <fcc_http.h>


#define FCC_CSRF_SECRET  32     /* characters of a secret */
#define FCC_CSRF_TOKEN   64     /* of a mask and the masked secret */


/*
 * 1 when the cookie and the token of the request hold the same secret, compared
 * in constant time.  Each may be masked or not: Django 3.2 and 4.0 write a
 * masked cookie, 4.1 and later a plain one.  What has another length or
 * characters than letters and digits is nobody's.
 */
int fcc_csrf_equal(const fcc_str_t *cookie, const fcc_str_t *token);

/*
 * The origin of an absolute URL, as the Referer is one: FCC_OK with *origin
 * pointing into it.  FCC_ERROR: it is none, or names a user.
 */
int fcc_csrf_referer(const unsigned char *p, size_t len,
    fcc_origin_t *origin);

/*
 * 1 when an Authorization header is "Bearer" (in any case, RFC 6750 2.1) with
 * one of the n secrets; all of them are compared, in constant time but for the
 * length.
 */
int fcc_csrf_bearer(const unsigned char *p, size_t len,
    const fcc_str_t *secrets, size_t n);

/* 1 when it is "Bearer" with anything */
int fcc_csrf_is_bearer(const unsigned char *p, size_t len);


#endif /* _FCC_CSRF_H_INCLUDED_ */
