// The rules of AXI4 (Arm IHI 0022, A3) and of this chip's use of it, watched on the manager's signals.
#pragma once

#include <cinttypes>

#include "signals.h"
#include "violations.h"

namespace lepton {

template <size_t BYTES>
class Checker {
public:
    explicit Checker(Violations& violations) : violations_(violations) {}

    void reset() { read_pending_ = write_pending_ = beat_pending_ = false; }

    void check(uint64_t cycle, const FromChip<BYTES>& chip, const ToChip<BYTES>& memory) {
        check_address(cycle, "AR", chip.read, memory.arready, read_pending_, read_held_);
        check_address(cycle, "AW", chip.write, memory.awready, write_pending_, write_held_);
        if (beat_pending_) {
            if (!chip.wvalid) {
                violations_.add(cycle, "WVALID fell before WREADY");
            } else if (!(chip.beat == beat_held_)) {
                violations_.add(cycle, "WDATA, WSTRB or WLAST changed while WVALID waited for WREADY");
            }
        }
        beat_pending_ = chip.wvalid && !memory.wready;
        if (beat_pending_) beat_held_ = chip.beat;
    }

private:
    void check_address(uint64_t cycle, const char* name, const AddressChannel& now, bool ready, bool& pending,
                       AddressChannel& held) {
        if (pending) {
            if (!now.valid) {
                violations_.add(cycle, "%sVALID fell before %sREADY", name, name);
            } else if (!now.same_payload(held)) {
                violations_.add(cycle, "%s changed while %sVALID waited for %sREADY", name, name, name);
            }
        }
        if (now.valid && !pending) check_burst(cycle, name, now);
        pending = now.valid && !ready;
        if (pending) held = now;
    }

    void check_burst(uint64_t cycle, const char* name, const AddressChannel& burst) {
        if (burst.burst != 1) violations_.add(cycle, "%sBURST must be 1 (INCR), not %u", name, burst.burst);
        if ((size_t{1} << burst.size) != BYTES) {
            violations_.add(cycle, "%sSIZE must be that of the %zu-byte bus, not %u (%u bytes)", name, BYTES, burst.size,
                            1u << burst.size);
        }
        if (burst.id != 0) violations_.add(cycle, "%sID must be 0, not %u", name, burst.id);
        const uint64_t first = burst.address & ~uint64_t{BYTES - 1};
        const uint64_t last = first + (uint64_t{burst.length} + 1) * BYTES - 1;
        if (first >> 12 != last >> 12) {
            violations_.add(cycle, "%s burst of %u beats at 0x%" PRIx64 " crosses a 4 KiB boundary", name,
                            burst.length + 1u, burst.address);
        }
    }

    Violations& violations_;
    bool read_pending_ = false, write_pending_ = false, beat_pending_ = false;
    AddressChannel read_held_, write_held_;
    WriteBeat<BYTES> beat_held_{};
};

}  // namespace lepton
