// Values between Verilator's port types (CData to QData, VlWide) and bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "verilated.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the board copies bus words as little-endian bytes; this host is big-endian"
#endif

namespace lepton {

// The AXI4 signals that the chip drives, as sampled in one cycle.
struct AddressChannel {
    bool valid = false;
    uint64_t address = 0;
    uint8_t length = 0;
    uint8_t size = 0;
    uint8_t burst = 0;
    uint8_t id = 0;

    bool same_payload(const AddressChannel& other) const {
        return address == other.address && length == other.length && size == other.size && burst == other.burst &&
               id == other.id;
    }
};

template <size_t BYTES>
struct WriteBeat {
    uint8_t data[BYTES];
    uint64_t strobe;
    bool last;

    bool operator==(const WriteBeat& other) const {
        return last == other.last && strobe == other.strobe && std::memcmp(data, other.data, BYTES) == 0;
    }
};

template <size_t BYTES>
struct FromChip {
    AddressChannel read, write;
    bool wvalid = false, rready = false, bready = false;
    WriteBeat<BYTES> beat{};
};

// The signals that the memory drives, held during one cycle.
template <size_t BYTES>
struct ToChip {
    bool arready = false, awready = false, wready = false;
    bool rvalid = false, rlast = false, bvalid = false;
    uint8_t rresp = 0, bresp = 0;
    uint8_t rdata[BYTES] = {};
};

template <typename Port>
void to_bytes(const Port& port, uint8_t* bytes) {
    std::memcpy(bytes, &port, sizeof(Port));  // VlWide holds its words in ascending order
}

template <typename Port>
void from_bytes(Port& port, const uint8_t* bytes) {
    std::memcpy(&port, bytes, sizeof(Port));
}

}  // namespace lepton
