// Sign extension as the processor does it.
//
// Verilator's own copies the sign bit with a mask, a negation and an or; compilers do not see through
// that. A shift up and an arithmetic shift down mean the same, for the same reason that Verilator's do (the
// bits above `lbits` are zero, or do not matter), and compile to one instruction for 8, 16 and 32 bits.
// Half of the array's instructions were sign extensions (docs/decisions/08).
#pragma once

#include "verilated.h"

inline IData lepton_extend32(int lbits, IData value) {
    return static_cast<IData>(static_cast<int32_t>(value << (32 - lbits)) >> (32 - lbits));
}

inline QData lepton_extend64(int lbits, QData value) {
    return static_cast<QData>(static_cast<int64_t>(value << (64 - lbits)) >> (64 - lbits));
}

#define VL_EXTENDS_II(obits, lbits, value) lepton_extend32(lbits, value)
#define VL_EXTENDS_QI(obits, lbits, value) lepton_extend64(lbits, value)
#define VL_EXTENDS_QQ(obits, lbits, value) lepton_extend64(lbits, value)
