// The memory controller: an AXI4 subordinate with the bandwidth, latency and stalls of a profile.
// Reads and writes are served independently, each in order. Written bytes reach memory when
// their response leaves, so that a chip that does not wait for it reads old data.
#pragma once

#include <cstring>
#include <deque>

#include "profile.h"
#include "recorder.h"
#include "signals.h"
#include "violations.h"

namespace lepton {

struct Traffic {
    uint64_t read_bursts = 0, read_beats = 0, write_bursts = 0, write_beats = 0;
};

template <size_t BYTES>
class Memory {
public:
    Memory(Store& store, const Profile& profile, Violations& violations, Traffic& traffic, Recorder& recorder)
        : store_(store), profile_(profile), violations_(violations), traffic_(traffic), recorder_(recorder),
          random_(profile.seed) {
        beats_.resize(size_t{profile.outstanding} * 256 + EARLY_BEATS);
        // A beat costs BYTES of credit; the cap lets a fraction carry over and no more.
        credit_cap_ = BYTES + profile.bytes_per_cycle - 1;
        reset();
    }

    // Forget every transaction under way. What memory holds stays.
    void reset() {
        reads_.clear();
        writes_.clear();
        filling_ = 0;
        beat_head_ = beat_tail_ = 0;
        early_beats_ = 0;
        read_ready_ = write_ready_ = 0;
        read_credit_ = write_credit_ = credit_cap_;
    }

    // The handshakes of cycle `now`, then what the memory drives in the next cycle.
    void step(uint64_t now, const FromChip<BYTES>& chip, ToChip<BYTES>& drive) {
        if (chip.write.valid && drive.awready) accept_write(now, chip.write);
        if (chip.wvalid && drive.wready) accept_beat(now, chip.beat);
        if (chip.read.valid && drive.arready) accept_read(now, chip.read);
        if (drive.rvalid && chip.rready) {
            drive.rvalid = false;
            ++traffic_.read_beats;
            if (drive.rlast) {
                const Burst& burst = reads_.front();
                recorder_.add(EventKind::READ, burst.accepted, now, burst.address, burst.beats);
                reads_.pop_front();
            }
        }
        if (drive.bvalid && chip.bready) {
            drive.bvalid = false;
            const Burst& burst = writes_.front();
            recorder_.add(EventKind::WRITE, burst.accepted, now, burst.address, burst.beats);
            writes_.pop_front();
            --filling_;
        }
        const uint64_t next = now + 1;
        if (++phase_ >= profile_.refresh_interval) phase_ = 0;
        const bool refresh = phase_ + profile_.refresh_cycles >= profile_.refresh_interval && profile_.refresh_cycles;
        read_credit_ = std::min(credit_cap_, read_credit_ + profile_.bytes_per_cycle);
        write_credit_ = std::min(credit_cap_, write_credit_ + profile_.bytes_per_cycle);

        drive.arready = reads_.size() < profile_.outstanding && !random_.chance(profile_.stall_ar);
        drive.awready = writes_.size() < profile_.outstanding && !random_.chance(profile_.stall_aw);
        drive.wready = !refresh && write_credit_ >= BYTES && (filling_ < writes_.size() || early_beats_ < EARLY_BEATS) &&
                       !random_.chance(profile_.stall_w);
        if (!drive.rvalid && !reads_.empty() && reads_.front().ready <= next && !refresh && read_credit_ >= BYTES &&
            !random_.chance(profile_.stall_r)) {
            offer_read(drive);
        }
        if (!drive.bvalid && filling_ > 0 && writes_.front().ready <= next && !random_.chance(profile_.stall_b)) {
            offer_response(drive);
        }
    }

private:
    static constexpr size_t EARLY_BEATS = 16;  // write data taken before its address
    static constexpr uint64_t NEVER = UINT64_MAX;
    static constexpr uint8_t POISON = 0xEE;  // what a failed read carries

    struct Burst {
        uint64_t address;  // of the first beat, aligned to the bus
        uint32_t beats;
        uint32_t done;
        uint64_t accepted;  // cycle of the address
        uint64_t ready;  // first cycle in which its data or response may be offered
        uint32_t skip;   // bytes before an unaligned start, in the first beat
        uint32_t offered;  // beats that a read gives: `beats` but for a fault
        bool plain;
    };

    Burst make_burst(uint64_t now, const AddressChannel& a, bool write) const {
        const uint64_t first = a.address & ~uint64_t{BYTES - 1};
        const uint32_t beats = a.length + 1u;
        return {first, beats, 0, now, 0, static_cast<uint32_t>(a.address - first), beats,
                store_.plain(first, first + uint64_t{beats} * BYTES - 1, write)};
    }

    uint32_t answer(const Burst& burst, uint32_t beat, bool write) const {
        const uint64_t first = burst.address + uint64_t{beat} * BYTES;
        return store_.answer(first, first + BYTES - 1, write);
    }

    const Fault* timing(const Burst& burst, bool write) const {
        return burst.plain ? nullptr
                           : store_.timing(burst.address, burst.address + uint64_t{burst.beats} * BYTES - 1, write);
    }

    // The first cycle in which a burst may be answered that is complete now.
    uint64_t ready_at(uint64_t now, const Fault* fault, uint32_t latency) {
        if (fault && fault->kind == FaultKind::HANG) return NEVER;
        const uint64_t delay = fault && fault->kind == FaultKind::LATE ? fault->delay : 0;
        return now + latency + delay + random_.up_to(profile_.latency_jitter);
    }

    void accept_read(uint64_t now, const AddressChannel& channel) {
        ++traffic_.read_bursts;
        Burst burst = make_burst(now, channel, false);
        const Fault* const fault = timing(burst, false);
        burst.ready = std::max(read_ready_, ready_at(now, fault, profile_.read_latency));
        if (fault && fault->kind == FaultKind::SHORT) burst.offered = std::max(burst.beats - 1, 1u);
        if (fault && fault->kind == FaultKind::LONG) burst.offered = burst.beats + 1;
        read_ready_ = burst.ready;
        reads_.push_back(burst);
    }

    void accept_write(uint64_t now, const AddressChannel& channel) {
        ++traffic_.write_bursts;
        writes_.push_back(make_burst(now, channel, true));
        // Data that came ahead of this address.
        for (size_t at = beat_tail_ - early_beats_; early_beats_ && filling_ < writes_.size(); ++at) {
            --early_beats_;
            fill(now, beats_[at % beats_.size()]);
        }
    }

    void accept_beat(uint64_t now, const WriteBeat<BYTES>& beat) {
        ++traffic_.write_beats;
        write_credit_ -= BYTES;
        beats_[beat_tail_++ % beats_.size()] = beat;
        if (filling_ < writes_.size()) {
            fill(now, beat);
        } else {
            ++early_beats_;
        }
    }

    void fill(uint64_t now, const WriteBeat<BYTES>& beat) {
        Burst& burst = writes_[filling_];
        if (burst.done == 0 && beat.strobe & ((uint64_t{1} << burst.skip) - 1)) {
            violations_.add(now, "WSTRB 0x%" PRIx64 " marks bytes below the unaligned address 0x%" PRIx64, beat.strobe,
                            burst.address + burst.skip);
        }
        ++burst.done;
        if (beat.last != (burst.done == burst.beats)) {
            violations_.add(now, "WLAST is %d on beat %u of %u", beat.last, burst.done, burst.beats);
        }
        if (burst.done == burst.beats) {
            burst.ready = std::max(write_ready_, ready_at(now, timing(burst, true), profile_.write_latency));
            write_ready_ = burst.ready;
            ++filling_;
        }
    }

    void offer_read(ToChip<BYTES>& drive) {
        Burst& burst = reads_.front();
        const uint32_t resp = burst.plain ? 0 : answer(burst, burst.done, false);
        if (resp == 0 && burst.done < burst.beats) {
            std::memcpy(drive.rdata, store_.at(burst.address + uint64_t{burst.done} * BYTES), BYTES);
        } else {
            std::memset(drive.rdata, POISON, BYTES);
        }
        ++burst.done;
        read_credit_ -= BYTES;
        drive.rvalid = true;
        drive.rresp = static_cast<uint8_t>(resp);
        drive.rlast = burst.done == burst.offered;
    }

    void offer_response(ToChip<BYTES>& drive) {
        const Burst& burst = writes_.front();
        uint32_t worst = 0;
        for (uint32_t i = 0; i < burst.beats; ++i) {
            const WriteBeat<BYTES>& beat = beats_[beat_head_++ % beats_.size()];
            const uint32_t resp = burst.plain ? 0 : answer(burst, i, true);
            worst = std::max(worst, resp);
            if (resp == 0) store_beat(burst.address + uint64_t{i} * BYTES, beat);
        }
        drive.bvalid = true;
        drive.bresp = static_cast<uint8_t>(worst);
    }

    void store_beat(uint64_t address, const WriteBeat<BYTES>& beat) {
        uint8_t* const target = store_.at(address);
        constexpr uint64_t ALL = BYTES == 64 ? UINT64_MAX : (uint64_t{1} << (BYTES % 64)) - 1;
        if (beat.strobe == ALL) {
            std::memcpy(target, beat.data, BYTES);
            return;
        }
        for (size_t i = 0; i < BYTES; ++i) {
            if (beat.strobe >> i & 1) target[i] = beat.data[i];
        }
    }

    Store& store_;
    const Profile& profile_;
    Violations& violations_;
    Traffic& traffic_;
    Recorder& recorder_;
    Random random_;
    std::deque<Burst> reads_, writes_;
    size_t filling_ = 0;  // writes_[0 .. filling_) have all their data
    std::vector<WriteBeat<BYTES>> beats_;
    size_t beat_head_ = 0, beat_tail_ = 0;  // of the ring `beats_`, counted without wrapping
    size_t early_beats_ = 0;
    uint64_t read_ready_ = 0, write_ready_ = 0;
    uint32_t read_credit_ = 0, write_credit_ = 0, credit_cap_ = 0;
    uint32_t phase_ = 0;  // in the refresh interval
};

}  // namespace lepton
