// A board (lepton_hdl.boards.system) with its SDRAM chip and the other end of its serial line, as a C library.
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "line.h"
#include "sdram.h"
#include "verilated.h"
#include "violations.h"

namespace lepton {

class SerialBoard {
public:
    SerialBoard(const SdramFigures& figures, uint64_t bit_period)
        : sdram_(figures, violations_), line_(bit_period), top_(std::make_unique<Vtop>(context_.get(), "")) {
        top_->rx = 1;
        top_->clk = 0;
        top_->rst = 0;  // an FPGA's flip-flops have their initial values after configuration
        top_->eval();
    }
    ~SerialBoard() { top_->final(); }

    void cycle() {
        Vtop& top = *top_;
        top.clk = 0;
        top.rx = line_.step(top.tx);
        top.sdram___05Fdq_i = sdram_.step(now_, {static_cast<bool>(top.sdram___05Fcke), top.sdram___05Fcommand,
                                                 top.sdram___05Fbank, top.sdram___05Faddress, top.sdram___05Fdqm,
                                                 top.sdram___05Fdq_o, static_cast<bool>(top.sdram___05Fdq_oe)});
        top.eval();
        top.clk = 1;
        top.eval();
        ++now_;
    }

    Violations violations_;
    Sdram sdram_;
    Line line_;
    uint64_t now_ = 0;
    std::unique_ptr<VerilatedContext> context_ = std::make_unique<VerilatedContext>();
    std::unique_ptr<Vtop> top_;
};

}  // namespace lepton

using lepton::SerialBoard;

struct Status {
    uint64_t cycles, violations, unsent, received, refreshes;
    uint32_t irq, tx;
};

extern "C" {

SerialBoard* lepton_open(const lepton::SdramFigures* figures, uint64_t bit_period) {
    return new SerialBoard(*figures, bit_period);
}

void lepton_close(SerialBoard* board) { delete board; }

void lepton_send(SerialBoard* board, const uint8_t* bytes, uint64_t size) {
    for (uint64_t i = 0; i < size; ++i) board->line_.send(bytes[i]);
}

uint64_t lepton_receive(SerialBoard* board, uint8_t* bytes, uint64_t size) {
    auto& received = board->line_.received();
    uint64_t count = 0;
    for (; count < size && !received.empty(); ++count) {
        bytes[count] = received.front();
        received.pop_front();
    }
    return count;
}

void lepton_run(SerialBoard* board, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles; ++i) board->cycle();
}

uint8_t* lepton_memory(SerialBoard* board) { return board->sdram_.bytes().data(); }

void lepton_status(SerialBoard* board, Status* status) {
    *status = {board->now_, board->violations_.count(), board->line_.unsent(), board->line_.received().size(),
               board->sdram_.refreshes(), board->top_->irq, board->top_->tx};
}

const char* lepton_violation(SerialBoard* board, uint64_t index) { return board->violations_.text(index); }
}
