#include "dif_copy.h"

#include <stddef.h>

#include "dif_chip.h"

static result_t begin(uint32_t window, uint32_t offset, uint32_t local, uint32_t bytes, lepton_copy_mode_t mode) {
    if (window > LEPTON_CONTROLLER_WINDOW || bytes == 0 || ((bytes | offset) & 3u) != 0) {
        return RESULT_BAD_ARGUMENT;
    }
    if ((controller_read(LEPTON_REG_COPY_STATUS) & LEPTON_COPY_STATUS_BUSY) != 0) {
        return RESULT_BUSY;
    }
    controller_write(LEPTON_REG_COPY_WINDOW, window);
    controller_write(LEPTON_REG_COPY_OFFSET, offset);
    controller_write(LEPTON_REG_COPY_LOCAL, local);
    controller_write(LEPTON_REG_COPY_LENGTH, bytes);
    mmio_barrier();
    controller_write(LEPTON_REG_COPY_START, (uint32_t)mode);
    return RESULT_OK;
}

result_t dif_copy_outcome(uint32_t status) {
    if ((status & LEPTON_COPY_STATUS_BUSY) != 0) {
        return RESULT_BUSY;
    }
    if ((status & LEPTON_COPY_STATUS_STUCK) != 0) {
        dif_chip_reset_memory();
        return RESULT_STUCK;
    }
    if ((status & LEPTON_COPY_STATUS_BOUNDS) != 0) {
        return RESULT_BOUNDS;
    }
    if ((status & LEPTON_COPY_STATUS_FAILED) == 0) {
        return RESULT_OK;
    }
    if ((dif_chip_memory_status() & DIF_MEMORY_BROKEN) != 0) {  // out of step: it would fail whatever comes next
        dif_chip_reset_memory();
        return RESULT_STUCK;
    }
    return RESULT_MEMORY;
}

result_t dif_copy_end(void) {
    result_t result;
    do {  // ends: hardware gives up after 2**20 cycles
        result = dif_copy_result();
    } while (result == RESULT_BUSY);
    return result;
}

result_t dif_copy_read_begin(uint32_t window, uint32_t offset, uint32_t local, uint32_t bytes) {
    if ((local & 3u) != 0) {
        return RESULT_BAD_ARGUMENT;
    }
    return begin(window, offset, local, bytes, LEPTON_COPY_MODE_READ);
}

result_t dif_copy_read(uint32_t window, uint32_t offset, uint32_t local, uint32_t bytes) {
    const result_t begun = dif_copy_read_begin(window, offset, local, bytes);
    return begun == RESULT_OK ? dif_copy_end() : begun;
}

result_t dif_copy_write_begin(uint32_t window, uint32_t offset, const void *data, uint32_t bytes) {
    if (data == NULL || ((uintptr_t)data & 3u) != 0) {
        return RESULT_BAD_ARGUMENT;
    }
    return begin(window, offset, mmio_local((void *)(uintptr_t)data), bytes, LEPTON_COPY_MODE_WRITE);
}

result_t dif_copy_check_begin(uint32_t window, uint32_t offset, uint32_t bytes) {
    return begin(window, offset, 0, bytes, LEPTON_COPY_MODE_CHECK);
}

result_t dif_copy_check(uint32_t window, uint32_t offset, uint32_t bytes, uint32_t *state) {
    if (state == NULL) {
        return RESULT_BAD_ARGUMENT;
    }
    controller_write(LEPTON_REG_COPY_CRC, *state);
    const result_t begun = dif_copy_check_begin(window, offset, bytes);
    const result_t result = begun == RESULT_OK ? dif_copy_end() : begun;
    *state = controller_read(LEPTON_REG_COPY_CRC);
    return result;
}
