// Clients' registers, and sets of clients as bits of a word.
#ifndef LEPTON_CLIENTS_H
#define LEPTON_CLIENTS_H

#include "mmio.h"
#include "scheduler.h"

// The lowest bit that is set in `clients`, which has one. In steps, as the processor has no instruction for it and a
// loop over clients would lie between a doorbell and its job.
static inline uint32_t first_client(uint32_t clients) {
    uint32_t index = 0;
    if ((clients & 0xFu) == 0) {
        clients >>= 4;
        index = 4;
    }
    if ((clients & 3u) == 0) {
        clients >>= 2;
        index += 2;
    }
    return (clients & 1u) != 0 ? index : index + 1;
}

_Static_assert(LEPTON_CLIENTS <= 8, "first_client looks at 8 bits");

static inline uint32_t client_register(uint32_t client, uint32_t first) {
    return controller_read(first + client * LEPTON_WINDOW_STRIDE);
}

static inline void set_client_register(uint32_t client, uint32_t first, uint32_t value) {
    controller_write(first + client * LEPTON_WINDOW_STRIDE, value);
}

// Whether the launcher has a job of the client.
static inline bool has_job(const scheduler_t *s, uint32_t client) {
    return (s->running.valid && s->running.client == client) || (s->staged.valid && s->staged.client == client);
}

// The host has asked to forget a client's jobs. False while one of them still runs.
bool clients_reset(scheduler_t *s, uint32_t client);

#endif
