
/*
 * The envelope between workers.  Whoever can reach Redis can send one, so it
 * is read as strictly as what a client sends: the envelope is checked as a
 * whole first, each item when it is asked for.
 */


#include <fcc_bus.h>
#include <fcc_django.h>
#include <fcc_json.h>


#define FCC_BUS_VERSION      1
#define FCC_BUS_DEPTH_MAX    4
#define FCC_BUS_NUMBER_MAX   (1LL << 53)
#define FCC_BUS_TENANT_MAX   63

#define FCC_BUS_EVENT_SIZE     8
#define FCC_BUS_REACTION_SIZE  3
#define FCC_BUS_PRESENT_SIZE   5
#define FCC_BUS_SPENT_SIZE     6


static int fcc_bus_envelope(fcc_bus_t *bus, const json_t *root);
static int fcc_bus_array(fcc_bus_t *bus, const json_t *root, const char *key);
static int fcc_bus_worker_valid(const fcc_str_t *worker);
static int fcc_bus_epoch_valid(const fcc_str_t *epoch);
static json_t *fcc_bus_item(const fcc_bus_t *bus, fcc_bus_e type, size_t i,
    size_t size);
static int fcc_bus_string(const json_t *item, size_t i, fcc_str_t *s);
static int fcc_bus_int(const json_t *item, size_t i, int64_t min, int64_t *n);
static int fcc_bus_is(const fcc_str_t *s, const char *text);
static void fcc_bus_begin(fcc_buf_t *b, const fcc_str_t *worker);


int
fcc_bus_own(const unsigned char *data, size_t len, const fcc_str_t *worker)
{
    static const char  head[] = "{\"v\":1,\"w\":\"";

    return len > sizeof(head) - 1 + worker->len
           && memcmp(data, head, sizeof(head) - 1) == 0
           && memcmp(data + sizeof(head) - 1, worker->data, worker->len) == 0;
}


int
fcc_bus_read(fcc_bus_t *bus, const unsigned char *data, size_t len)
{
    json_t        *root;
    json_error_t   err;

    memset(bus, 0, sizeof(fcc_bus_t));

    if (len > FCC_BUS_SIZE_MAX) {
        return FCC_ERROR;
    }

    root = fcc_json_load(data, len, FCC_BUS_DEPTH_MAX, 0, &err);

    if (root == NULL) {
        return FCC_ERROR;
    }

    if (fcc_bus_envelope(bus, root) != FCC_OK) {
        json_decref(root);
        memset(bus, 0, sizeof(fcc_bus_t));
        return FCC_ERROR;
    }

    bus->root = root;

    return FCC_OK;
}


int
fcc_bus_rights_read(fcc_bus_rights_t *r, const unsigned char *data, size_t len)
{
    json_t        *root, *user;
    json_error_t   err;

    memset(r, 0, sizeof(fcc_bus_rights_t));

    if (len > FCC_BUS_RIGHTS_MAX) {
        return FCC_ERROR;
    }

    root = fcc_json_load(data, len, FCC_BUS_DEPTH_MAX, 0, &err);

    if (root == NULL) {
        return FCC_ERROR;
    }

    if (fcc_json_get_string(json_object_get(root, "tenant"), &r->tenant)
        != FCC_OK
        || r->tenant.len == 0
        || r->tenant.len > FCC_BUS_TENANT_MAX
        || memchr(r->tenant.data, '\0', r->tenant.len) != NULL)
    {
        goto failed;
    }

    user = json_object_get(root, "user");

    if (user) {

        if (fcc_json_get_int(user, 1, INT64_MAX, &r->user) != FCC_OK) {
            goto failed;
        }

    } else if (fcc_json_get_string(json_object_get(root, "session"),
                                   &r->session)
               != FCC_OK
               || !fcc_django_session_key_valid(r->session.data,
                                                r->session.len))
    {
        goto failed;
    }

    r->root = root;

    return FCC_OK;

failed:

    json_decref(root);
    memset(r, 0, sizeof(fcc_bus_rights_t));

    return FCC_ERROR;
}


void
fcc_bus_rights_free(fcc_bus_rights_t *r)
{
    json_decref(r->root);

    memset(r, 0, sizeof(fcc_bus_rights_t));
}


void
fcc_bus_rights(fcc_buf_t *b, const fcc_str_t *tenant, int64_t user)
{
    fcc_buf_lit(b, "{\"tenant\":");
    fcc_json_string(b, tenant->data, tenant->len);
    fcc_buf_lit(b, ",\"user\":");
    fcc_json_int(b, user);
    fcc_buf_lit(b, "}");
}


void
fcc_bus_free(fcc_bus_t *bus)
{
    json_decref(bus->root);

    memset(bus, 0, sizeof(fcc_bus_t));
}


static int
fcc_bus_envelope(fcc_bus_t *bus, const json_t *root)
{
    int64_t    version;
    fcc_str_t  type;

    /* json_object_get() of what is not an object is NULL */

    if (fcc_json_get_int(json_object_get(root, "v"), FCC_BUS_VERSION,
                         FCC_BUS_VERSION, &version)
        != FCC_OK
        || fcc_json_get_string(json_object_get(root, "w"), &bus->worker)
           != FCC_OK
        || !fcc_bus_worker_valid(&bus->worker)
        || fcc_json_get_string(json_object_get(root, "t"), &type) != FCC_OK)
    {
        return FCC_ERROR;
    }

    if (fcc_bus_is(&type, "events")) {
        bus->type = FCC_BUS_EVENTS;

        if (fcc_json_get_string(json_object_get(root, "epoch"), &bus->epoch)
            != FCC_OK
            || !fcc_bus_epoch_valid(&bus->epoch))
        {
            return FCC_ERROR;
        }

        return fcc_bus_array(bus, root, "events");
    }

    if (fcc_bus_is(&type, "reactions")) {
        bus->type = FCC_BUS_REACTIONS;
        return fcc_bus_array(bus, root, "reactions");
    }

    if (fcc_bus_is(&type, "viewers")) {
        bus->type = FCC_BUS_VIEWERS;
        return fcc_json_get_int(json_object_get(root, "count"), 0,
                                FCC_BUS_NUMBER_MAX, &bus->n);
    }

    if (fcc_bus_is(&type, "present")) {
        bus->type = FCC_BUS_PRESENT;
        return fcc_bus_array(bus, root, "users");
    }

    if (fcc_bus_is(&type, "spent")) {
        bus->type = FCC_BUS_SPENT;

        if (fcc_json_get_int(json_object_get(root, "node"), 1,
                             FCC_BUS_NUMBER_MAX, &bus->node)
            != FCC_OK
            || fcc_json_get_int(json_object_get(root, "n"), 1,
                                FCC_BUS_NUMBER_MAX, &bus->n)
               != FCC_OK)
        {
            return FCC_ERROR;
        }

        return fcc_bus_array(bus, root, "spent");
    }

    if (fcc_bus_is(&type, "beat")) {
        bus->type = FCC_BUS_BEAT;
        return fcc_json_get_int(json_object_get(root, "n"), INT64_MIN,
                                INT64_MAX, &bus->n);
    }

    return FCC_ERROR;
}


static int
fcc_bus_array(fcc_bus_t *bus, const json_t *root, const char *key)
{
    json_t  *array;

    array = json_object_get(root, key);

    if (!json_is_array(array) || json_array_size(array) > FCC_BUS_ITEMS_MAX) {
        return FCC_ERROR;
    }

    bus->array = array;
    bus->items = json_array_size(array);

    return FCC_OK;
}


static int
fcc_bus_worker_valid(const fcc_str_t *worker)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < worker->len; i++) {
        c = worker->data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return 0;
        }
    }

    return worker->len == FCC_BUS_WORKER_LEN;
}


static int
fcc_bus_epoch_valid(const fcc_str_t *epoch)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < epoch->len; i++) {
        c = epoch->data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
              || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'))
        {
            return 0;
        }
    }

    return epoch->len > 0 && epoch->len <= FCC_BUS_EPOCH_MAX;
}


int
fcc_bus_event(fcc_bus_t *bus, size_t i, fcc_event_t *e)
{
    json_t  *item;

    item = fcc_bus_item(bus, FCC_BUS_EVENTS, i, FCC_BUS_EVENT_SIZE);

    e->detail.len = 0;
    e->detail.data = NULL;

    if (item == NULL) {
        item = fcc_bus_item(bus, FCC_BUS_EVENTS, i, FCC_BUS_EVENT_SIZE + 1);

        if (item == NULL
            || fcc_bus_string(item, FCC_BUS_EVENT_SIZE, &e->detail) != FCC_OK)
        {
            return FCC_ERROR;
        }
    }

    if (fcc_bus_int(item, 0, 1, &e->seq) != FCC_OK
        || fcc_bus_int(item, 1, 0, &e->id) != FCC_OK
        || fcc_bus_int(item, 2, 0, &e->user_id) != FCC_OK
        || fcc_bus_string(item, 3, &e->username) != FCC_OK
        || fcc_bus_string(item, 4, &e->role) != FCC_OK
        || fcc_bus_string(item, 5, &e->type) != FCC_OK
        || fcc_bus_string(item, 6, &e->text) != FCC_OK
        || fcc_bus_int(item, 7, 1, &e->at) != FCC_OK)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


int
fcc_bus_reaction(fcc_bus_t *bus, size_t i, fcc_bus_reaction_t *r)
{
    json_t  *item;

    item = fcc_bus_item(bus, FCC_BUS_REACTIONS, i, FCC_BUS_REACTION_SIZE);

    if (item == NULL
        || fcc_bus_int(item, 0, 0, &r->user_id) != FCC_OK
        || fcc_bus_string(item, 1, &r->username) != FCC_OK
        || fcc_bus_int(item, 2, 0, &r->stamp_id) != FCC_OK)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


int
fcc_bus_present(fcc_bus_t *bus, size_t i, fcc_bus_present_t *p)
{
    json_t  *item;

    item = fcc_bus_item(bus, FCC_BUS_PRESENT, i, FCC_BUS_PRESENT_SIZE);

    if (item == NULL
        || fcc_bus_int(item, 0, 1, &p->user_id) != FCC_OK
        || fcc_bus_string(item, 1, &p->username) != FCC_OK
        || p->username.len > FCC_BUS_NAME_MAX
        || fcc_bus_string(item, 2, &p->role) != FCC_OK
        || p->role.len > FCC_BUS_NAME_MAX
        || fcc_json_get_int(json_array_get(item, 3), 0, FCC_BUS_NUMBER_MAX,
                            &p->since)
           != FCC_OK
        || fcc_json_get_int(json_array_get(item, 4), 0, FCC_BUS_NUMBER_MAX,
                            &p->seen)
           != FCC_OK)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


int
fcc_bus_spent(fcc_bus_t *bus, size_t i, fcc_bus_spent_t *s)
{
    json_t  *item;

    item = fcc_bus_item(bus, FCC_BUS_SPENT, i, FCC_BUS_SPENT_SIZE);

    if (item == NULL
        || fcc_bus_string(item, 0, &s->schema) != FCC_OK
        || s->schema.len == 0
        || s->schema.len > FCC_BUS_TENANT_MAX
        || fcc_bus_int(item, 1, 1, &s->user_id) != FCC_OK
        || fcc_json_get_int(json_array_get(item, 2), 0, 2, &s->kind) != FCC_OK
        || fcc_json_get_int(json_array_get(item, 3), 0, FCC_BUS_COST_MAX,
                            &s->cost)
           != FCC_OK
        || fcc_bus_int(item, 4, INT64_MIN, &s->text) != FCC_OK
        || fcc_bus_int(item, 5, INT64_MIN, &s->cid) != FCC_OK)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


static json_t *
fcc_bus_item(const fcc_bus_t *bus, fcc_bus_e type, size_t i, size_t size)
{
    json_t  *item;

    if (bus->type != type) {
        return NULL;
    }

    item = json_array_get(bus->array, i);

    return (json_array_size(item) == size) ? item : NULL;
}


static int
fcc_bus_string(const json_t *item, size_t i, fcc_str_t *s)
{
    if (fcc_json_get_string(json_array_get(item, i), s) != FCC_OK
        || memchr(s->data, '\0', s->len) != NULL)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


static int
fcc_bus_int(const json_t *item, size_t i, int64_t min, int64_t *n)
{
    return fcc_json_get_int(json_array_get(item, i), min, INT64_MAX, n);
}


static int
fcc_bus_is(const fcc_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


void
fcc_bus_events_begin(fcc_buf_t *b, const fcc_str_t *worker,
    const fcc_str_t *epoch)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"events\",\"epoch\":");
    fcc_json_string(b, epoch->data, epoch->len);
    fcc_buf_lit(b, ",\"events\":[");
}


void
fcc_bus_event_put(fcc_buf_t *b, const fcc_event_t *e, int first)
{
    if (!first) {
        fcc_buf_lit(b, ",");
    }

    fcc_buf_lit(b, "[");
    fcc_json_int(b, e->seq);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, e->id);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, e->user_id);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, e->username.data, e->username.len);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, e->role.data, e->role.len);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, e->type.data, e->type.len);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, e->text.data, e->text.len);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, e->at);

    if (e->detail.len) {
        fcc_buf_lit(b, ",");
        fcc_json_string(b, e->detail.data, e->detail.len);
    }

    fcc_buf_lit(b, "]");
}


void
fcc_bus_reactions_begin(fcc_buf_t *b, const fcc_str_t *worker)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"reactions\",\"reactions\":[");
}


void
fcc_bus_reaction_put(fcc_buf_t *b, const fcc_bus_reaction_t *r, int first)
{
    if (!first) {
        fcc_buf_lit(b, ",");
    }

    fcc_buf_lit(b, "[");
    fcc_json_int(b, r->user_id);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, r->username.data, r->username.len);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, r->stamp_id);
    fcc_buf_lit(b, "]");
}


void
fcc_bus_present_begin(fcc_buf_t *b, const fcc_str_t *worker)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"present\",\"users\":[");
}


void
fcc_bus_present_put(fcc_buf_t *b, const fcc_bus_present_t *p, int first)
{
    if (!first) {
        fcc_buf_lit(b, ",");
    }

    fcc_buf_lit(b, "[");
    fcc_json_int(b, p->user_id);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, p->username.data, p->username.len);
    fcc_buf_lit(b, ",");
    fcc_json_string(b, p->role.data, p->role.len);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, p->since);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, p->seen);
    fcc_buf_lit(b, "]");
}


void
fcc_bus_spent_begin(fcc_buf_t *b, const fcc_str_t *worker, int64_t node,
    int64_t n)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"spent\",\"node\":");
    fcc_json_int(b, node);
    fcc_buf_lit(b, ",\"n\":");
    fcc_json_int(b, n);
    fcc_buf_lit(b, ",\"spent\":[");
}


void
fcc_bus_spent_put(fcc_buf_t *b, const fcc_bus_spent_t *s, int first)
{
    if (!first) {
        fcc_buf_lit(b, ",");
    }

    fcc_buf_lit(b, "[");
    fcc_json_string(b, s->schema.data, s->schema.len);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, s->user_id);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, s->kind);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, s->cost);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, s->text);
    fcc_buf_lit(b, ",");
    fcc_json_int(b, s->cid);
    fcc_buf_lit(b, "]");
}


void
fcc_bus_end(fcc_buf_t *b)
{
    fcc_buf_lit(b, "]}");
}


void
fcc_bus_viewers(fcc_buf_t *b, const fcc_str_t *worker, int64_t count)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"viewers\",\"count\":");
    fcc_json_int(b, count);
    fcc_buf_lit(b, "}");
}


void
fcc_bus_beat(fcc_buf_t *b, const fcc_str_t *worker, int64_t nonce)
{
    fcc_bus_begin(b, worker);
    fcc_buf_lit(b, "\"beat\",\"n\":");
    fcc_json_int(b, nonce);
    fcc_buf_lit(b, "}");
}


static void
fcc_bus_begin(fcc_buf_t *b, const fcc_str_t *worker)
{
    fcc_buf_lit(b, "{\"v\":1,\"w\":");
    fcc_json_string(b, worker->data, worker->len);
    fcc_buf_lit(b, ",\"t\":");
}
