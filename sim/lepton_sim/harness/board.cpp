// The C interface of the board, for ctypes. rtl_device.py has its declarations on the Python side.
#include <algorithm>
#include <new>

#include "board.h"

namespace {

struct Status {
    uint64_t cycles;
    uint64_t violations;
    uint64_t read_bursts, read_beats, write_bursts, write_beats;
    uint32_t interrupt;
    uint32_t padding;
};

lepton::Board* board(void* handle) { return static_cast<lepton::Board*>(handle); }

}  // namespace

extern "C" {

uint32_t lepton_bus_bytes() { return lepton::Board::BYTES; }

// `memory` stays the caller's and must outlive the board.
void* lepton_open(uint8_t* memory, uint64_t size, const lepton::Profile* profile) {
    return new (std::nothrow) lepton::Board(memory, size, *profile);
}

void lepton_close(void* handle) { delete board(handle); }

void lepton_reset(void* handle, uint64_t cycles) { board(handle)->reset(cycles); }

uint64_t lepton_run(void* handle, uint64_t cycles, int32_t until_interrupt) {
    return board(handle)->run(cycles, until_interrupt != 0);
}

int32_t lepton_write(void* handle, uint32_t offset, uint32_t value, uint64_t limit) {
    return board(handle)->write(offset, value, limit);
}

int32_t lepton_read(void* handle, uint32_t offset, uint32_t* value, uint64_t limit) {
    return board(handle)->read(offset, value, limit);
}

void lepton_status(void* handle, Status* status) {
    const lepton::Traffic& traffic = board(handle)->traffic();
    *status = {board(handle)->cycles(), board(handle)->violations().count(), traffic.read_bursts, traffic.read_beats,
               traffic.write_bursts, traffic.write_beats, board(handle)->interrupt(), 0};
}

const char* lepton_violation(void* handle, uint64_t index) { return board(handle)->violations().text(index); }

void lepton_add_fault(void* handle, const lepton::Fault* fault) { board(handle)->store().faults.push_back(*fault); }

void lepton_clear_faults(void* handle) { board(handle)->store().faults.clear(); }

void lepton_record(void* handle, int32_t on) { board(handle)->recorder().start(on != 0); }

// How many events there are; the first `room` of them go to `events`.
uint64_t lepton_events(void* handle, lepton::Event* events, uint64_t room) {
    const auto& found = board(handle)->recorder().events();
    std::copy_n(found.begin(), std::min<uint64_t>(room, found.size()), events);
    return found.size();
}

int32_t lepton_trace(void* handle, const char* path, uint64_t first, uint64_t last) {
    return board(handle)->trace(path, first, last);
}

void lepton_flush(void* handle) { board(handle)->flush(); }

}  // extern "C"
