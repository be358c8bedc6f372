// The firmware: self-test, then jobs. It sleeps in the read of WAIT while there is nothing to do.

#include "scheduler.h"
#include "selftest.h"
#include "mmio.h"

// The one object of the firmware; everything else lives on the stack.
static scheduler_t scheduler;

static void report(lepton_boot_state_t state, uint32_t detail) {
    controller_write(LEPTON_REG_DETAIL, detail);
    controller_write(LEPTON_REG_CONTROLLER_STATUS, state);
    controller_write(LEPTON_REG_CLIENT_IRQ, 1u << LEPTON_CLIENTS);
}

static uint32_t wait_for_events(void) {
    const uint32_t events = controller_read(LEPTON_REG_WAIT);
    controller_write(LEPTON_REG_EVENTS, events);
    return events;
}

_Noreturn void firmware_main(void);

_Noreturn void firmware_main(void) {
    controller_write(LEPTON_REG_CONTROLLER_STATUS, LEPTON_BOOT_STATE_SELF_TEST);
    const lepton_boot_error_t error = selftest_run();
    if (error != LEPTON_BOOT_ERROR_NONE) {
        report(LEPTON_BOOT_STATE_FAILED, error);
        for (;;) {
            (void)wait_for_events();
        }
    }
    controller_write(LEPTON_REG_EVENTS, ~0u);  // of the self-test
    bool more = scheduler_init(&scheduler) == RESULT_OK;
    uint32_t time[2];
    scheduler_time(time);
    scheduler_log(&scheduler, LEPTON_EVENT_KIND_BOOT, LEPTON_CLIENTS,
                  (const uint32_t[4]){controller_read(LEPTON_REG_FIRMWARE), time[0], 0, 0});
    report(LEPTON_BOOT_STATE_READY, 0);
    for (;;) {
        const uint32_t events = more ? 0 : wait_for_events();
        if (scheduler_step(&scheduler, events, &more) != RESULT_OK) {
            more = false;
        }
    }
}
