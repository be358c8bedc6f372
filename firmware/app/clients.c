#include "clients.h"

#include "dif_chip.h"
#include "dif_launcher.h"

bool clients_reset(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    c->state = RECORD_NONE;
    s->ready &= ~(1u << client);
    if (s->staged.valid && s->staged.client == client && !s->staged.forgotten) {
        s->staged.forgotten = true;
        dif_launcher_cancel();
    }
    if (s->running.valid && s->running.client == client && !s->running.forgotten) {
        s->running.forgotten = true;
        if (!s->running.aborted) {
            s->running.aborted = true;
            dif_chip_abort();
            controller_write(LEPTON_REG_TIMER, ABORT_GRACE);
            scheduler_log(s, LEPTON_EVENT_KIND_ABORT, client, (const uint32_t[4]){s->running.sequence, 0, 0, 0});
        }
    }
    if (has_job(s, client)) {
        return false;
    }
    c->head = 0;
    c->done = 0;
    c->passed = 0;
    set_client_register(client, LEPTON_REG_CLIENT0_HEAD, 0);
    set_client_register(client, LEPTON_REG_CLIENT0_DONE, 0);
    s->waiting |= 1u << client;
    controller_write(LEPTON_REG_CLIENT_RESET, 1u << client);
    scheduler_log(s, LEPTON_EVENT_KIND_CLIENT_RESET, client, (const uint32_t[4]){0, 0, 0, 0});
    return true;
}
