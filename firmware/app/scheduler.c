#include "scheduler.h"

#include <stddef.h>

#include "clients.h"
#include "completions.h"
#include "copies.h"
#include "dif_chip.h"
#include "dif_launcher.h"
#include "records.h"
#include "validate.h"

#define CONTROL_ENABLE 1u
#define CRC_RESIDUE 0x2144DF1Cu  // CRC32 of anything that ends in its own CRC32
#define CONTROL_PRIORITY_SHIFT 4

result_t scheduler_init(scheduler_t *s) {
    if (s == NULL) {
        return RESULT_BAD_ARGUMENT;
    }
    *s = (scheduler_t){.waiting = (1u << LEPTON_CLIENTS) - 1, .last = LEPTON_CLIENTS - 1};
    for (uint32_t i = 0; i < LEPTON_CLIENTS; ++i) {
        set_client_register(i, LEPTON_REG_CLIENT0_HEAD, 0);
        set_client_register(i, LEPTON_REG_CLIENT0_DONE, 0);
    }
    return RESULT_OK;
}

// Takes the client's next record, if there is one.
static void fetch(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    s->waiting &= ~(1u << client);
    const uint32_t control = client_register(client, LEPTON_REG_CLIENT0_CONTROL);
    const uint32_t tail = client_register(client, LEPTON_REG_CLIENT0_TAIL);
    if ((control & CONTROL_ENABLE) == 0 || tail == c->head) {
        return;
    }
    if (tail - c->done > LEPTON_RING_ENTRIES || tail - c->head > LEPTON_RING_ENTRIES) {  // or it is behind HEAD
        scheduler_log(s, LEPTON_EVENT_KIND_BAD_DOORBELL, client, (const uint32_t[4]){tail, c->head, 0, 0});
        return;
    }
    s->waiting |= 1u << client;
    const uint32_t offset = (c->head % LEPTON_RING_ENTRIES) * LEPTON_JOB_BYTES;
    dif_copy_crc_start();
    const result_t begun = dif_copy_read_begin(client, offset, mmio_local(&c->record), sizeof c->record);
    const uint32_t sequence = c->head;  // while memory answers
    c->head += 1;
    set_client_register(client, LEPTON_REG_CLIENT0_HEAD, c->head);
    c->limit = client_register(client, LEPTON_REG_CLIENT0_LIMIT);
    const uint32_t window_bytes = client_register(client, LEPTON_REG_CLIENT0_SIZE);
    result_t read = copies_end_quickly(s, begun);
    if (read == RESULT_STUCK) {  // see copies_write
        dif_copy_crc_start();
        read = copies_end(s, dif_copy_read_begin(client, offset, mmio_local(&c->record), sizeof c->record));
    }
    const bool whole = dif_copy_crc() == CRC_RESIDUE;
    if (read != RESULT_OK) {
        c->record = (lepton_job_record_t){0};
        refuse(c, LEPTON_REFUSAL_MEMORY);
        return;
    }
    lepton_refusal_t reason = validate_job(&c->record, sequence, window_bytes);
    if (reason != LEPTON_REFUSAL_MAGIC && !whole) {
        reason = LEPTON_REFUSAL_CRC;
    }
    if (reason != LEPTON_REFUSAL_NONE) {
        refuse(c, reason);
        return;
    }
    const uint32_t highest = (control >> CONTROL_PRIORITY_SHIFT) % LEPTON_PRIORITIES;
    c->priority = c->record.priority < highest ? c->record.priority : highest;
    c->passed = 0;
    c->checked = 0;
    c->crc = DIF_CRC_START;
    c->state = (c->record.flags & LEPTON_JOB_FLAG_VERIFY) != 0 ? RECORD_VERIFYING : RECORD_READY;
}

// The client whose job goes next, LEPTON_CLIENTS if none is ready: one that was passed over too often, else the highest
// priority; of several the next in turn.
static uint32_t choose(const scheduler_t *s) {
    const uint32_t ready = s->ready;
    if ((ready & (ready - 1)) == 0) {  // one or none
        return ready == 0 ? LEPTON_CLIENTS : ready == 1u << s->prepared ? s->prepared : first_client(ready);
    }
    uint32_t best = LEPTON_CLIENTS;
    uint32_t best_rank = 0;
    const uint32_t next = s->last + 1;
    uint32_t turn = (ready | ready << LEPTON_CLIENTS) >> next & ((1u << LEPTON_CLIENTS) - 1);
    for (; turn != 0; turn &= turn - 1) {
        const uint32_t client = (next + first_client(turn)) % LEPTON_CLIENTS;
        const client_t *c = &s->clients[client];
        const uint32_t rank = c->passed >= LEPTON_PATIENCE ? LEPTON_PRIORITIES : c->priority;
        if (best == LEPTON_CLIENTS || rank > best_rank) {
            best = client;
            best_rank = rank;
        }
    }
    return best;
}

static uint32_t time_limit(uint32_t wanted, uint32_t highest) {
    return wanted == 0 || (highest != 0 && highest < wanted) ? highest : wanted;
}

static bool stage(scheduler_t *s) {
    const uint32_t client = choose(s);
    if (client == LEPTON_CLIENTS) {
        return false;
    }
    client_t *c = &s->clients[client];
    const lepton_job_record_t *record = &c->record;
    const uint32_t limit = time_limit(record->time_limit, c->limit);
    if (dif_launcher_stage(client, record, limit) != RESULT_OK) {
        return false;
    }
    s->ready &= ~(1u << client);
    scheduler_time(c->accepted);  // here, as it would delay the start before
    for (uint32_t others = s->ready; others != 0; others &= others - 1) {
        s->clients[first_client(others)].passed += 1;
    }
    s->last = client;
    s->staged = (job_t){
        .valid = true,
        .client = client,
        .sequence = record->sequence,
        .flags = record->flags,
        .limit = limit,
        .tag = {record->tag[0], record->tag[1]},
        .hash = record->program_hash,
        .accepted = {c->accepted[0], c->accepted[1]},
        .snapshot_offset = record->snapshot_offset,
        .snapshot_count = record->snapshot_count,
    };
    c->state = RECORD_NONE;
    s->waiting |= 1u << client;
    return true;
}

// The staged job has left the launcher's waiting place: it runs, or hardware has refused it.
OUT_OF_LINE static void promote(scheduler_t *s, uint32_t status) {
    const job_t job = s->staged;
    s->staged.valid = false;
    if ((status & LEPTON_LAUNCH_STATUS_REFUSED) != 0) {
        if (!job.forgotten) {
            completions_answer_launch(s, &job);
        }
        return;
    }
    s->running = job;
    if (job.forgotten) {
        dif_chip_abort();
        controller_write(LEPTON_REG_TIMER, ABORT_GRACE);
        s->running.aborted = true;
    }
    scheduler_log(s, LEPTON_EVENT_KIND_START, job.client, (const uint32_t[4]){job.sequence, job.hash, job.limit, 0});
}

OUT_OF_LINE static void log_time_limit(scheduler_t *s) {
    scheduler_log(s, LEPTON_EVENT_KIND_TIME_LIMIT, s->running.client,
                  (const uint32_t[4]){s->running.sequence, s->running.limit, 0, 0});
}

// What the launcher says: a job has started, ended, been refused or forgotten, or has used up its time.
static bool follow_launcher(scheduler_t *s, uint32_t events) {
    if (!s->running.valid && !s->staged.valid) {
        return false;
    }
    const uint32_t status = dif_launcher_status();
    const bool ended = (status & LEPTON_LAUNCH_STATUS_RESULT) != 0;
    if (s->staged.valid && (status & LEPTON_LAUNCH_STATUS_STAGED) == 0) {
        // It has started if the launcher is busy with a job that is not the one known to run.
        const bool started = !s->running.valid && (ended || (status & LEPTON_LAUNCH_STATUS_RUNNING) != 0);
        if (s->staged.forgotten && !started && !(s->running.valid && ended)) {
            s->staged.valid = false;  // cancelled in time
            return true;
        }
        if (!s->running.valid) {
            promote(s, status);
            return true;
        }
    }
    if (!s->running.valid) {
        return false;
    }
    if (ended) {
        if (s->expired && !s->running.aborted) {
            s->running.aborted = true;
            log_time_limit(s);
        }
        completions_finish(s);
        return true;
    }
    if ((status & LEPTON_LAUNCH_STATUS_EXPIRED) != 0 && !s->running.aborted) {
        s->running.aborted = true;
        if (!s->expired) {
            dif_chip_abort();
            controller_write(LEPTON_REG_TIMER, ABORT_GRACE);
        }
        log_time_limit(s);
        return true;
    }
    if (s->running.aborted && (events & LEPTON_EVENT_TIMER) != 0) {
        dif_chip_reset();
        s->reset = true;
    }
    return false;
}

static bool serve_clients(scheduler_t *s) {
    const uint32_t rung = controller_read(LEPTON_REG_DOORBELLS);
    if (rung != 0) {
        controller_write(LEPTON_REG_DOORBELLS, rung);
        s->waiting |= rung;
    }
    const uint32_t resets = controller_read(LEPTON_REG_CLIENT_RESET);
    bool more = false;
    for (uint32_t attention = s->waiting | s->open | resets; attention != 0; attention &= attention - 1) {
        const uint32_t i = first_client(attention);
        client_t *c = &s->clients[i];
        if ((resets >> i & 1u) != 0) {
            more |= clients_reset(s, i);
            continue;
        }
        if (c->state == RECORD_NONE && (s->waiting >> i & 1u) != 0) {
            fetch(s, i);
        }
        if (c->state == RECORD_VERIFYING) {
            records_verify(s, i);
            more = true;
        }
        if (c->state == RECORD_REFUSED && !has_job(s, i)) {
            completions_answer_refusal(s, i);
            more = true;
        }
        s->open = is_open(c) ? s->open | 1u << i : s->open & ~(1u << i);
        if (c->state == RECORD_READY) {
            s->ready |= 1u << i;
            s->prepared = i;
        }
    }
    return more;
}

result_t scheduler_step(scheduler_t *s, uint32_t events, bool *more) {
    if (s == NULL || more == NULL) {
        return RESULT_BAD_ARGUMENT;
    }
    *more = follow_launcher(s, events);
    *more |= serve_clients(s);
    // The snapshots of a job must be copied before the next one overwrites them.
    const bool keep = s->running.valid && (s->running.flags & LEPTON_JOB_FLAG_SNAPSHOTS) != 0;
    if (!s->staged.valid && !keep) {
        *more |= stage(s);
    }
    return RESULT_OK;
}
