// Which client's job runs next, and what happens to it.
//
// Every client has at most one record prepared (fetched, checked), one job staged in the launcher and one running. The
// record of the next job is staged while the last one runs, so that the chip goes from one to the other by itself.
#ifndef LEPTON_SCHEDULER_H
#define LEPTON_SCHEDULER_H

#include <stdbool.h>

#include "lepton_arch.h"
#include "mmio.h"
#include "result.h"

#define ABORT_GRACE LEPTON_DRAIN_LIMIT  // cycles for an aborted job to end before the chip is reset

// Functions that are not needed between a doorbell and its job stay out of those that are, which then save fewer registers.
#define OUT_OF_LINE __attribute__((noinline))

typedef enum {
    RECORD_NONE = 0,
    RECORD_VERIFYING,  // its program's hash is being computed, a piece at a time
    RECORD_READY,
    RECORD_REFUSED,  // to be answered when the client's earlier jobs are
} record_state_t;

// Its size is a power of two: the processor does not multiply, and finding a client lies between doorbell and job.
typedef struct {
    lepton_job_record_t record;
    uint32_t accepted[2];
    uint32_t checked;  // bytes of the program that are in `crc`
    uint32_t crc;
    record_state_t state;
    lepton_refusal_t refusal;
    uint32_t priority;
    uint32_t limit;   // the client's own, when the record was taken
    uint32_t passed;  // how often another client was taken while this one was ready
    uint32_t head;    // records taken
    uint32_t done;    // completions written
    uint32_t unused[21];
} client_t;

_Static_assert(sizeof(client_t) == 256, "the size of a client_t is a power of two");

// A job that the launcher has, as far as its completion needs it.
typedef struct {
    bool valid;
    bool forgotten;  // its client was reset: no completion
    bool aborted;    // an abort or a reset is under way
    uint32_t client;
    uint32_t sequence;
    uint32_t flags;
    uint32_t limit;
    uint32_t tag[2];
    uint32_t hash;
    uint32_t accepted[2];
    uint32_t snapshot_offset;
    uint32_t snapshot_count;
} job_t;

typedef struct {
    client_t clients[LEPTON_CLIENTS];
    job_t running;
    job_t staged;
    uint32_t waiting;  // bit i: client i may have records that were not taken
    uint32_t ready;    // bit i: client i's record can be staged
    uint32_t prepared; // the client whose record became ready last
    uint32_t open;     // bit i: the record of client i is being verified, or waits for its refusal
    uint32_t last;     // the client taken last
    uint32_t events;   // written to the log
    bool expired;      // the abort of a job whose time is up was sent while memory was waited for
    bool reset;        // chip or memory were reset; not yet in the log
    union {            // what is being copied to memory
        lepton_completion_record_t completion;
        lepton_event_record_t event;
        uint32_t snapshot[LEPTON_SNAPSHOT_BYTES / 4];
    } out;
} scheduler_t;

MUST_USE result_t scheduler_init(scheduler_t *s);

// Does one piece of work of bounded length; sets `*more` if there may be another.
MUST_USE result_t scheduler_step(scheduler_t *s, uint32_t events, bool *more);

// Writes an entry of the event log. `client` may be LEPTON_CLIENTS: the controller itself.
void scheduler_log(scheduler_t *s, lepton_event_kind_t kind, uint32_t client, const uint32_t arguments[4]);

// TIME, both halves. Inline, as it lies between a doorbell and its job.
static inline void scheduler_time(uint32_t time[2]) {
    uint32_t high = controller_read(LEPTON_REG_TIME_HI);
    do {
        time[1] = high;
        time[0] = controller_read(LEPTON_REG_TIME);
        high = controller_read(LEPTON_REG_TIME_HI);
    } while (high != time[1]);
}

#endif
