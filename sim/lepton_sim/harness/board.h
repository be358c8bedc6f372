// The board: the Verilated chip, its memory, its host port, and the clock that drives them.
//
// In each cycle the inputs change and settle while the clock is low, the chip's
// outputs are sampled, and the rising edge moves chip and memory on together.
// Ready and valid of both sides are registered, as between real devices.
//
// Port `memory__awaddr` is `memory___05Fawaddr` here: Verilator writes a second underscore as ___05F.
#pragma once

#include <memory>
#include <string>
#include <type_traits>

#include "Vtop.h"
#include "checker.h"
#include "memory.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

namespace lepton {

// Whether a chip has the pin with which it resets memory's transactions (parts of a chip have none).
template <class Top, class = void>
struct HasMemoryReset : std::false_type {};
template <class Top>
struct HasMemoryReset<Top, std::void_t<decltype(Top::memory_reset)>> : std::true_type {};

// The level of that pin, low for a chip without it.
template <class Top>
bool memory_reset(const Top& top) {
    if constexpr (HasMemoryReset<Top>::value) return top.memory_reset;
    return false;
}

constexpr int NO_ANSWER = -1;
constexpr int STOPPED = -2;  // a rule was broken meanwhile

class Board {
public:
    static constexpr size_t BYTES = sizeof(Vtop::memory___05Fwdata);
    static_assert(BYTES >= 4 && BYTES <= 64 && (BYTES & (BYTES - 1)) == 0, "the bus must be 32 to 512 bits wide");

    Board(uint8_t* bytes, uint64_t size, const Profile& profile)
        : profile_(profile), store_(bytes, size), memory_(store_, profile_, violations_, traffic_, recorder_),
          checker_(violations_), random_(profile.seed + 1) {
        context_->traceEverOn(VM_TRACE);
        top_ = std::make_unique<Vtop>(context_.get(), "");
        context_->timeunit(-9);  // nanoseconds; after the model, whose constructor says picoseconds
        context_->timeprecision(-9);
        top_->eval();
    }

    ~Board() {
#if VM_TRACE
        if (trace_) trace_->close();
#endif
        top_->final();
    }

    // Hold reset; memory keeps its bytes and loses its transactions.
    void reset(uint64_t cycles) {
        memory_.reset();
        drive_ = {};
        host_read_ = host_write_ = false;
        in_reset_ = true;
        top_->rst = 1;
        drive_host_idle();
        for (uint64_t i = 0; i < cycles; ++i) cycle();
        top_->rst = 0;
        in_reset_ = false;
        checker_.reset();
    }

    // Up to `cycles` cycles, fewer when the interrupt rises (if wanted) or a rule is broken.
    uint64_t run(uint64_t cycles, bool until_interrupt) {
        const uint64_t broken = violations_.count();
        uint64_t done = 0;
        while (done < cycles && !(until_interrupt && top_->irq) && violations_.count() == broken) {
            cycle();
            ++done;
        }
        return done;
    }

    // RESP of an AXI4-Lite write, or NO_ANSWER, or STOPPED.
    int write(uint32_t offset, uint32_t value, uint64_t limit) {
        const uint64_t broken = violations_.count();
        uint32_t wait_address = host_delay(), wait_data = host_delay(), wait_response = host_delay();
        bool address_done = false, data_done = false;
        int resp = NO_ANSWER;
        for (uint64_t i = 0; i < limit && resp == NO_ANSWER; ++i) {
            top_->host___05Fawaddr = offset;
            top_->host___05Fwdata = value;
            top_->host___05Fwstrb = 0xF;
            top_->host___05Fawvalid = !address_done && i >= wait_address;
            top_->host___05Fwvalid = !data_done && i >= wait_data;
            host_write_ = address_done && data_done;
            top_->host___05Fbready = host_write_ && wait_response == 0;
            if (host_write_ && wait_response) --wait_response;
            cycle();
            address_done |= host_.awdone;
            data_done |= host_.wdone;
            if (host_.bdone) resp = host_.resp;
            if (violations_.count() != broken) resp = STOPPED;
        }
        if (resp == 0) recorder_.add(EventKind::REGISTER, now_, now_, offset, 1);
        drive_host_idle();
        host_write_ = false;
        return resp;
    }

    // RESP of an AXI4-Lite read, or NO_ANSWER, or STOPPED.
    int read(uint32_t offset, uint32_t* value, uint64_t limit) {
        const uint64_t broken = violations_.count();
        uint32_t wait_address = host_delay(), wait_data = host_delay();
        bool address_done = false;
        int resp = NO_ANSWER;
        for (uint64_t i = 0; i < limit && resp == NO_ANSWER; ++i) {
            top_->host___05Faraddr = offset;
            top_->host___05Farvalid = !address_done && i >= wait_address;
            host_read_ = address_done;
            top_->host___05Frready = host_read_ && wait_data == 0;
            if (host_read_ && wait_data) --wait_data;
            cycle();
            address_done |= host_.ardone;
            if (host_.rdone) {
                resp = host_.resp;
                *value = host_.data;
            }
            if (violations_.count() != broken) resp = STOPPED;
        }
        drive_host_idle();
        host_read_ = false;
        return resp;
    }

    // Record signals from cycle `first` up to and including `last`; false where this build cannot.
    bool trace(const char* path, uint64_t first, uint64_t last) {
#if VM_TRACE
        trace_ = std::make_unique<VerilatedFstC>();
        top_->trace(trace_.get(), 99);
        trace_->open(path);
        trace_first_ = first;
        trace_last_ = last;
        return trace_->isOpen();
#else
        (void)path, (void)first, (void)last;
        return false;
#endif
    }

    void flush() {
#if VM_TRACE
        if (trace_) trace_->flush();
#endif
    }

    Store& store() { return store_; }
    Recorder& recorder() { return recorder_; }
    const Violations& violations() const { return violations_; }
    const Traffic& traffic() const { return traffic_; }
    uint64_t cycles() const { return now_; }
    bool interrupt() const { return top_->irq; }

private:
    struct HostHandshakes {
        bool awdone, wdone, bdone, ardone, rdone;
        int resp;
        uint32_t data;
    };

    void cycle() {
        Vtop& top = *top_;
        top.memory___05Farready = drive_.arready;
        top.memory___05Fawready = drive_.awready;
        top.memory___05Fwready = drive_.wready;
        top.memory___05Frvalid = drive_.rvalid;
        if (drive_.rvalid) {
            from_bytes(top.memory___05Frdata, drive_.rdata);
            top.memory___05Frresp = drive_.rresp;
            top.memory___05Frlast = drive_.rlast;
        }
        top.memory___05Fbvalid = drive_.bvalid;
        top.memory___05Fbresp = drive_.bresp;
        top.clk = 0;
        top.eval();
        dump(0);
        sample_memory();
        sample_host();
        const bool forget = memory_reset(top);
        top.clk = 1;
        top.eval();
        dump(5);
        if (in_reset_) {
            drive_ = {};
        } else {
            checker_.check(now_, chip_, drive_);
            memory_.step(now_, chip_, drive_);
            if (forget) {
                memory_.reset();
                drive_ = {};
                checker_.reset();
            }
        }
        ++now_;
    }

    void sample_memory() {
        const Vtop& top = *top_;
        chip_.read.valid = top.memory___05Farvalid;
        if (chip_.read.valid) {
            chip_.read = {true, top.memory___05Faraddr, top.memory___05Farlen, top.memory___05Farsize, top.memory___05Farburst,
                          top.memory___05Farid};
        }
        chip_.write.valid = top.memory___05Fawvalid;
        if (chip_.write.valid) {
            chip_.write = {true, top.memory___05Fawaddr, top.memory___05Fawlen, top.memory___05Fawsize, top.memory___05Fawburst,
                           top.memory___05Fawid};
        }
        chip_.wvalid = top.memory___05Fwvalid;
        if (chip_.wvalid) {
            to_bytes(top.memory___05Fwdata, chip_.beat.data);
            chip_.beat.strobe = top.memory___05Fwstrb;
            chip_.beat.last = top.memory___05Fwlast;
        }
        chip_.rready = top.memory___05Frready;
        chip_.bready = top.memory___05Fbready;
    }

    void sample_host() {
        const Vtop& top = *top_;
        host_ = {};
        host_.awdone = top.host___05Fawvalid && top.host___05Fawready;
        host_.wdone = top.host___05Fwvalid && top.host___05Fwready;
        host_.ardone = top.host___05Farvalid && top.host___05Farready;
        if (top.host___05Fbvalid) {
            host_.bdone = top.host___05Fbready;
            host_.resp = top.host___05Fbresp;
            if (!host_write_ && !in_reset_) violations_.add(now_, "host BVALID without a complete write");
        }
        if (top.host___05Frvalid) {
            host_.rdone = top.host___05Frready;
            host_.resp = top.host___05Frresp;
            host_.data = top.host___05Frdata;
            if (!host_read_ && !in_reset_) violations_.add(now_, "host RVALID without an accepted read");
        }
    }

    void drive_host_idle() {
        top_->host___05Fawvalid = top_->host___05Fwvalid = top_->host___05Fbready = 0;
        top_->host___05Farvalid = top_->host___05Frready = 0;
        top_->host___05Fawprot = top_->host___05Farprot = 0;
    }

    uint32_t host_delay() {
        uint32_t cycles = 0;
        while (cycles < 16 && random_.chance(profile_.stall_host)) ++cycles;
        return cycles;
    }

    // Time in the trace is 10 ns a cycle, so that cycle = time / 10.
    void dump(uint64_t offset) {
#if VM_TRACE
        if (trace_ && now_ >= trace_first_ && now_ <= trace_last_) trace_->dump(now_ * 10 + offset);
#else
        (void)offset;
#endif
    }

    const Profile profile_;
    Violations violations_;
    Traffic traffic_;
    Recorder recorder_;
    Store store_;
    Memory<BYTES> memory_;
    Checker<BYTES> checker_;
    Random random_;
    std::unique_ptr<VerilatedContext> context_ = std::make_unique<VerilatedContext>();
    std::unique_ptr<Vtop> top_;
    FromChip<BYTES> chip_{};
    ToChip<BYTES> drive_{};
    HostHandshakes host_{};
    bool host_read_ = false, host_write_ = false;  // an answer to the host is due
    bool in_reset_ = false;
    uint64_t now_ = 0;
#if VM_TRACE
    std::unique_ptr<VerilatedFstC> trace_;
    uint64_t trace_first_ = 0, trace_last_ = UINT64_MAX;
#endif
};

}  // namespace lepton
