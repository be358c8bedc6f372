// The host's end of a serial line: bytes to bits and back, at a rate of its own.
#pragma once

#include <cstdint>
#include <deque>

namespace lepton {

class Line {
public:
    // `period`: of a bit, in 1/256 of a clock cycle, so that host and board may differ.
    explicit Line(uint64_t period) : period_(period) {}

    void send(uint8_t byte) { waiting_.push_back(byte); }
    size_t unsent() const { return waiting_.size() + (bits_left_ != 0); }
    std::deque<uint8_t>& received() { return received_; }
    uint64_t broken() const { return broken_; }

    // One clock cycle: the level that the board sees, given the one that it drives.
    bool step(bool from_board) {
        listen(from_board);
        if (bits_left_ == 0 && !waiting_.empty()) {
            frame_ = uint32_t{waiting_.front()} << 1 | 1u << 9;  // start bit 0, data, stop bit 1
            waiting_.pop_front();
            bits_left_ = 10;
            left_ = period_;
        }
        if (bits_left_ == 0) return true;
        const bool level = frame_ & 1;
        if (left_ <= 256) {
            left_ += period_;
            frame_ >>= 1;
            --bits_left_;
        }
        left_ -= 256;
        return level;
    }

private:
    void listen(bool level) {
        if (sampled_ == 0) {
            if (level) return;
            until_sample_ = period_ + period_ / 2;  // the middle of the first data bit
            sampled_ = 1;
            shift_ = 0;
            return;
        }
        if (until_sample_ > 256) {
            until_sample_ -= 256;
            return;
        }
        until_sample_ += period_ - 256;
        if (sampled_ <= 8) {
            shift_ = shift_ >> 1 | (level ? 0x80 : 0);
            ++sampled_;
            return;
        }
        if (level) received_.push_back(static_cast<uint8_t>(shift_));
        else ++broken_;
        sampled_ = 0;
    }

    const uint64_t period_;
    std::deque<uint8_t> waiting_, received_;
    uint32_t frame_ = 0, bits_left_ = 0, shift_ = 0;
    uint64_t left_ = 0, until_sample_ = 0, broken_ = 0;
    int sampled_ = 0;
};

}  // namespace lepton
