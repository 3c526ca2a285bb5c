
/*
 * What clients are told: each function writes one JSON text of a fixed form.
 */


#include <fcc_proto.h>
#include <fcc_json.h>


#define FCC_PROTO_TIME_MAX  253402300799999LL   /* 9999-12-31T23:59:59.999Z */
#define FCC_PROTO_DAY       86400000LL


static void fcc_proto_put_str(fcc_buf_t *b, const fcc_str_t *s);
static void fcc_proto_put_text(fcc_buf_t *b, const char *s);
static void fcc_proto_put_id(fcc_buf_t *b, int64_t id);
static void fcc_proto_put_about(fcc_buf_t *b, const fcc_str_t *cid,
    int64_t retry_after);
static unsigned char *fcc_proto_digits(unsigned char *p, int64_t value,
    size_t digits);
static int fcc_proto_is_message(const fcc_str_t *type);


void
fcc_proto_old_message(fcc_buf_t *b, const fcc_event_t *e, int html)
{
    fcc_json_text_e  mode;

    mode = html ? FCC_JSON_HTML : FCC_JSON_PLAIN;

    fcc_buf_lit(b, "{\"username\":");
    fcc_json_text(b, e->username.data, e->username.len, mode | FCC_JSON_NAME);
    fcc_buf_lit(b, ",\"message\":");
    fcc_json_text(b, e->text.data, e->text.len, mode);
    fcc_buf_lit(b, ",\"message_type\":");
    fcc_proto_put_str(b, &e->type);
    fcc_buf_lit(b, ",\"timestamp\":null}");
}


void
fcc_proto_old_reaction(fcc_buf_t *b, const fcc_str_t *username,
    const fcc_stamp_t *stamp, int html)
{
    fcc_json_text_e  mode, url;

    /* a URL with "&amp;" in it is good inside an attribute only; this is the
     * form that is harmless both there and as the src of an element */

    mode = html ? FCC_JSON_HTML : FCC_JSON_PLAIN;
    url = html ? FCC_JSON_URL : FCC_JSON_PLAIN;

    fcc_buf_lit(b, "{\"type\":\"reaction\",\"username\":");
    fcc_json_text(b, username->data, username->len, mode | FCC_JSON_NAME);
    fcc_buf_lit(b, ",\"stamp_id\":");
    fcc_json_int(b, stamp->id);
    fcc_buf_lit(b, ",\"stamp_name\":");
    fcc_json_text(b, stamp->name.data, stamp->name.len, mode);
    fcc_buf_lit(b, ",\"stamp_image_url\":");
    fcc_json_text(b, stamp->image.data, stamp->image.len, url);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_old_error(fcc_buf_t *b, const fcc_proto_error_t *err,
    const fcc_str_t *cid, int64_t retry_after)
{
    fcc_buf_lit(b, "{\"username\":\"\",\"message\":");
    fcc_proto_put_text(b, err->text);
    fcc_buf_lit(b, ",\"message_type\":\"system\",\"timestamp\":null,\"code\":");
    fcc_proto_put_text(b, err->code);
    fcc_proto_put_about(b, cid, retry_after);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_v1_message(fcc_buf_t *b, const fcc_event_t *e)
{
    fcc_buf_lit(b, "{\"type\":\"message\",\"seq\":");
    fcc_json_int(b, e->seq);
    fcc_buf_lit(b, ",\"id\":");
    fcc_proto_put_id(b, e->id);

    if (e->user_id == 0) {
        fcc_buf_lit(b, ",\"user\":null");

    } else {
        fcc_buf_lit(b, ",\"user\":{\"id\":");
        fcc_json_int(b, e->user_id);
        fcc_buf_lit(b, ",\"username\":");
        fcc_json_text(b, e->username.data, e->username.len, FCC_JSON_NAME);
        fcc_buf_lit(b, ",\"role\":");
        fcc_proto_put_str(b, &e->role);
        fcc_buf_lit(b, "}");
    }

    fcc_buf_lit(b, ",\"text\":");
    fcc_proto_put_str(b, &e->text);

    if (!fcc_proto_is_message(&e->type)) {
        fcc_buf_lit(b, ",\"message_type\":");
        fcc_proto_put_str(b, &e->type);
    }

    fcc_buf_lit(b, ",\"at\":\"");
    fcc_proto_time(b, e->at);
    fcc_buf_lit(b, "\"}");
}


void
fcc_proto_v1_history_begin(fcc_buf_t *b, int64_t before)
{
    fcc_buf_lit(b, "{\"type\":\"history\",\"before\":");
    fcc_json_int(b, before);
    fcc_buf_lit(b, ",\"messages\":[");
}


void
fcc_proto_v1_history_end(fcc_buf_t *b)
{
    fcc_buf_lit(b, "]}");
}


void
fcc_proto_v1_ack(fcc_buf_t *b, const fcc_str_t *cid, int64_t seq, int64_t id)
{
    fcc_buf_lit(b, "{\"type\":\"ack\"");

    if (cid != NULL && cid->len) {
        fcc_buf_lit(b, ",\"cid\":");
        fcc_proto_put_str(b, cid);
    }

    fcc_buf_lit(b, ",\"seq\":");
    fcc_json_int(b, seq);
    fcc_buf_lit(b, ",\"id\":");
    fcc_proto_put_id(b, id);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_v1_error(fcc_buf_t *b, const fcc_proto_error_t *err,
    const fcc_str_t *cid, int64_t retry_after)
{
    fcc_buf_lit(b, "{\"type\":\"error\",\"code\":");
    fcc_proto_put_text(b, err->code);
    fcc_buf_lit(b, ",\"message\":");
    fcc_proto_put_text(b, err->text);
    fcc_proto_put_about(b, cid, retry_after);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_v1_presence(fcc_buf_t *b, const char *type, int64_t id,
    const fcc_str_t *username, const fcc_str_t *role)
{
    fcc_buf_lit(b, "{\"type\":\"");
    fcc_buf_put(b, type, strlen(type));
    fcc_buf_lit(b, "\",\"user\":{\"id\":");
    fcc_json_int(b, id);
    fcc_buf_lit(b, ",\"username\":");
    fcc_json_text(b, username->data, username->len, FCC_JSON_NAME);
    fcc_buf_lit(b, ",\"role\":");
    fcc_proto_put_str(b, role);
    fcc_buf_lit(b, "}}");
}


void
fcc_proto_v1_viewers(fcc_buf_t *b, int64_t count)
{
    fcc_buf_lit(b, "{\"type\":\"viewers\",\"count\":");
    fcc_json_int(b, count);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_v1_reset(fcc_buf_t *b, const char *reason, const fcc_str_t *epoch,
    int64_t head)
{
    fcc_buf_lit(b, "{\"type\":\"reset\",\"reason\":");
    fcc_proto_put_text(b, reason);
    fcc_buf_lit(b, ",\"epoch\":");
    fcc_proto_put_str(b, epoch);
    fcc_buf_lit(b, ",\"head\":");
    fcc_json_int(b, head);
    fcc_buf_lit(b, "}");
}


void
fcc_proto_v1_reactions(fcc_buf_t *b, const fcc_count_t *counts, size_t n)
{
    size_t  i;

    fcc_buf_lit(b, "{\"type\":\"reactions\",\"counts\":{");

    for (i = 0; i < n; i++) {
        if (i) {
            fcc_buf_lit(b, ",");
        }

        fcc_buf_lit(b, "\"");
        fcc_json_int(b, counts[i].stamp_id);
        fcc_buf_lit(b, "\":");
        fcc_json_int(b, counts[i].count);
    }

    fcc_buf_lit(b, "}}");
}


void
fcc_proto_v1_welcome(fcc_buf_t *b, const fcc_welcome_t *w)
{
    fcc_buf_lit(b, "{\"type\":\"welcome\",\"room\":");
    fcc_proto_put_str(b, &w->room);
    fcc_buf_lit(b, ",\"epoch\":");
    fcc_proto_put_str(b, &w->epoch);
    fcc_buf_lit(b, ",\"head\":");
    fcc_json_int(b, w->head);
    fcc_buf_lit(b, ",\"you\":{\"id\":");
    fcc_proto_put_id(b, w->user_id);
    fcc_buf_lit(b, ",\"username\":");
    fcc_json_text(b, w->username.data, w->username.len, FCC_JSON_NAME);
    fcc_buf_lit(b, ",\"role\":");
    fcc_proto_put_str(b, &w->role);
    fcc_buf_lit(b, "},\"modes\":{\"slow\":");
    fcc_json_int(b, w->slow);
    fcc_buf_lit(b, "},\"pins\":[");
    fcc_buf_put(b, w->pins.data, w->pins.len);
    fcc_buf_lit(b, "],\"viewers\":");
    fcc_json_int(b, w->viewers);
    fcc_buf_lit(b, ",\"server_time\":");
    fcc_json_int(b, w->server_time);
    fcc_buf_lit(b, "}");
}


static void
fcc_proto_put_str(fcc_buf_t *b, const fcc_str_t *s)
{
    fcc_json_string(b, s->data, s->len);
}


static void
fcc_proto_put_text(fcc_buf_t *b, const char *s)
{
    fcc_json_string(b, (const unsigned char *) s, strlen(s));
}


static void
fcc_proto_put_id(fcc_buf_t *b, int64_t id)
{
    if (id == 0) {
        fcc_buf_lit(b, "null");
        return;
    }

    fcc_json_int(b, id);
}


static void
fcc_proto_put_about(fcc_buf_t *b, const fcc_str_t *cid, int64_t retry_after)
{
    if (cid != NULL && cid->len) {
        fcc_buf_lit(b, ",\"cid\":");
        fcc_proto_put_str(b, cid);
    }

    if (retry_after >= 0) {
        fcc_buf_lit(b, ",\"retry_after_ms\":");
        fcc_json_int(b, retry_after);
    }
}


/*
 * gmtime_r() may read the zone file when it is first called, so the calendar is
 * our own: days are counted from 0000-03-01, which puts the leap day at the
 * end of a year, and a year is found in its era of 400 (146097 days).
 */

void
fcc_proto_time(fcc_buf_t *b, int64_t at)
{
    int64_t         ms, days, era, year, month;
    unsigned char  *p, text[FCC_PROTO_TIME_LEN];

    if (at < 0) {
        at = 0;

    } else if (at > FCC_PROTO_TIME_MAX) {
        at = FCC_PROTO_TIME_MAX;
    }

    ms = at % FCC_PROTO_DAY;
    days = at / FCC_PROTO_DAY + 719468;

    era = days / 146097;
    days = days % 146097;

    year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    days -= year * 365 + year / 4 - year / 100;

    month = (days * 5 + 2) / 153;
    days -= (month * 153 + 2) / 5;

    month = (month < 10) ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);

    p = fcc_proto_digits(text, year, 4);
    *p++ = '-';
    p = fcc_proto_digits(p, month, 2);
    *p++ = '-';
    p = fcc_proto_digits(p, days + 1, 2);
    *p++ = 'T';
    p = fcc_proto_digits(p, ms / 3600000, 2);
    *p++ = ':';
    p = fcc_proto_digits(p, ms / 60000 % 60, 2);
    *p++ = ':';
    p = fcc_proto_digits(p, ms / 1000 % 60, 2);
    *p++ = '.';
    p = fcc_proto_digits(p, ms % 1000, 3);
    *p++ = 'Z';

    fcc_buf_put(b, text, p - text);
}


static unsigned char *
fcc_proto_digits(unsigned char *p, int64_t value, size_t digits)
{
    size_t  i;

    for (i = digits; i > 0; i--) {
        p[i - 1] = (unsigned char) ('0' + value % 10);
        value /= 10;
    }

    return p + digits;
}


static int
fcc_proto_is_message(const fcc_str_t *type)
{
    return type->len == sizeof("message") - 1
           && memcmp(type->data, "message", type->len) == 0;
}
