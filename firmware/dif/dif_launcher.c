#include "dif_launcher.h"

#include <stddef.h>

result_t dif_launcher_stage(uint32_t window, const lepton_job_record_t *job, uint32_t limit) {
    if (job == NULL || window > LEPTON_CONTROLLER_WINDOW) {
        return RESULT_BAD_ARGUMENT;
    }
    if ((dif_launcher_status() & LEPTON_LAUNCH_STATUS_STAGED) != 0) {
        return RESULT_BUSY;
    }
    controller_write(LEPTON_REG_LAUNCH_WINDOW, window);
    controller_write(LEPTON_REG_LAUNCH_LIMIT, limit);
    controller_write(LEPTON_REG_LAUNCH_TIMEOUT, job->timeout);
    controller_write(LEPTON_REG_LAUNCH_LOAD_PROGRAM, job->load_program);
    controller_write(LEPTON_REG_LAUNCH_LOAD_COUNT, job->load_count);
    controller_write(LEPTON_REG_LAUNCH_TENSOR_PROGRAM, job->tensor_program);
    controller_write(LEPTON_REG_LAUNCH_TENSOR_COUNT, job->tensor_count);
    controller_write(LEPTON_REG_LAUNCH_STORE_PROGRAM, job->store_program);
    controller_write(LEPTON_REG_LAUNCH_STORE_COUNT, job->store_count);
    controller_write(LEPTON_REG_LAUNCH_ROWS_PROGRAM, job->rows_program);
    controller_write(LEPTON_REG_LAUNCH_ROWS_COUNT, job->rows_count);
    controller_write(LEPTON_REG_LAUNCH_PROGRAM, job->program_offset);
    controller_write(LEPTON_REG_LAUNCH_PROGRAM_SIZE, job->program_size);
    controller_write(LEPTON_REG_LAUNCH_INPUT, job->input_offset);
    controller_write(LEPTON_REG_LAUNCH_INPUT_SIZE, job->input_size);
    controller_write(LEPTON_REG_LAUNCH_OUTPUT, job->output_offset);
    controller_write(LEPTON_REG_LAUNCH_OUTPUT_SIZE, job->output_size);
    controller_write(LEPTON_REG_LAUNCH_SCRATCH, job->scratch_offset);
    controller_write(LEPTON_REG_LAUNCH_SCRATCH_SIZE, job->scratch_size);
    controller_write(LEPTON_REG_LAUNCH, LEPTON_LAUNCH_STAGE);
    return RESULT_OK;
}

void dif_launcher_cancel(void) {
    controller_write(LEPTON_REG_LAUNCH, LEPTON_LAUNCH_CANCEL);
}

result_t dif_launcher_results(lepton_completion_record_t *completion, uint32_t *status) {
    if (completion == NULL || status == NULL) {
        return RESULT_BAD_ARGUMENT;
    }
    *status = controller_read(LEPTON_REG_RESULT_STATUS);
    completion->start[0] = controller_read(LEPTON_REG_RESULT_START);
    completion->start[1] = controller_read(LEPTON_REG_RESULT_START_HI);
    completion->cycles = controller_read(LEPTON_REG_RESULT_CYCLES);
    completion->compute = controller_read(LEPTON_REG_RESULT_COMPUTE);
    completion->wait_read = controller_read(LEPTON_REG_RESULT_WAIT_READ);
    completion->wait_weights = controller_read(LEPTON_REG_RESULT_WAIT_WEIGHTS);
    completion->wait_write = controller_read(LEPTON_REG_RESULT_WAIT_WRITE);
    completion->wait_sync = controller_read(LEPTON_REG_RESULT_WAIT_SYNC);
    completion->idle = controller_read(LEPTON_REG_RESULT_IDLE);
    completion->read_beats = controller_read(LEPTON_REG_RESULT_READ_BEATS);
    completion->write_beats = controller_read(LEPTON_REG_RESULT_WRITE_BEATS);
    if (*status != LEPTON_STATE_DONE) {
        completion->error_code = (uint8_t)controller_read(LEPTON_REG_RESULT_ERROR_CODE);
        completion->error_engine = (uint8_t)controller_read(LEPTON_REG_RESULT_ERROR_ENGINE);
        completion->error_command = controller_read(LEPTON_REG_RESULT_ERROR_COMMAND);
        completion->error_layer = controller_read(LEPTON_REG_RESULT_ERROR_LAYER);
        completion->error_address[0] = controller_read(LEPTON_REG_RESULT_ERROR_ADDRESS);
        completion->error_address[1] = controller_read(LEPTON_REG_RESULT_ERROR_ADDRESS_HI);
    }
    return RESULT_OK;
}
