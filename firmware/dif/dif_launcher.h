// The launcher: starts the staged job as soon as the chip is free, and keeps the last one's results.
#ifndef LEPTON_DIF_LAUNCHER_H
#define LEPTON_DIF_LAUNCHER_H

#include "mmio.h"
#include "result.h"

// LEPTON_LAUNCH_STATUS_... bits.
static inline uint32_t dif_launcher_status(void) {
    return controller_read(LEPTON_REG_LAUNCH_STATUS);
}

// Stages a job whose regions are relative to `window`; `limit` in cycles, 0 for none.
// RESULT_BUSY: another one is staged.
MUST_USE result_t dif_launcher_stage(uint32_t window, const lepton_job_record_t *job, uint32_t limit);

// Asks to forget the staged job; STAGED falls in either case, RUNNING says whether it had started.
void dif_launcher_cancel(void);

// The results have been read; after an error, the staged job may start.
static inline void dif_launcher_acknowledge(void) {
    controller_write(LEPTON_REG_LAUNCH, LEPTON_LAUNCH_ACKNOWLEDGE);
}

// Fills what the chip counted and why it stopped; returns the chip's STATUS at the job's end.
MUST_USE result_t dif_launcher_results(lepton_completion_record_t *completion, uint32_t *status);

#endif
