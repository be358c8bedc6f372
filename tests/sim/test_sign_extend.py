"""The harness's sign extension equals Verilator's own, at every width."""

from lepton_sim.compile import Flags, include_options, run
from lepton_sim.library import HARNESS, SIGN_EXTEND
from lepton_sim.toolchain import compiler

PROGRAM = """
#include <cstdio>
#include "verilated.h"

// Verilator's, before the harness's take their names.
static IData ii(int lbits, IData value) { return VL_EXTENDS_II(32, lbits, value); }
static QData qi(int lbits, QData value) { return VL_EXTENDS_QI(64, lbits, value); }
static QData qq(int lbits, QData value) { return VL_EXTENDS_QQ(64, lbits, value); }

#include "sign_extend.h"

int main() {
    QData random = 1;
    for (int lbits = 1; lbits <= 64; ++lbits) {
        for (int i = 0; i < 1000; ++i) {
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            const QData value = (i == 0 ? ~0ULL : i == 1 ? 1ULL << (lbits - 1) : random >> 7) & VL_MASK_Q(lbits);
            if (lbits <= 32 && IData(VL_EXTENDS_II(32, lbits, IData(value))) != ii(lbits, value)) return 1;
            if (lbits <= 32 && QData(VL_EXTENDS_QI(64, lbits, IData(value))) != qi(lbits, value)) return 2;
            if (QData(VL_EXTENDS_QQ(64, lbits, value)) != qq(lbits, value)) return 3;
        }
    }
    std::puts("equal");
}
"""


def test_equal_to_verilators(tmp_path):
    source = tmp_path / "compare.cpp"
    program = tmp_path / "compare"
    source.write_text(PROGRAM)
    run([*compiler().command, *Flags().compile, "-O1", *include_options(), f"-I{HARNESS}", source, "-o", program],
        f"compiling the comparison with {SIGN_EXTEND}")
    run([program], "comparing")
