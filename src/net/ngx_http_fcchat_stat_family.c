
/*
 * The names of what is counted, their labels, and what they mean.
 *
 * The order of a family's labels is that of its counters; how many there are is
 * the distance to the next counter in ngx_http_fcchat_stat.h.
 */


#include <ngx_http_fcchat_stat.h>


static const char  *ngx_http_fcchat_stat_protocols[] = {
    "old", "fcchat.v1", "echo", NULL
};


static const char  *ngx_http_fcchat_stat_codes[] = {
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009",
    "1010", "1011", "1012", "4001", "4008", "4010", "4012", "4013", "4400",
    "4401", "4403", "4404", "4409", "4410", "other", NULL
};


static const char  *ngx_http_fcchat_stat_refusals[] = {
    "method", "malformed", "version", "origin", "no_session", "banned",
    "no_room", "too_many", "unavailable", "other", NULL
};


static const char  *ngx_http_fcchat_stat_errors[] = {
    "bad_request", "bad_json", "bad_text", "unknown_type", "empty", "too_long",
    "login_required", "rate_limited", "unavailable", "unknown_stamp",
    "not_allowed", "rejected", "room_gone", "timed_out", "slow_mode", "banned",
    "duplicate", "forbidden", "not_found", "too_many", "other", NULL
};


static const char  *ngx_http_fcchat_stat_kinds[] = {
    "message", "notice", NULL
};


static const char  *ngx_http_fcchat_stat_directions[] = {
    "in", "out", NULL
};


static const char  *ngx_http_fcchat_stat_forms[] = {
    "plain", "packed", NULL
};


static const char  *ngx_http_fcchat_stat_resets[] = {
    "epoch", "malformed", "too_old", "gone", "ahead", "too_often", "other",
    NULL
};


static const char  *ngx_http_fcchat_stat_caches[] = {
    "hit", "none", "miss", NULL
};


static const char  *ngx_http_fcchat_stat_results[] = {
    "ok", "failed", "unknown", "unavailable", NULL
};


static const char  *ngx_http_fcchat_stat_bus[] = {
    "published", "dropped", "received", NULL
};


static const char  *ngx_http_fcchat_stat_statuses[] = {
    "200", "304", "400", "401", "403", "404", "405", "409", "413", "415",
    "429", "500", "503", "other", NULL
};


static const char  *ngx_http_fcchat_stat_retained[] = {
    "message", "event", "reaction", "ban", NULL
};


const ngx_http_fcchat_stat_family_t  ngx_http_fcchat_stat_families[] = {

    { "connections_opened_total", "WebSockets that were opened.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_OPENED,
      "protocol", ngx_http_fcchat_stat_protocols },

    { "connections_closed_total", "WebSockets that ended, by close code.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_CLOSED,
      "code", ngx_http_fcchat_stat_codes },

    { "slow_readers_closed_total", "Readers closed for being too far behind.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_SLOW, NULL, NULL },

    { "handshakes_refused_total", "Handshakes that were refused.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_REFUSED,
      "reason", ngx_http_fcchat_stat_refusals },

    { "client_messages_total", "WebSocket messages from clients.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RECEIVED,
      NULL, NULL },

    { "messages_total", "Chat messages that were committed.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_MESSAGES,
      NULL, NULL },

    { "message_repeats_total", "Messages sent again that were stored before.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_REPEATS,
      NULL, NULL },

    { "errors_total", "Errors told to clients, by code.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_ERRORS,
      "code", ngx_http_fcchat_stat_errors },

    { "deliveries_total",
      "Frames times readers: messages, and what is not stored.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_DELIVERIES,
      "kind", ngx_http_fcchat_stat_kinds },

    { "sends_total", "Readers visited by fan-outs.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_SENDS, NULL, NULL },

    { "bytes_total", "Bytes of WebSocket frames.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_BYTES_IN,
      "direction", ngx_http_fcchat_stat_directions },

    { "deflate_messages_total",
      "Messages compressed, each once for all its readers.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_DEFLATED,
      NULL, NULL },

    { "deflate_bytes_total", "Their bytes, before and after.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_DEFLATE_PLAIN,
      "form", ngx_http_fcchat_stat_forms },

    { "reactions_total", "Reactions that were taken.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_REACTIONS,
      NULL, NULL },

    { "resumes_total", "Readers given what they missed.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RESUMES, NULL, NULL },

    { "resets_total", "Readers told that what they missed can't be sent.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RESETS,
      "reason", ngx_http_fcchat_stat_resets },

    { "catchups_total", "Rooms brought up to date from PostgreSQL.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_CATCHUPS,
      NULL, NULL },

    { "backfills_total", "Older messages read for readers that resume.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_BACKFILLS,
      NULL, NULL },

    { "history_pages_total", "Pages of history that clients asked for.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_PAGES, NULL, NULL },

    { "session_cache_total", "Cookies looked up: known, known as nobody's, "
      "not known.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_CACHE_HIT,
      "result", ngx_http_fcchat_stat_caches },

    { "postgres_jobs_total", "Transactions, by their end.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_PG_JOBS,
      "result", ngx_http_fcchat_stat_results },

    { "postgres_connects_total", "Connections to PostgreSQL that came up.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_PG_CONNECTS,
      NULL, NULL },

    { "postgres_losses_total", "Connections to PostgreSQL that were lost.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_PG_LOSSES,
      NULL, NULL },

    { "redis_connects_total", "Links to Redis that came up.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_REDIS_CONNECTS,
      NULL, NULL },

    { "redis_losses_total", "Links to Redis that were lost.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_REDIS_LOSSES,
      NULL, NULL },

    { "redis_messages_total", "Envelopes on the bus; dropped: Redis was away.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_PUBLISHED,
      "kind", ngx_http_fcchat_stat_bus },

    { "api_answers_total", "Answers of the HTTP API, by status.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_API,
      "status", ngx_http_fcchat_stat_statuses },

    { "retention_deleted_total", "Rows that were deleted for their age.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RETAINED,
      "kind", ngx_http_fcchat_stat_retained },

    { "retention_kept_total", "Old messages that others refer to.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RETAIN_KEPT,
      NULL, NULL },

    { "retention_runs_total", "Runs of fcchat_retention that ended here.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RETAIN_RUNS,
      NULL, NULL },

    { "retention_errors_total", "Steps of fcchat_retention that failed.",
      NGX_HTTP_FCCHAT_STAT_COUNTER, NGX_HTTP_FCCHAT_STAT_RETAIN_ERRORS,
      NULL, NULL },

    { "commit_seconds", "From a message's arrival to its commit.",
      NGX_HTTP_FCCHAT_STAT_HISTOGRAM, NGX_HTTP_FCCHAT_STAT_COMMIT,
      NULL, NULL },

    { "fanout_seconds",
      "From a frame's place in a room's log to the last reader's send.",
      NGX_HTTP_FCCHAT_STAT_HISTOGRAM, NGX_HTTP_FCCHAT_STAT_FANOUT,
      NULL, NULL },

    { "postgres_seconds", "From a transaction's sending to its end.",
      NGX_HTTP_FCCHAT_STAT_HISTOGRAM, NGX_HTTP_FCCHAT_STAT_PG_TRIP,
      NULL, NULL },

    { "redis_seconds", "From a beat's publishing to its return.",
      NGX_HTTP_FCCHAT_STAT_HISTOGRAM, NGX_HTTP_FCCHAT_STAT_REDIS_TRIP,
      NULL, NULL },

    { "connections", "Open WebSockets.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_CONNECTIONS,
      NULL, NULL },

    { "open_rooms", "Rooms open in workers; one in two workers is two.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_OPEN_ROOMS,
      NULL, NULL },

    { "unstored_messages", "Messages that wait for their commit.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_UNSTORED, NULL, NULL },

    { "postgres_connections", "Connections to PostgreSQL that are up.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_PG_UP, NULL, NULL },

    { "postgres_queue", "Transactions that wait or are under way.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_PG_QUEUE, NULL, NULL },

    { "redis_links", "Links to Redis that there should be.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_REDIS_LINKS,
      NULL, NULL },

    { "redis_links_up", "Links to Redis that are up.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_REDIS_UP, NULL, NULL },

    { "retention_last_run_timestamp_seconds",
      "When a run of fcchat_retention last ended, on any node; 0: none did.",
      NGX_HTTP_FCCHAT_STAT_GAUGE, NGX_HTTP_FCCHAT_STAT_RETAIN_LAST,
      NULL, NULL },

    { NULL, NULL, 0, 0, NULL, NULL }
};


void
ngx_http_fcchat_stat_label(ngx_uint_t first, const char *value, uint64_t n)
{
    ngx_uint_t                            i;
    const ngx_http_fcchat_stat_family_t  *f;

    for (f = ngx_http_fcchat_stat_families; f->name; f++) {

        if (f->label == NULL || f->first != first) {
            continue;
        }

        for (i = 0; f->values[i + 1] != NULL; i++) {
            if (ngx_strcmp(f->values[i], value) == 0) {
                break;
            }
        }

        ngx_http_fcchat_stat->counters[first + i] += n;
        return;
    }
}
