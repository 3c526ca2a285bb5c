
/*
 * What clients send.  A message that is taken is valid UTF-8 without NUL and
 * no longer than it may be; what is not taken has a code and a text.
 */


#include "fuzz.h"

#include <fcc_proto.h>
#include <fcc_utf8.h>


#define LENGTH  50


static void
fuzz_text(fcc_str_t *s, ptrdiff_t max)
{
    ptrdiff_t  n;

    n = fcc_utf8_length(s->data, s->len);

    claim(n >= 0 && n <= max);
    claim(s->len == 0 || memchr(s->data, 0, s->len) == NULL);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                 rc;
    size_t              i;
    fcc_cmd_t           cmd;
    fcc_proto_e         proto;
    unsigned char      *copy;
    fcc_proto_error_t   err;

    if (size < 1 || size > 65536) {
        return 0;
    }

    proto = data[0] == 2 ? FCC_PROTO_PUBLISH
            : data[0] == 3 ? FCC_PROTO_MODERATE
            : data[0] & 1 ? FCC_PROTO_V1 : FCC_PROTO_OLD;

    copy = malloc(size);
    claim(copy != NULL);

    /* of its own size: a read beyond it is found */

    memcpy(copy, data + 1, size - 1);
    copy = realloc(copy, size - 1 ? size - 1 : 1);
    claim(copy != NULL);

    memset(&cmd, 0, sizeof(fcc_cmd_t));
    memset(&err, 0, sizeof(fcc_proto_error_t));

    rc = fcc_proto_parse(proto, copy, size - 1, LENGTH, &cmd, &err);

    fuzz_text(&cmd.cid, FCC_PROTO_CID_MAX);

    if (rc != FCC_OK) {
        claim(rc == FCC_ERROR && err.code != NULL && err.text != NULL);

        for (i = 0; err.code[i]; i++) {
            claim((err.code[i] >= 'a' && err.code[i] <= 'z')
                  || err.code[i] == '_');
        }

    } else {

        claim(proto != FCC_PROTO_PUBLISH || cmd.type == FCC_CMD_MESSAGE);
        claim(proto != FCC_PROTO_MODERATE || cmd.type == FCC_CMD_MODERATE);

        switch (cmd.type) {

        case FCC_CMD_MESSAGE:
            claim(cmd.text.len > 0);
            fuzz_text(&cmd.text, LENGTH);
            break;

        case FCC_CMD_REACTION:
            claim(cmd.stamp_id >= 1 && cmd.stamp_id <= (int64_t) 1 << 53);
            break;

        case FCC_CMD_HISTORY:
            claim(proto == FCC_PROTO_V1);
            claim(cmd.before >= 0);
            claim(cmd.limit >= 1 && cmd.limit <= FCC_PROTO_HISTORY_MAX);
            break;

        default:
            claim(proto != FCC_PROTO_OLD && cmd.mod.action != FCC_MOD_NONE);
            fuzz_text(&cmd.mod.reason, FCC_MOD_REASON_MAX);
            break;
        }
    }

    fcc_cmd_free(&cmd);
    free(copy);

    return 0;
}
