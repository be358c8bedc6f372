// An SDRAM chip (SDR, 16 bits wide): what it holds, and the rules of its data sheet (JEDEC 21-C, 3.11.5).
// Every rule is checked in time, not in cycles, from the data sheet's figures and the period of the clock.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "violations.h"

namespace lepton {

// Of lepton_sim.serial_board.CSdram. Times in picoseconds.
struct SdramFigures {
    uint32_t bank_bits, row_bits, column_bits, cas_latency;
    uint64_t period, rcd, rp, ras, rc, rrd, rfc, wr, refresh_interval, power_up;
    uint32_t mrd_cycles, padding;
};

struct SdramPins {
    bool cke;
    uint32_t command, bank, address, dqm, dq_o;
    bool dq_oe;
};

class Sdram {
public:
    Sdram(const SdramFigures& figures, Violations& violations)
        : figures_(figures), violations_(violations),
          bytes_(size_t{2} << (figures.bank_bits + figures.row_bits + figures.column_bits)),
          banks_(size_t{1} << figures.bank_bits) {}

    // One edge of the chip's clock, a quarter of a period after that of the FPGA; what is on the data pins afterwards.
    uint16_t step(uint64_t now, const SdramPins& pins) {
        now_ = now;
        if (pins.cke) command(pins);
        if (write_left_ != 0) write_half(pins);
        else if (pins.dq_oe) violations_.add(now, "the controller drives the data pins without a WRITE");
        const Half half = outputs_[now % outputs_.size()];
        outputs_[now % outputs_.size()] = {};
        if (half.valid && pins.dq_oe) violations_.add(now, "the controller and the SDRAM drive the data pins at once");
        if (pins.dqm != 0 && write_left_ == 0 && !wrote_) violations_.add(now, "DQM masks data that is read");
        wrote_ = false;
        if (ready_ && time_since(last_refresh_) > 9 * figures_.refresh_interval) {
            violations_.add(now, "no AUTO REFRESH within 9 intervals");
            last_refresh_ = now;
        }
        return half.valid ? half.data : UNDRIVEN;
    }

    std::vector<uint8_t>& bytes() { return bytes_; }
    uint64_t refreshes() const { return refreshes_; }

private:
    static constexpr uint64_t NEVER = UINT64_MAX;
    static constexpr uint16_t UNDRIVEN = 0xEEEE;
    static constexpr uint32_t ALL_BANKS = 1 << 10;  // A10

    struct Half {
        bool valid = false;
        uint16_t data = 0;
    };
    struct Bank {
        bool open = false;
        uint32_t row = 0;
        uint64_t activated = NEVER, precharged = NEVER, written = NEVER, read_until = 0;
    };

    uint64_t time_since(uint64_t cycle) const { return cycle == NEVER ? UINT64_MAX : (now_ - cycle) * figures_.period; }

    void need(uint64_t since, uint64_t time, const char* rule) {
        if (time_since(since) < time) {
            violations_.add(now_, "%s is %llu ps, less than %llu ps", rule,
                            static_cast<unsigned long long>(time_since(since)), static_cast<unsigned long long>(time));
        }
    }

    void command(const SdramPins& pins) {
        if (pins.command == 0b111) return;
        if (now_ * figures_.period < figures_.power_up) violations_.add(now_, "a command before the SDRAM has powered up");
        if (mode_set_ != NEVER && now_ - mode_set_ < figures_.mrd_cycles) {
            violations_.add(now_, "a command too soon after LOAD MODE");
        }
        need(refreshed_, figures_.rfc, "tRFC");
        Bank& bank = banks_[pins.bank];
        switch (pins.command) {
            case 0b011: activate(bank, pins.address); break;
            case 0b101: column(bank, pins, false); break;
            case 0b100: column(bank, pins, true); break;
            case 0b010:
                for (size_t i = 0; i < banks_.size(); ++i) {
                    if (pins.address & ALL_BANKS || i == pins.bank) precharge(banks_[i]);
                }
                precharged_all_ |= (pins.address & ALL_BANKS) != 0;
                break;
            case 0b001: refresh(); break;
            case 0b000: load_mode(pins); break;
            default: violations_.add(now_, "unknown command %u", pins.command);
        }
    }

    void activate(Bank& bank, uint32_t row) {
        if (!ready_) violations_.add(now_, "ACTIVATE before LOAD MODE");
        if (bank.open) violations_.add(now_, "ACTIVATE of a bank that is open");
        need(bank.precharged, figures_.rp, "tRP");
        need(bank.activated, figures_.rc, "tRC");
        for (const Bank& other : banks_) {
            if (&other != &bank) need(other.activated, figures_.rrd, "tRRD");
        }
        bank.open = true;
        bank.row = row;
        bank.activated = now_;
    }

    void column(Bank& bank, const SdramPins& pins, bool write) {
        if (!bank.open) violations_.add(now_, "READ or WRITE of a bank that is not open");
        need(bank.activated, figures_.rcd, "tRCD");
        if (pins.address & ALL_BANKS) violations_.add(now_, "auto precharge is not used");
        if (now_ < burst_until_) violations_.add(now_, "a burst is cut short by another");
        const uint64_t row = (uint64_t{bank.row} << figures_.bank_bits | pins.bank) << figures_.column_bits;
        const uint32_t column = pins.address & ((1u << figures_.column_bits) - 1);
        burst_until_ = now_ + burst_;
        if (write) {
            if (now_ <= data_until_) violations_.add(now_, "WRITE while data that was read is on the pins");
            write_at_ = row;
            write_column_ = column;
            write_left_ = burst_;
            write_bank_ = &bank;
            return;
        }
        bank.read_until = now_ + burst_;
        for (uint32_t i = 0; i < burst_; ++i) {
            const size_t at = 2 * (row + wrap(column, i));
            const uint64_t when = now_ + figures_.cas_latency - 1 + i;
            outputs_[when % outputs_.size()] = {true, static_cast<uint16_t>(bytes_[at] | bytes_[at + 1] << 8)};
        }
        data_until_ = now_ + figures_.cas_latency + burst_ - 1;
    }

    // Columns of a burst wrap within it (sequential order).
    uint32_t wrap(uint32_t column, uint32_t i) const { return (column & ~(burst_ - 1)) | ((column + i) & (burst_ - 1)); }

    void write_half(const SdramPins& pins) {
        if (!pins.dq_oe) violations_.add(now_, "the controller does not drive data that is written");
        const size_t at = 2 * (write_at_ + wrap(write_column_, burst_ - write_left_));
        for (int i = 0; i < 2; ++i) {
            if (!(pins.dqm >> i & 1)) bytes_[at + i] = static_cast<uint8_t>(pins.dq_o >> 8 * i);
        }
        write_bank_->written = now_;
        --write_left_;
        wrote_ = true;
    }

    void precharge(Bank& bank) {
        if (bank.open) {
            need(bank.activated, figures_.ras, "tRAS");
            need(bank.written, figures_.wr, "tWR");
            if (now_ < bank.read_until) violations_.add(now_, "PRECHARGE cuts a burst short");
            if (write_left_ != 0 && write_bank_ == &bank) violations_.add(now_, "PRECHARGE in a burst of writes");
        }
        bank.open = false;
        bank.precharged = now_;
    }

    void refresh() {
        for (const Bank& bank : banks_) {
            if (bank.open) violations_.add(now_, "AUTO REFRESH with a bank open");
            need(bank.precharged, figures_.rp, "tRP");
        }
        refreshed_ = last_refresh_ = now_;
        ++refreshes_;
    }

    void load_mode(const SdramPins& pins) {
        if (!precharged_all_) violations_.add(now_, "LOAD MODE before PRECHARGE of all banks");
        if (refreshes_ < 2) violations_.add(now_, "LOAD MODE before two AUTO REFRESH commands");
        if ((pins.address >> 4 & 7) != figures_.cas_latency) violations_.add(now_, "the mode has another CAS latency");
        if (pins.address & 1u << 3) violations_.add(now_, "the mode interleaves bursts");
        burst_ = 1u << (pins.address & 7);
        mode_set_ = now_;
        ready_ = true;
    }

    const SdramFigures figures_;
    Violations& violations_;
    std::vector<uint8_t> bytes_;
    std::vector<Bank> banks_;
    std::array<Half, 16> outputs_{};
    uint64_t now_ = 0, refreshed_ = NEVER, last_refresh_ = 0, mode_set_ = NEVER, refreshes_ = 0;
    uint64_t burst_until_ = 0, data_until_ = 0, write_at_ = 0;
    uint32_t burst_ = 1, write_left_ = 0, write_column_ = 0;
    Bank* write_bank_ = nullptr;
    bool ready_ = false, precharged_all_ = false, wrote_ = false;
};

}  // namespace lepton
