// The copy engine: the firmware's only way to memory. Addresses are offsets in a window; hardware checks them.
#ifndef LEPTON_DIF_COPY_H
#define LEPTON_DIF_COPY_H

#include "mmio.h"
#include "result.h"

// Copies `bytes` (a multiple of 4) from `offset` of `window` to the processor's address `local`; waits for the end.
MUST_USE result_t dif_copy_read(uint32_t window, uint32_t offset, uint32_t local, uint32_t bytes);

// Begins what dif_copy_read does and returns at once; RESULT_OK asks for dif_copy_end before anything else is copied.
MUST_USE result_t dif_copy_read_begin(uint32_t window, uint32_t offset, uint32_t local, uint32_t bytes);

// What a COPY_STATUS means.
MUST_USE result_t dif_copy_outcome(uint32_t status);

// RESULT_BUSY while the copy that was begun has not ended, else what became of it.
MUST_USE static inline result_t dif_copy_result(void) {
    const uint32_t status = controller_read(LEPTON_REG_COPY_STATUS);
    mmio_barrier();
    return status == 0 ? RESULT_OK : dif_copy_outcome(status);
}

// Begins to copy `bytes` from `data` to `offset` of `window`; after dif_copy_end memory has the bytes.
MUST_USE result_t dif_copy_write_begin(uint32_t window, uint32_t offset, const void *data, uint32_t bytes);

// Begins what dif_copy_check does; the state is that of COPY_CRC.
MUST_USE result_t dif_copy_check_begin(uint32_t window, uint32_t offset, uint32_t bytes);

// Waits for the end of the copy that was begun.
MUST_USE result_t dif_copy_end(void);

// Continues the CRC32 `*state` over `bytes` of `window`. It starts as DIF_CRC_START; the CRC is ~*state.
MUST_USE result_t dif_copy_check(uint32_t window, uint32_t offset, uint32_t bytes, uint32_t *state);

#define DIF_CRC_START 0xFFFFFFFFu

// Begins a new CRC32 over what dif_copy_read reads, and returns what it has become.
static inline void dif_copy_crc_start(void) {
    controller_write(LEPTON_REG_COPY_CRC, DIF_CRC_START);
}

MUST_USE static inline uint32_t dif_copy_crc(void) {
    return ~controller_read(LEPTON_REG_COPY_CRC);
}

#endif
