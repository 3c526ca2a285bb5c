
/*
 * What goes out: a row of PostgreSQL as JSON of each protocol.  It fits into
 * what fcc_proto.h promises, jansson reads the same text out of it, and no byte
 * of it could end a script or a tag.
 */


#include "fuzz.h"

#include <fcc_json.h>
#include <fcc_proto.h>
#include <fcc_utf8.h>


/* text that PostgreSQL could hold: what is not valid becomes '?' */

static void
fuzz_text(fuzz_t *f, size_t max, fcc_str_t *s)
{
    size_t    i, n;
    uint32_t  cp;

    s->data = fuzz_string(f, max, &s->len);

    for (i = 0; i < s->len; i += n) {
        n = s->data[i] ? fcc_utf8_char(s->data + i, s->len - i, &cp) : 0;

        if (n == 0) {
            s->data[i] = '?';
            n = 1;
        }
    }
}


static json_t *
fuzz_read(fcc_buf_t *b)
{
    size_t        i, n;
    json_t       *root;
    json_error_t  err;

    claim(!b->full);

    n = b->pos - b->start;

    for (i = 0; i < n; i++) {
        claim(b->start[i] >= 0x20);
        claim(b->start[i] != '<' && b->start[i] != '>' && b->start[i] != '&');
        claim(n - i < 3 || memcmp(b->start + i, "\342\200\250", 3) != 0);
        claim(n - i < 3 || memcmp(b->start + i, "\342\200\251", 3) != 0);
    }

    root = json_loadb((char *) b->start, n, 0, &err);
    claim(root != NULL && json_is_object(root));

    return root;
}


static void
fuzz_is(json_t *root, const char *key, fcc_str_t *s)
{
    json_t  *value;

    value = json_object_get(root, key);

    claim(json_is_string(value));
    claim(json_string_length(value) == s->len);
    claim(s->len == 0
          || memcmp(json_string_value(value), s->data, s->len) == 0);
}


/* in names each mark that turns the direction of text is U+FFFD */

static void
fuzz_name_is(json_t *root, const char *key, fcc_str_t *s)
{
    size_t     i, n, mark;
    fcc_str_t  name;

    static const char  *marks[] = {
        "\330\234", "\342\200\216", "\342\200\217", "\342\200\252",
        "\342\200\253", "\342\200\254", "\342\200\255", "\342\200\256",
        "\342\201\246", "\342\201\247", "\342\201\250", "\342\201\251", NULL
    };

    name.data = malloc(2 * s->len + 1);
    claim(name.data != NULL);
    name.len = 0;

    for (i = 0; i < s->len; i += n) {
        n = 1;

        for (mark = 0; marks[mark]; mark++) {
            n = strlen(marks[mark]);

            if (s->len - i >= n && memcmp(s->data + i, marks[mark], n) == 0) {
                break;
            }
        }

        if (marks[mark]) {
            memcpy(name.data + name.len, "\357\277\275", 3);
            name.len += 3;

        } else {
            n = 1;
            name.data[name.len++] = s->data[i];
        }
    }

    fuzz_is(root, key, &name);
    free(name.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          room;
    fuzz_t          f;
    json_t         *root;
    fcc_buf_t       b;
    fcc_str_t       image;
    fcc_event_t     e;
    fcc_stamp_t     stamp;
    unsigned char  *buf;

    f.pos = data;
    f.last = data + size;

    memset(&e, 0, sizeof(fcc_event_t));

    e.seq = 1 + (int64_t) (fuzz_number(&f, 8) >> 2);
    e.id = (int64_t) (fuzz_number(&f, 8) >> 2);
    e.user_id = (int64_t) (fuzz_number(&f, 8) >> 2);
    e.at = (int64_t) (fuzz_number(&f, 6) >> 2);
    fuzz_text(&f, 200, &e.username);
    fuzz_text(&f, 2000, &e.text);
    fuzz_text(&f, 200, &image);

    e.role.data = (unsigned char *) "member";
    e.role.len = sizeof("member") - 1;
    e.type.data = (unsigned char *) "message";
    e.type.len = sizeof("message") - 1;

    room = FCC_PROTO_EXPANSION * (e.username.len + e.text.len + image.len
                                  + e.role.len + e.type.len)
           + FCC_PROTO_OVERHEAD;

    buf = malloc(room);
    claim(buf != NULL);

    fcc_buf_init(&b, buf, room);
    fcc_proto_v1_message(&b, &e);
    root = fuzz_read(&b);
    fuzz_is(root, "text", &e.text);
    json_decref(root);

    fcc_buf_init(&b, buf, room);
    fcc_proto_old_message(&b, &e, 0);
    root = fuzz_read(&b);
    fuzz_is(root, "message", &e.text);
    fuzz_name_is(root, "username", &e.username);
    json_decref(root);

    fcc_buf_init(&b, buf, room);
    fcc_proto_old_message(&b, &e, 1);
    root = fuzz_read(&b);
    claim(strpbrk(json_string_value(json_object_get(root, "message")),
                  "<>\"'") == NULL);
    json_decref(root);

    fcc_buf_init(&b, buf, room);
    fcc_proto_v1_presence(&b, "join", e.user_id, &e.username, &e.role);
    root = fuzz_read(&b);
    fuzz_name_is(json_object_get(root, "user"), "username", &e.username);
    json_decref(root);

    stamp.id = e.id;
    stamp.name = e.text;
    stamp.image = image;

    fcc_buf_init(&b, buf, room);
    fcc_proto_old_reaction(&b, &e.username, &stamp, e.seq & 1);
    root = fuzz_read(&b);

    if (e.seq & 1) {
        claim(strpbrk(json_string_value(json_object_get(root,
                                                        "stamp_image_url")),
                      "<>\"'") == NULL);

    } else {
        fuzz_is(root, "stamp_name", &stamp.name);
    }

    json_decref(root);

    /* nothing is written past the end of a buffer that is too small */

    fcc_buf_init(&b, buf, e.seq % room);
    fcc_proto_v1_message(&b, &e);
    claim(b.pos <= b.end);

    free(buf);
    free(e.username.data);
    free(e.text.data);
    free(image.data);

    return 0;
}
