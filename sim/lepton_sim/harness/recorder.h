// What happened at the memory port and at the registers, for timelines: bursts and register writes.
#pragma once

#include <cstdint>
#include <vector>

namespace lepton {

enum class EventKind : uint32_t { READ = 0, WRITE = 1, REGISTER = 2 };

// rtl_device.py has the same layout.
struct Event {
    uint64_t first, last;  // cycles: address taken; last beat or response
    uint64_t address;      // or the register's offset
    uint32_t beats;
    EventKind kind;
};

class Recorder {
public:
    // Forgets what was recorded; records from now on, or no longer.
    void start(bool on) {
        on_ = on;
        events_.clear();
    }

    void add(EventKind kind, uint64_t first, uint64_t last, uint64_t address, uint32_t beats) {
        if (on_ && events_.size() < LIMIT) events_.push_back({first, last, address, beats, kind});
    }

    const std::vector<Event>& events() const { return events_; }

private:
    static constexpr size_t LIMIT = size_t{1} << 22;  // 128 MiB; longer runs keep their beginning

    bool on_ = false;
    std::vector<Event> events_;
};

}  // namespace lepton
