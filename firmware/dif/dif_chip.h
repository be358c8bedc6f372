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

// Stops the running job at once. Its transactions go on: see dif_chip_memory_status.
static inline void dif_chip_reset(void) {
    mmio_write(LEPTON_CHIP_BASE + LEPTON_CHIP_CONTROL, LEPTON_CONTROL_RESET);
}

// The same; memory, its ports and the copy engine forget all transactions.
static inline void dif_chip_reset_memory(void) {
    mmio_write(LEPTON_CHIP_BASE + LEPTON_CHIP_CONTROL, LEPTON_CONTROL_MEMORY_RESET);
}

#define DIF_MEMORY_OPEN (LEPTON_MEMORY_STATUS_READS_OPEN | LEPTON_MEMORY_STATUS_WRITES_OPEN)
#define DIF_MEMORY_BROKEN (LEPTON_MEMORY_STATUS_READ_BROKEN | LEPTON_MEMORY_STATUS_WRITE_BROKEN)

// What memory still owes to the last job, and what it did wrong: LEPTON_MEMORY_STATUS_... bits.
MUST_USE static inline uint32_t dif_chip_memory_status(void) {
    return mmio_read(LEPTON_CHIP_BASE + LEPTON_CHIP_MEMORY_STATUS);
}

// One counter of a layer's snapshot; `index` counts from slot 0, LEPTON_SNAPSHOT_BYTES / 4 to a slot.
static inline uint32_t dif_chip_snapshot_word(uint32_t index) {
    return mmio_read(LEPTON_CHIP_BASE + LEPTON_SNAPSHOT_BASE + 4u * index);
}

#endif
