// Waiting for copies between memory and the controller, and what to do if memory does not answer.
//
// Memory answers in order: a job's transfer that hangs also blocks the firmware's copies.
#ifndef LEPTON_COPIES_H
#define LEPTON_COPIES_H

#include "dif_copy.h"
#include "scheduler.h"

#define PATIENT_POLLS 16u  // of a copy, before what may block it is looked at

// Waits until memory has ended what the last job left open; the chip and its port are reset if it does not.
void copies_settle(scheduler_t *s);

// What became of a copy; one that got stuck has reset memory, and with it a job that ran.
result_t copies_ended(scheduler_t *s, result_t result);

// Waits for the copy that was `begun`. RESULT_STUCK: memory and its ports have been reset, and with them a job that ran.
MUST_USE result_t copies_end(scheduler_t *s, result_t begun);

// Writes to a client's window. A job may have blocked memory, and none runs after a reset: what is stuck is tried once
// more, and only then the fault of the window that it goes to.
MUST_USE result_t copies_write(scheduler_t *s, uint32_t window, uint32_t offset, const void *data, uint32_t bytes);

// The same between a doorbell and its job, where calls cost: most copies have ended when this asks.
static inline result_t copies_end_quickly(scheduler_t *s, result_t begun) {
    for (uint32_t polls = 0; begun == RESULT_OK && polls < PATIENT_POLLS; ++polls) {
        const result_t result = dif_copy_result();
        if (result == RESULT_OK) {
            return RESULT_OK;
        }
        if (result != RESULT_BUSY) {  // asked again, a copy that got stuck would look as if all were well
            return copies_ended(s, result);
        }
    }
    return copies_end(s, begun);
}

#endif
