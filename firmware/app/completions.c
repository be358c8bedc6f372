#include "completions.h"

#include "clients.h"
#include "copies.h"
#include "dif_chip.h"
#include "dif_launcher.h"

// Writes s->out.completion, whose sequence is the client's next, and tells the host.
OUT_OF_LINE static void complete(scheduler_t *s, uint32_t client) {
    client_t *c = &s->clients[client];
    const uint32_t slot = c->done % LEPTON_RING_ENTRIES;
    const uint32_t offset = LEPTON_COMPLETION_RING + slot * LEPTON_COMPLETION_BYTES;
    const result_t written = copies_write(s, client, offset, &s->out.completion, sizeof s->out.completion);
    c->done += 1;
    set_client_register(client, LEPTON_REG_CLIENT0_DONE, c->done);
    controller_write(LEPTON_REG_CLIENT_IRQ, 1u << client);
    s->waiting |= 1u << client;
    if (written != RESULT_OK) {
        scheduler_log(s, LEPTON_EVENT_KIND_MEMORY_FAULT, client,
                      (const uint32_t[4]){offset, sizeof s->out.completion, 0, 0});
    }
}

void completions_answer_refusal(scheduler_t *s, uint32_t client) {
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

void completions_answer_launch(scheduler_t *s, const job_t *job) {
    s->out.completion = (lepton_completion_record_t){
        .sequence = job->sequence,
        .status = LEPTON_JOB_STATUS_REFUSED,
        .reason = LEPTON_REFUSAL_REGION,
        .tag = {job->tag[0], job->tag[1]},
        .accepted = {job->accepted[0], job->accepted[1]},
        .program_hash = job->hash,
    };
    complete(s, job->client);
    scheduler_log(s, LEPTON_EVENT_KIND_REFUSED, job->client,
                  (const uint32_t[4]){job->sequence, LEPTON_REFUSAL_REGION, 0, 0});
}
OUT_OF_LINE static void copy_snapshots(scheduler_t *s, const job_t *job) {
    uint32_t word = 0;
    for (uint32_t slot = 0; slot < job->snapshot_count; ++slot) {
        for (unsigned i = 0; i < LEPTON_SNAPSHOT_BYTES / 4; ++i) {
            s->out.snapshot[i] = dif_chip_snapshot_word(word++);
        }
        const uint32_t offset = job->snapshot_offset + slot * LEPTON_SNAPSHOT_BYTES;
        if (copies_write(s, job->client, offset, s->out.snapshot, sizeof s->out.snapshot) != RESULT_OK) {
            scheduler_log(s, LEPTON_EVENT_KIND_MEMORY_FAULT, job->client,
                          (const uint32_t[4]){offset, LEPTON_SNAPSHOT_BYTES, 0, 0});
            return;
        }
    }
}

void completions_finish(scheduler_t *s) {
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
        copies_settle(s);
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
