
/*
 * What comes over the bus, from whoever can publish there.  What is read keeps
 * the promises of fcc_bus.h, and written again it is read as the same.
 */


#include "fuzz.h"

#include <fcc_bus.h>
#include <fcc_utf8.h>


static void
fuzz_text(fcc_str_t *s)
{
    claim(fcc_utf8_length(s->data, s->len) >= 0);
    claim(s->len == 0 || memchr(s->data, 0, s->len) == NULL);
}


static int
fuzz_same(fcc_str_t *a, fcc_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}


static void
fuzz_event_again(fcc_bus_t *bus, fcc_event_t *e)
{
    size_t          size;
    fcc_buf_t       b;
    fcc_bus_t       again;
    fcc_event_t     same;
    unsigned char  *buf;

    size = fcc_event_size(e) + FCC_PROTO_OVERHEAD;

    buf = malloc(size);
    claim(buf != NULL);

    fcc_buf_init(&b, buf, size);
    fcc_bus_events_begin(&b, &bus->worker, &bus->epoch);
    fcc_bus_event_put(&b, e, 1);
    fcc_bus_end(&b);

    claim(!b.full);

    if (b.pos - b.start <= FCC_BUS_SIZE_MAX) {
        claim(fcc_bus_read(&again, b.start, b.pos - b.start) == FCC_OK);
        claim(again.type == FCC_BUS_EVENTS && again.items == 1);
        claim(fuzz_same(&again.worker, &bus->worker));
        claim(fuzz_same(&again.epoch, &bus->epoch));
        claim(fcc_bus_own(b.start, b.pos - b.start, &bus->worker) == 1);
        claim(fcc_bus_event(&again, 0, &same) == FCC_OK);
        claim(same.seq == e->seq && same.id == e->id && same.at == e->at);
        claim(same.user_id == e->user_id);
        claim(fuzz_same(&same.username, &e->username));
        claim(fuzz_same(&same.role, &e->role));
        claim(fuzz_same(&same.type, &e->type));
        claim(fuzz_same(&same.text, &e->text));
        claim(fuzz_same(&same.detail, &e->detail));
        fcc_bus_free(&again);
    }

    free(buf);
}


static void
fuzz_items(fcc_bus_t *bus)
{
    size_t              i;
    fcc_event_t         e;
    fcc_bus_spent_t     s;
    fcc_bus_present_t   p;
    fcc_bus_reaction_t  r;

    for (i = 0; i < bus->items; i++) {

        if (bus->type == FCC_BUS_EVENTS && fcc_bus_event(bus, i, &e) == FCC_OK)
        {
            claim(e.seq >= 1 && e.at >= 1 && e.id >= 0 && e.user_id >= 0);
            fuzz_text(&e.username);
            fuzz_text(&e.role);
            fuzz_text(&e.type);
            fuzz_text(&e.text);
            fuzz_event_again(bus, &e);
        }

        if (bus->type == FCC_BUS_REACTIONS
            && fcc_bus_reaction(bus, i, &r) == FCC_OK)
        {
            claim(r.user_id >= 0 && r.stamp_id >= 0);
            fuzz_text(&r.username);
        }

        if (bus->type == FCC_BUS_PRESENT
            && fcc_bus_present(bus, i, &p) == FCC_OK)
        {
            claim(p.user_id >= 1 && p.since >= 0 && p.seen >= 0);
            claim(p.username.len <= FCC_BUS_NAME_MAX);
            fuzz_text(&p.username);
            fuzz_text(&p.role);
        }

        if (bus->type == FCC_BUS_SPENT
            && fcc_bus_spent(bus, i, &s) == FCC_OK)
        {
            claim(s.user_id >= 1 && s.kind >= 0 && s.kind <= 2);
            claim(s.cost >= 0 && s.cost <= FCC_BUS_COST_MAX);
            claim(s.schema.len >= 1 && s.schema.len <= 63);
            fuzz_text(&s.schema);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fcc_bus_t         bus;
    unsigned char    *copy;
    fcc_bus_rights_t  r;

    if (size > FCC_BUS_SIZE_MAX + 16) {
        return 0;
    }

    copy = malloc(size ? size : 1);
    claim(copy != NULL);
    memcpy(copy, data, size);

    if (fcc_bus_read(&bus, copy, size) == FCC_OK) {
        claim(bus.worker.len == FCC_BUS_WORKER_LEN);
        claim(bus.items <= FCC_BUS_ITEMS_MAX);
        claim(bus.epoch.len <= FCC_BUS_EPOCH_MAX);
        fuzz_items(&bus);
        fcc_bus_free(&bus);
    }

    if (fcc_bus_rights_read(&r, copy, size) == FCC_OK) {
        claim(r.tenant.len >= 1 && r.tenant.len <= 63);
        claim(r.user >= 1 || (r.user == 0 && r.session.len >= 8));
        fuzz_text(&r.tenant);
        fcc_bus_rights_free(&r);
    }

    free(copy);

    return 0;
}
