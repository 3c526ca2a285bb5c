
/*
 * fcc_csrf_equal() for t/interop/site.t: the cookie and the token are the
 * arguments, 0 is the status when they hold the same secret.
 */


#include <fcc_csrf.h>
#include <string.h>


int
main(int argc, char *argv[])
{
    fcc_str_t  cookie, token;

    if (argc != 3) {
        return 2;
    }

    cookie.data = (unsigned char *) argv[1];
    cookie.len = strlen(argv[1]);
    token.data = (unsigned char *) argv[2];
    token.len = strlen(argv[2]);

    return !fcc_csrf_equal(&cookie, &token);
}
