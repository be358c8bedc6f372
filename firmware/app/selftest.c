#include "selftest.h"

#include "dif_copy.h"
#include "dif_launcher.h"
#include "validate.h"

#define TEST_LIMIT 100000u  // cycles that the product may take
#define WINDOW LEPTON_CONTROLLER_WINDOW

static lepton_boot_error_t test_memories(void) {
    controller_write(LEPTON_REG_BIST, 1);
    uint32_t status;
    do {  // ends: the march has a fixed length
        status = controller_read(LEPTON_REG_BIST_STATUS);
    } while ((status & LEPTON_BIST_STATUS_BUSY) != 0);
    if ((status & LEPTON_BIST_STATUS_SCRATCHPAD) != 0) {
        return LEPTON_BOOT_ERROR_SCRATCHPAD;
    }
    return (status & LEPTON_BIST_STATUS_WEIGHTS) != 0 ? LEPTON_BOOT_ERROR_WEIGHTS : LEPTON_BOOT_ERROR_NONE;
}

static lepton_boot_error_t test_array(void) {
    lepton_image_header_t header;
    lepton_job_record_t job;
    if (dif_copy_read(WINDOW, LEPTON_IMAGE_OFFSET, mmio_local(&header), sizeof header) != RESULT_OK ||
        dif_copy_read(WINDOW, header.test_job, mmio_local(&job), sizeof job) != RESULT_OK) {
        return LEPTON_BOOT_ERROR_MEMORY;
    }
    if (validate_job(&job, 0, controller_read(LEPTON_REG_CONTROLLER_SIZE)) != LEPTON_REFUSAL_NONE ||
        dif_launcher_stage(WINDOW, &job, TEST_LIMIT) != RESULT_OK) {
        return LEPTON_BOOT_ERROR_SELF_TEST_JOB;
    }
    uint32_t status;
    do {
        status = dif_launcher_status();
        if ((status & (LEPTON_LAUNCH_STATUS_REFUSED | LEPTON_LAUNCH_STATUS_EXPIRED)) != 0) {
            return LEPTON_BOOT_ERROR_SELF_TEST_JOB;
        }
    } while ((status & LEPTON_LAUNCH_STATUS_RESULT) == 0);
    const uint32_t state = controller_read(LEPTON_REG_RESULT_STATUS);
    dif_launcher_acknowledge();
    if (state != LEPTON_STATE_DONE) {
        return LEPTON_BOOT_ERROR_SELF_TEST_JOB;
    }
    uint32_t crc = DIF_CRC_START;
    if (dif_copy_check(WINDOW, header.test_output, header.test_bytes, &crc) != RESULT_OK) {
        return LEPTON_BOOT_ERROR_MEMORY;
    }
    return ~crc == header.test_crc ? LEPTON_BOOT_ERROR_NONE : LEPTON_BOOT_ERROR_SELF_TEST_RESULT;
}

lepton_boot_error_t selftest_run(void) {
    const lepton_boot_error_t error = test_memories();
    return error != LEPTON_BOOT_ERROR_NONE ? error : test_array();
}
