// The event log.
#include "copies.h"
#include "scheduler.h"

void scheduler_log(scheduler_t *s, lepton_event_kind_t kind, uint32_t client, const uint32_t arguments[4]) {
    lepton_event_record_t *event = &s->out.event;
    *event = (lepton_event_record_t){
        .sequence = s->events,
        .kind = (uint8_t)kind,
        .client = (uint8_t)client,
        .arg0 = arguments[0],
        .arg1 = arguments[1],
        .arg2 = arguments[2],
        .arg3 = arguments[3],
    };
    scheduler_time(event->time);
    const uint32_t offset = (s->events % LEPTON_LOG_EVENTS) * (uint32_t)sizeof *event;
    // A log that cannot be written must not stop the jobs: the count says that an entry is missing.
    const result_t written = copies_write(s, LEPTON_CONTROLLER_WINDOW, offset, event, sizeof *event);
    (void)written;
    s->events += 1;
    controller_write(LEPTON_REG_LOG_COUNT, s->events);
}
