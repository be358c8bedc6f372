// The part of LZ4's interface that Verilator's FST writer uses, so that waveforms need no liblz4-dev.
// Format: "LZ4 Block Format Description" (lz4/doc/lz4_Block_format.md); greedy search, 64 KiB window.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace lepton_lz4 {

inline uint8_t* put_length(uint8_t* out, size_t length) {
    for (; length >= 255; length -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(length);
    return out;
}

// One sequence: literals, then a match of `match` bytes `distance` back; match 0 ends the block.
inline uint8_t* put_sequence(uint8_t* out, const uint8_t* literals, size_t count, size_t distance, size_t match) {
    const size_t extra = match ? match - 4 : 0;
    *out++ = static_cast<uint8_t>((count < 15 ? count : 15) << 4 | (extra < 15 ? extra : 15));
    if (count >= 15) out = put_length(out, count - 15);
    std::memcpy(out, literals, count);
    out += count;
    if (match) {
        *out++ = static_cast<uint8_t>(distance);
        *out++ = static_cast<uint8_t>(distance >> 8);
        if (extra >= 15) out = put_length(out, extra - 15);
    }
    return out;
}

inline uint32_t word(const uint8_t* at) {
    uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
}

}  // namespace lepton_lz4

inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    using namespace lepton_lz4;
    if (capacity < LZ4_compressBound(size)) return 0;
    const uint8_t* const in = reinterpret_cast<const uint8_t*>(source);
    uint8_t* out = reinterpret_cast<uint8_t*>(target);
    std::vector<uint32_t> last(1 << 12, UINT32_MAX);  // where each hash of four bytes was seen last
    size_t start = 0, at = 0;
    // The format asks that a match starts 12 bytes before the end at the latest and leaves 5 literals.
    const size_t match_limit = size > 12 ? size - 12 : 0;
    while (at < match_limit) {
        uint32_t& slot = last[word(in + at) * 2654435761u >> 20];
        const size_t seen = slot;
        slot = static_cast<uint32_t>(at);
        if (seen == UINT32_MAX || at - seen > 65535 || word(in + seen) != word(in + at)) {
            ++at;
            continue;
        }
        size_t match = 4;
        while (at + match < static_cast<size_t>(size) - 5 && in[seen + match] == in[at + match]) ++match;
        out = put_sequence(out, in + start, at - start, at - seen, match);
        start = at += match;
    }
    out = put_sequence(out, in + start, size - start, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}
