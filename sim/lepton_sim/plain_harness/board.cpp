// The board around a model made with --x-initial unique: what registers and memories hold at the start is chosen here.
#include "Vtop.h"
#include "verilated.h"

#include <cstdlib>

// LEPTON_INITIAL: 0 (default) or 1 for all bits, or 2 for random ones.
struct InitialContext : VerilatedContext {
    InitialContext() {
        const char* initial = std::getenv("LEPTON_INITIAL");
        randReset(initial ? std::atoi(initial) : 0);
        randSeed(1);
    }
};

// The pins that the board leaves alone are low, whatever registers hold.
struct InitialTop : Vtop {
    InitialTop(VerilatedContext* context, const char* name) : Vtop(context, name) {
        memory___05Frid = 0;
        memory___05Fbid = 0;
    }
};

#define VerilatedContext InitialContext
#define Vtop InitialTop
#include "../harness/board.cpp"
