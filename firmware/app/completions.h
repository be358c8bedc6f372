// Completion records: what became of a job, written to its client's ring.
#ifndef LEPTON_COMPLETIONS_H
#define LEPTON_COMPLETIONS_H

#include "scheduler.h"

// Answers the record that a client's state RECORD_REFUSED describes.
void completions_answer_refusal(scheduler_t *s, uint32_t client);

// Answers a staged job that the launcher has refused.
void completions_answer_launch(scheduler_t *s, const job_t *job);

// The running job has ended: its results are in the launcher.
void completions_finish(scheduler_t *s);

#endif
