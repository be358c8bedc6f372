#include "copies.h"

#include "dif_chip.h"
#include "dif_launcher.h"

// Memory has answered nothing of what the last job left open for long enough, or is out of step.
static bool memory_is_lost(uint32_t begun) {
    const uint32_t memory = dif_chip_memory_status();
    return (memory & DIF_MEMORY_BROKEN) != 0 ||
           ((memory & DIF_MEMORY_OPEN) != 0 && controller_read(LEPTON_REG_TIME) - begun >= LEPTON_DRAIN_LIMIT);
}

// Memory answers in order, so a job's transfer that hangs also blocks the firmware's, for which it has waited since
// `begun`. True if that is so and a reset is due: the job has ended and left transfers open, or its abort has had its
// grace. One whose time is up is aborted.
OUT_OF_LINE static bool memory_is_blocked(scheduler_t *s, uint32_t begun) {
    const uint32_t status = dif_launcher_status();
    if ((status & LEPTON_LAUNCH_STATUS_HELD) != 0) {
        return memory_is_lost(begun);
    }
    if ((status & LEPTON_LAUNCH_STATUS_RUNNING) == 0) {
        return false;
    }
    if ((status & LEPTON_LAUNCH_STATUS_EXPIRED) != 0 && !s->expired) {
        s->expired = true;
        dif_chip_abort();
        controller_write(LEPTON_REG_TIMER, ABORT_GRACE);
    }
    return (controller_read(LEPTON_REG_EVENTS) & LEPTON_EVENT_TIMER) != 0;
}

void copies_settle(scheduler_t *s) {
    const uint32_t begun = controller_read(LEPTON_REG_TIME);
    while ((dif_chip_memory_status() & (DIF_MEMORY_OPEN | DIF_MEMORY_BROKEN)) != 0) {
        if (memory_is_lost(begun)) {
            dif_chip_reset_memory();
            s->reset = true;
            return;
        }
    }
}

result_t copies_ended(scheduler_t *s, result_t result) {
    if (result == RESULT_STUCK && s->running.valid) {
        s->reset = true;
    }
    return result;
}

result_t copies_end(scheduler_t *s, result_t begun) {
    if (begun != RESULT_OK) {
        return begun;
    }
    result_t result;
    const uint32_t time = controller_read(LEPTON_REG_TIME);
    for (uint32_t polls = 0; (result = dif_copy_result()) == RESULT_BUSY; ++polls) {
        if (polls >= PATIENT_POLLS && memory_is_blocked(s, time)) {
            controller_write(LEPTON_REG_TIMER, 0);
            controller_write(LEPTON_REG_EVENTS, LEPTON_EVENT_TIMER);
            dif_chip_reset_memory();
            s->reset = true;
            return RESULT_STUCK;
        }
    }
    return copies_ended(s, result);
}

result_t copies_write(scheduler_t *s, uint32_t window, uint32_t offset, const void *data, uint32_t bytes) {
    const result_t result = copies_end(s, dif_copy_write_begin(window, offset, data, bytes));
    return result != RESULT_STUCK ? result : copies_end(s, dif_copy_write_begin(window, offset, data, bytes));
}
