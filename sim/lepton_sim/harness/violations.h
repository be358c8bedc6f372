// Broken AXI rules, with the cycle in which they were seen.
#pragma once

#include <cinttypes>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace lepton {

class Violations {
public:
    // One rule broken in `cycle`. The first 64 texts are kept, all are counted.
    __attribute__((format(printf, 3, 4))) void add(uint64_t cycle, const char* format, ...) {
        ++count_;
        if (texts_.size() >= 64) return;
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        const int prefix = std::snprintf(text, sizeof text, "cycle %" PRIu64 ": ", cycle);
        std::vsnprintf(text + prefix, sizeof text - prefix, format, arguments);
        va_end(arguments);
        texts_.emplace_back(text);
    }

    uint64_t count() const { return count_; }
    const char* text(size_t index) const { return index < texts_.size() ? texts_[index].c_str() : nullptr; }

private:
    uint64_t count_ = 0;
    std::vector<std::string> texts_;
};

}  // namespace lepton
