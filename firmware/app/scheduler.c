#include "scheduler.h"

#include <stddef.h>

#include "dif_chip.h"
#include "dif_copy.h"
#include "dif_launcher.h"
#include "validate.h"

#define CHECK_BYTES 2048u      // of a program that are hashed in one step
#define ABORT_GRACE LEPTON_DRAIN_LIMIT  // cycles for an aborted job to end before the chip is reset
#define PATIENT_POLLS 16u      // of a copy, before what may block it is looked at
#define CONTROL_ENABLE 1u
#define CRC_RESIDUE 0x2144DF1Cu  // CRC32 of anything that ends in its own CRC32
#define CONTROL_PRIORITY_SHIFT 4

// What is not between a doorbell and its job stays out of the functions that are, which then save fewer registers.
#define ASIDE __attribute__((noinline)) static

// The lowest bit that is set in `clients`, which has one. In steps, as the processor has no instruction for it and a
// loop over clients would lie between a doorbell and its job.
static uint32_t first_client(uint32_t clients) {
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

static uint32_t client_register(uint32_t client, uint32_t first) {
    return controller_read(first + client * LEPTON_WINDOW_STRIDE);
}

static void set_client_register(uint32_t client, uint32_t first, uint32_t value) {
    controller_write(first + client * LEPTON_WINDOW_STRIDE, value);
}

void scheduler_time(uint32_t time[2]) {
    uint32_t high = controller_read(LEPTON_REG_TIME_HI);
    do {
        time[1] = high;
        time[0] = controller_read(LEPTON_REG_TIME);
        high = controller_read(LEPTON_REG_TIME_HI);
    } while (high != time[1]);
}

// Memory has answered nothing of what the last job left open for long enough, or is out of step.
static bool memory_is_lost(uint32_t begun) {
    const uint32_t memory = dif_chip_memory_status();
    return (memory & DIF_MEMORY_BROKEN) != 0 ||
           ((memory & DIF_MEMORY_OPEN) != 0 && controller_read(LEPTON_REG_TIME) - begun >= LEPTON_DRAIN_LIMIT);
}

// Memory answers in order, so a job's transfer that hangs also blocks the firmware's, for which it has waited since
// `begun`. True if that is so and a reset is due: the job has ended and left transfers open, or its abort has had its
// grace. One whose time is up is aborted.
ASIDE bool memory_is_blocked(scheduler_t *s, uint32_t begun) {
    const uint32_t status = dif_launcher_status();
    if ((status & LEPTON_LAUNCH_STATUS_HELD) != 0) {
        return memory_is_lost(begun);
    }
    if ((status & LEPTON_LAUNCH_STATUS_RUNNING) == 0) {
        return false;
    }
    if ((status & LEPTON_LAUNCH_STATUS_EXPIRED) != 0 && !s->expired) {
        s->expired = true;
        dif_chip_abort();
        controller_write(LEPTON_REG_TIMER, ABORT_GRACE);
    }
    return (controller_read(LEPTON_REG_EVENTS) & LEPTON_EVENT_TIMER) != 0;
}

// What the last job has left open must have ended before the next one starts, or be forgotten by memory and chip.
ASIDE void settle_memory(scheduler_t *s) {
    const uint32_t begun = controller_read(LEPTON_REG_TIME);
    while ((dif_chip_memory_status() & (DIF_MEMORY_OPEN | DIF_MEMORY_BROKEN)) != 0) {
        if (memory_is_lost(begun)) {
            dif_chip_reset_memory();
            s->reset = true;
            return;
        }
    }
}

// What became of a copy; one that got stuck has reset memory, and with it a job that ran.
ASIDE result_t copy_ended(scheduler_t *s, result_t result) {
    if (result == RESULT_STUCK && s->running.valid) {
        s->reset = true;
    }
    return result;
}

// Waits for the copy that was `begun`. RESULT_STUCK: memory and its ports have been reset, and with them a job that ran.
ASIDE result_t end_copy(scheduler_t *s, result_t begun) {
    if (begun != RESULT_OK) {
        return begun;
    }
    result_t result;
    const uint32_t time = controller_read(LEPTON_REG_TIME);
    for (uint32_t polls = 0; (result = dif_copy_result()) == RESULT_BUSY; ++polls) {
        if (polls >= PATIENT_POLLS && memory_is_blocked(s, time)) {
            controller_write(LEPTON_REG_TIMER, 0);
            controller_write(LEPTON_REG_EVENTS, LEPTON_EVENT_TIMER);
            dif_chip_reset_memory();
            s->reset = true;
            return RESULT_STUCK;
        }
    }
    return copy_ended(s, result);
}

// The same between a doorbell and its job, where calls cost: most copies have ended when this asks.
static inline result_t end_quick_copy(scheduler_t *s, result_t begun) {
    for (uint32_t polls = 0; begun == RESULT_OK && polls < PATIENT_POLLS; ++polls) {
        const result_t result = dif_copy_result();
        if (result == RESULT_OK) {
            return RESULT_OK;
        }
        if (result != RESULT_BUSY) {  // asked again, a copy that got stuck would look as if all were well
            return copy_ended(s, result);
        }
    }
    return end_copy(s, begun);
}

// A job may have blocked memory, and none runs after a reset: what is stuck is tried once more, and only then the fault
// of the window that it goes to.
ASIDE result_t write_window(scheduler_t *s, uint32_t window, uint32_t offset, const void *data, uint32_t bytes) {
    const result_t result = end_copy(s, dif_copy_write_begin(window, offset, data, bytes));
    return result != RESULT_STUCK ? result : end_copy(s, dif_copy_write_begin(window, offset, data, bytes));
}

void scheduler_log(scheduler_t *s, lepton_event_kind_t kind, uint32_t client, const uint32_t arguments[4]) {
    lepton_event_record_t *event = &s->out.event;
    *event = (lepton_event_record_t){
        .sequence = s->events,
        .kind = (uint8_t)kind,
        .client = (uint8_t)client,
        .arg0 = arguments[0],
        .arg1 = arguments[1],
        .arg2 = arguments[2],
        .arg3 = arguments[3],
    };
    scheduler_time(event->time);
    const uint32_t offset = (s->events % LEPTON_LOG_EVENTS) * (uint32_t)sizeof *event;
    // A log that cannot be written must not stop the jobs: the count says that an entry is missing.
    const result_t written = write_window(s, LEPTON_CONTROLLER_WINDOW, offset, event, sizeof *event);
    (void)written;
    s->events += 1;
    controller_write(LEPTON_REG_LOG_COUNT, s->events);
}

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

static bool has_job(const scheduler_t *s, uint32_t client) {
    return (s->running.valid && s->running.client == client) || (s->staged.valid && s->staged.client == client);
}

// Writes s->out.completion, whose sequence is the client's next, and tells the host.
ASIDE void complete(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    const uint32_t slot = c->done % LEPTON_RING_ENTRIES;
    const uint32_t offset = LEPTON_COMPLETION_RING + slot * LEPTON_COMPLETION_BYTES;
    const result_t written = write_window(s, client, offset, &s->out.completion, sizeof s->out.completion);
    c->done += 1;
    set_client_register(client, LEPTON_REG_CLIENT0_DONE, c->done);
    controller_write(LEPTON_REG_CLIENT_IRQ, 1u << client);
    s->waiting |= 1u << client;
    if (written != RESULT_OK) {
        scheduler_log(s, LEPTON_EVENT_KIND_MEMORY_FAULT, client,
                      (const uint32_t[4]){offset, sizeof s->out.completion, 0, 0});
    }
}

ASIDE void answer_refusal(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    const lepton_refusal_t reason = c->refusal;
    s->out.completion = (lepton_completion_record_t){
        .sequence = c->done,
        .status = LEPTON_JOB_STATUS_REFUSED,
        .reason = (uint8_t)reason,
        .tag = {c->record.tag[0], c->record.tag[1]},
        .accepted = {c->accepted[0], c->accepted[1]},
        .program_hash = c->record.program_hash,
    };
    c->state = RECORD_NONE;
    const uint32_t sequence = c->done;
    complete(s, client);
    scheduler_log(s, LEPTON_EVENT_KIND_REFUSED, client, (const uint32_t[4]){sequence, (uint32_t)reason, 0, 0});
}

static void refuse(client_t *c, lepton_refusal_t reason) {
    c->refusal = reason;
    c->state = RECORD_REFUSED;
    scheduler_time(c->accepted);
}

static bool is_open(const client_t *c) {
    return c->state == RECORD_VERIFYING || c->state == RECORD_REFUSED;
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
    result_t read = end_quick_copy(s, begun);
    if (read == RESULT_STUCK) {  // see write_window
        dif_copy_crc_start();
        read = end_copy(s, dif_copy_read_begin(client, offset, mmio_local(&c->record), sizeof c->record));
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

// Hashes the next piece of the client's program.
ASIDE void verify(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    const uint32_t bytes = c->record.program_size & ~3u;
    const uint32_t left = bytes - c->checked;
    const uint32_t piece = left < CHECK_BYTES ? left : CHECK_BYTES;
    if (piece != 0) {
        const uint32_t offset = c->record.program_offset + c->checked;
        controller_write(LEPTON_REG_COPY_CRC, c->crc);
        result_t result = end_copy(s, dif_copy_check_begin(client, offset, piece));
        if (result == RESULT_STUCK) {  // see write_window
            controller_write(LEPTON_REG_COPY_CRC, c->crc);
            result = end_copy(s, dif_copy_check_begin(client, offset, piece));
        }
        c->crc = ~dif_copy_crc();
        if (result != RESULT_OK) {
            refuse(c, LEPTON_REFUSAL_MEMORY);
            return;
        }
        c->checked += piece;
    }
    if (c->checked == bytes) {
        if (~c->crc == c->record.program_hash) {
            c->state = RECORD_READY;
        } else {
            refuse(c, LEPTON_REFUSAL_PROGRAM_HASH);
        }
    }
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
ASIDE void promote(scheduler_t *s, uint32_t status) {
    const job_t job = s->staged;
    s->staged.valid = false;
    if ((status & LEPTON_LAUNCH_STATUS_REFUSED) != 0) {
        if (!job.forgotten) {
            s->out.completion = (lepton_completion_record_t){
                .sequence = job.sequence,
                .status = LEPTON_JOB_STATUS_REFUSED,
                .reason = LEPTON_REFUSAL_REGION,
                .tag = {job.tag[0], job.tag[1]},
                .accepted = {job.accepted[0], job.accepted[1]},
                .program_hash = job.hash,
            };
            complete(s, job.client);
            scheduler_log(s, LEPTON_EVENT_KIND_REFUSED, job.client,
                          (const uint32_t[4]){job.sequence, LEPTON_REFUSAL_REGION, 0, 0});
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

ASIDE void copy_snapshots(scheduler_t *s, const job_t *job) {
    uint32_t word = 0;
    for (uint32_t slot = 0; slot < job->snapshot_count; ++slot) {
        for (unsigned i = 0; i < LEPTON_SNAPSHOT_BYTES / 4; ++i) {
            s->out.snapshot[i] = dif_chip_snapshot_word(word++);
        }
        const uint32_t offset = job->snapshot_offset + slot * LEPTON_SNAPSHOT_BYTES;
        if (write_window(s, job->client, offset, s->out.snapshot, sizeof s->out.snapshot) != RESULT_OK) {
            scheduler_log(s, LEPTON_EVENT_KIND_MEMORY_FAULT, job->client,
                          (const uint32_t[4]){offset, LEPTON_SNAPSHOT_BYTES, 0, 0});
            return;
        }
    }
}

// The running job has ended: its results are in the launcher.
ASIDE void finish(scheduler_t *s) {
    const job_t job = s->running;
    s->running.valid = false;
    s->expired = false;
    controller_write(LEPTON_REG_TIMER, 0);
    controller_write(LEPTON_REG_EVENTS, LEPTON_EVENT_TIMER);
    s->out.completion = (lepton_completion_record_t){
        .sequence = job.sequence,
        .tag = {job.tag[0], job.tag[1]},
        .accepted = {job.accepted[0], job.accepted[1]},
        .program_hash = job.hash,
    };
    lepton_completion_record_t *completion = &s->out.completion;
    uint32_t chip = 0;
    const result_t read = dif_launcher_results(completion, &chip);
    (void)read;  // its arguments are right
    const bool done = chip == LEPTON_STATE_DONE;
    if (chip == LEPTON_STATE_IDLE && !job.aborted) {  // memory was reset under it, see dif_copy
        completion->error_code = LEPTON_ERROR_CODE_AXI_TIMEOUT;
    }
    const uint32_t code = completion->error_code;
    const bool stopped = job.aborted && (code == LEPTON_ERROR_CODE_ABORTED || code == LEPTON_ERROR_CODE_NONE);
    completion->status = done      ? LEPTON_JOB_STATUS_DONE
                         : stopped ? LEPTON_JOB_STATUS_TIME_LIMIT
                                   : LEPTON_JOB_STATUS_ERROR;
    const uint32_t outcome[4] = {job.sequence, completion->status, completion->cycles, code};
    if (!done) {
        settle_memory(s);
    }
    // At once, so that the launcher can save what becomes of the next job even while memory is waited for below.
    dif_launcher_acknowledge();
    if (!job.forgotten) {
        if (done && (job.flags & LEPTON_JOB_FLAG_SNAPSHOTS) != 0) {
            const lepton_completion_record_t kept = *completion;
            copy_snapshots(s, &job);
            *completion = kept;
        }
        complete(s, job.client);
    }
    if (s->reset) {
        s->reset = false;
        scheduler_log(s, LEPTON_EVENT_KIND_ENGINE_RESET, job.client, (const uint32_t[4]){job.sequence, 0, 0, 0});
    }
    scheduler_log(s, LEPTON_EVENT_KIND_END, job.client, outcome);
}

// The host has asked to forget a client's jobs. False while one of them still runs.
ASIDE bool reset_client(scheduler_t *s, uint32_t client) {
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

ASIDE void log_time_limit(scheduler_t *s) {
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
        finish(s);
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
            more |= reset_client(s, i);
            continue;
        }
        if (c->state == RECORD_NONE && (s->waiting >> i & 1u) != 0) {
            fetch(s, i);
        }
        if (c->state == RECORD_VERIFYING) {
            verify(s, i);
            more = true;
        }
        if (c->state == RECORD_REFUSED && !has_job(s, i)) {
            answer_refusal(s, i);
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
