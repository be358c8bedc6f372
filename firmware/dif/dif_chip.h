// The chip's registers, as far as the firmware may use them.
#ifndef LEPTON_DIF_CHIP_H
#define LEPTON_DIF_CHIP_H

#include <stdbool.h>

#include "mmio.h"
#include "result.h"

// Ends the running job with error ABORTED once the bus is quiet.
static inline void dif_chip_abort(void) {
    mmio_write(LEPTON_CHIP_BASE + LEPTON_CHIP_CONTROL, LEPTON_CONTROL_ABORT);
}

// Stops engines and memory ports at once.
static inline void dif_chip_reset(void) {
    mmio_write(LEPTON_CHIP_BASE + LEPTON_CHIP_CONTROL, LEPTON_CONTROL_RESET);
}

// The last job has ended because memory did not answer, and nothing was reset since.
MUST_USE static inline bool dif_chip_timed_out(void) {
    return mmio_read(LEPTON_CHIP_BASE + LEPTON_CHIP_STATUS) == LEPTON_STATE_ERROR &&
           mmio_read(LEPTON_CHIP_BASE + LEPTON_CHIP_ERROR_CODE) == LEPTON_ERROR_CODE_AXI_TIMEOUT;
}

// One counter of a layer's snapshot; `index` counts from slot 0, LEPTON_SNAPSHOT_BYTES / 4 to a slot.
static inline uint32_t dif_chip_snapshot_word(uint32_t index) {
    return mmio_read(LEPTON_CHIP_BASE + LEPTON_SNAPSHOT_BASE + 4u * index);
}

#endif
