// Whether a job record may run. Pure: it reads the record and nothing else, so that nothing has happened yet.
#ifndef LEPTON_VALIDATE_H
#define LEPTON_VALIDATE_H

#include "lepton_arch.h"
#include "result.h"

// `sequence`: the number that the record must carry; `window_bytes`: size of its client's window.
MUST_USE lepton_refusal_t validate_job(const lepton_job_record_t *job, uint32_t sequence, uint32_t window_bytes);

#endif
