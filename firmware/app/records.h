// A client's next job record: its checks, its program's hash, and why it is refused.
#ifndef LEPTON_RECORDS_H
#define LEPTON_RECORDS_H

#include "scheduler.h"

static inline void refuse(client_t *c, lepton_refusal_t reason) {
    c->refusal = reason;
    c->state = RECORD_REFUSED;
    scheduler_time(c->accepted);
}

// Whether the record needs more steps before it is staged or answered.
static inline bool is_open(const client_t *c) {
    return c->state == RECORD_VERIFYING || c->state == RECORD_REFUSED;
}

// Hashes the next piece of the client's program.
void records_verify(scheduler_t *s, uint32_t client);

#endif
