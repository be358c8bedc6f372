#include "validate.h"

#include <stdbool.h>
#include <stddef.h>

#define KNOWN_FLAGS (LEPTON_JOB_FLAG_VERIFY | LEPTON_JOB_FLAG_SNAPSHOTS)
#define LAYER_SLOTS 256u

// [offset, offset + bytes) lies in the window, behind the rings.
static bool inside(uint32_t offset, uint32_t bytes, uint32_t window_bytes) {
    return offset >= LEPTON_RINGS_BYTES && offset <= window_bytes && bytes <= window_bytes - offset;
}

static bool region_fits(uint32_t offset, uint32_t bytes, uint32_t window_bytes) {
    return bytes == 0 ? offset == 0 : inside(offset, bytes, window_bytes);
}

// `count` commands of 2**shift bytes from `program` on lie in the program.
static bool stream_fits(uint32_t program, uint32_t count, unsigned shift, uint32_t program_bytes) {
    return (program & 63u) == 0 && program <= program_bytes && count <= (program_bytes - program) >> shift;
}

static bool reserved_is_zero(const lepton_job_record_t *job) {
    const uint32_t *r = job->reserved1;  // written out: it lies between doorbell and start
    _Static_assert(sizeof job->reserved1 == 5 * sizeof *r, "all words of reserved1 are looked at");
    return (job->reserved0 | r[0] | r[1] | r[2] | r[3] | r[4]) == 0;
}

lepton_refusal_t validate_job(const lepton_job_record_t *job, uint32_t sequence, uint32_t window_bytes) {
    if (job == NULL || job->magic != LEPTON_JOB_MAGIC) {
        return LEPTON_REFUSAL_MAGIC;
    }
    if (job->sequence != sequence) {
        return LEPTON_REFUSAL_SEQUENCE;
    }
    if ((job->flags & ~KNOWN_FLAGS) != 0 || !reserved_is_zero(job)) {
        return LEPTON_REFUSAL_RESERVED;
    }
    if (job->priority >= LEPTON_PRIORITIES) {
        return LEPTON_REFUSAL_PRIORITY;
    }
    if (!region_fits(job->program_offset, job->program_size, window_bytes) ||
        !region_fits(job->input_offset, job->input_size, window_bytes) ||
        !region_fits(job->output_offset, job->output_size, window_bytes) ||
        !region_fits(job->scratch_offset, job->scratch_size, window_bytes)) {
        return LEPTON_REFUSAL_REGION;
    }
    if ((job->load_count | job->tensor_count | job->store_count | job->rows_count) == 0 ||
        !stream_fits(job->load_program, job->load_count, 6, job->program_size) ||
        !stream_fits(job->tensor_program, job->tensor_count, 7, job->program_size) ||
        !stream_fits(job->store_program, job->store_count, 6, job->program_size) ||
        !stream_fits(job->rows_program, job->rows_count, 7, job->program_size)) {
        return LEPTON_REFUSAL_STREAM;
    }
    if ((job->flags & LEPTON_JOB_FLAG_SNAPSHOTS) != 0 &&
        (job->snapshot_count == 0 || job->snapshot_count > LAYER_SLOTS || (job->snapshot_offset & 3u) != 0 ||
         !inside(job->snapshot_offset, job->snapshot_count * LEPTON_SNAPSHOT_BYTES, window_bytes))) {
        return LEPTON_REFUSAL_SNAPSHOTS;
    }
    return LEPTON_REFUSAL_NONE;
}
