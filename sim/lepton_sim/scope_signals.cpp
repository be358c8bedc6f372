// Lets scope.py read internal signals and memories, which pyverilator does not show with Verilator 5:
// a table of everything that --public-flat-rw keeps, with where it lies.
#include <cstdint>
#include <string>
#include <vector>

#include "verilated.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"

namespace {

struct Entry {
    std::string name;
    const void* data;
    uint32_t bits, entry_bytes, elements;
};

std::vector<Entry>& table() {
    static std::vector<Entry> entries = [] {
        std::vector<Entry> found;
        for (const auto& scope : *Verilated::threadContextp()->scopeNameMap()) {
            if (!scope.second->varsp()) continue;
            for (const auto& var : *scope.second->varsp()) {
                const VerilatedVar& v = var.second;
                if (v.udims() > 1 || v.isParam()) continue;
                const uint32_t elements = v.udims() ? v.unpackedRanges()[0].elements() : 1;
                found.push_back({std::string(scope.first) + "." + var.first, v.datap(), v.entBits(), v.entSize(),
                                 elements});
            }
        }
        return found;
    }();
    return entries;
}

}  // namespace

extern "C" {

uint32_t lepton_signal_count() { return table().size(); }

// Name, first byte (of the first word of a memory), width in bits, bytes from word to word, words.
void lepton_signal(uint32_t index, const char** name, const void** data, uint32_t* bits, uint32_t* entry_bytes,
                   uint32_t* elements) {
    const Entry& entry = table()[index];
    *name = entry.name.c_str();
    *data = entry.data;
    *bits = entry.bits;
    *entry_bytes = entry.entry_bytes;
    *elements = entry.elements;
}

}  // extern "C"
