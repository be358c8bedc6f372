// How memory behaves: the C side of memory_profile.py, field by field.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lepton {

struct Profile {
    uint32_t bytes_per_cycle;  // peak, each way
    uint32_t read_latency;     // cycles from address to first data
    uint32_t write_latency;    // cycles from last data to response
    uint32_t latency_jitter;   // up to so many more, at random
    uint32_t outstanding;      // bursts accepted and not answered, each way
    uint32_t refresh_interval;
    uint32_t refresh_cycles;  // at the end of each interval, without data
    uint32_t stall_ar, stall_aw, stall_w, stall_r, stall_b, stall_host;  // chance of a stall a cycle, of 65536
    uint64_t seed;
};

enum class FaultKind : uint32_t { NONE = 0, SLVERR = 2, DECERR = 3, HANG = 4, LATE = 5, SHORT = 6, LONG = 7 };

// Bursts that touch bytes first..last answer wrongly, late by `delay` cycles, or not at all.
struct Fault {
    uint64_t first, last;
    FaultKind kind;
    uint32_t on_read, on_write;
    uint32_t delay;
};

// xorshift64* (Vigna, 2016): a few instructions a draw, the same on every host.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u | 1) {}

    bool chance(uint32_t of_65536) { return of_65536 && (next() & 0xFFFF) < of_65536; }
    uint32_t up_to(uint32_t limit) { return limit ? next() % (limit + 1) : 0; }

private:
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>(state_ * 0x2545F4914F6CDD1Du >> 32);
    }

    uint64_t state_;
};

// The memory's bytes and who answers where.
class Store {
public:
    Store(uint8_t* bytes, uint64_t size) : bytes_(bytes), size_(size) {}

    std::vector<Fault> faults;

    uint8_t* at(uint64_t address) { return bytes_ + address; }

    // Is every byte of the range plain memory? Most bursts are, and need no look at each beat.
    bool plain(uint64_t first, uint64_t last, bool write) const {
        if (last >= size_ || last < first) return false;
        return std::none_of(faults.begin(), faults.end(),
                            [&](const Fault& f) { return applies(f, write) && f.first <= last && first <= f.last; });
    }

    // RRESP or BRESP of a beat: that of the first fault that names it.
    uint32_t answer(uint64_t first, uint64_t last, bool write) const {
        if (last >= size_ || last < first) return static_cast<uint32_t>(FaultKind::DECERR);
        const Fault* const fault = find(first, last, write, [](FaultKind kind) {
            return kind == FaultKind::SLVERR || kind == FaultKind::DECERR;
        });
        return fault ? static_cast<uint32_t>(fault->kind) : 0;
    }

    // The first fault of the range that changes when, or with how many beats, a burst is answered; null if none does.
    const Fault* timing(uint64_t first, uint64_t last, bool write) const {
        return find(first, last, write, [](FaultKind kind) { return kind >= FaultKind::HANG; });
    }

private:
    template <class Wanted>
    const Fault* find(uint64_t first, uint64_t last, bool write, Wanted wanted) const {
        for (const Fault& fault : faults) {
            if (wanted(fault.kind) && applies(fault, write) && fault.first <= last && first <= fault.last) return &fault;
        }
        return nullptr;
    }

    static bool applies(const Fault& fault, bool write) { return write ? fault.on_write : fault.on_read; }

    uint8_t* const bytes_;
    const uint64_t size_;
};

}  // namespace lepton
