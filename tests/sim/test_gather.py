"""Registers and logic grouped by enable. That the meaning stays, every test of hardware shows: all go through it."""

import re

from lepton_sim.gather import gather

HEAD = "module m(clk, rst, en, a, b, y);\n  input [7:0] a;\n  output [7:0] y;\n"
SUM = "  wire [7:0] \\s$1 ;\n  assign \\s$1  = a + b;\n"


def register(name, value, enable="en", reset="rst"):
    return (f"  always @(posedge clk)\n    if ({reset}) {name} <= 8'h00;\n"
            f"    else if ({enable}) {name} <= {value};\n")


def flat(text):
    return re.sub(r"\s+", " ", text)


def test_registers_of_one_enable_share_a_block_and_its_logic():
    text = flat(gather(HEAD + SUM + register("p", "\\s$1 ") + register("q", "~ \\s$1 ") + "endmodule\n"))
    assert text.count("always") == 1 and "wire" not in text
    assert ("if (rst) begin p <= 8'h00; q <= 8'h00; end else if (en) begin : lepton_enabled_0 reg [7:0] \\s$1 ; "
            "\\s$1 = a + b; p <= \\s$1 ; q <= ~ \\s$1 ; end endmodule") in text


def test_logic_used_elsewhere_stays():
    both = register("p", "\\s$1 ") + register("q", "~ \\s$1 ")
    uses = ("  assign y = \\s$1 ;\n", register("r", "\\s$1 ", enable="other"), register("r", "a", enable="\\s$1 [0]"),
            register("r", "a", reset="\\s$1 [0]"), "  sub sub (\n    .x(\\s$1 )\n  );\n")
    for use in uses:
        assert "assign \\s$1  = a + b;" in gather(HEAD + SUM + both + use + "endmodule\n"), use


def test_logic_of_moved_logic_comes_in_order():
    chain = "  wire [7:0] t;\n  assign t = ~ \\s$1 ;\n"
    text = gather(HEAD + chain + SUM + register("p", "t ^ \\s$1 ") + register("q", "t") + "endmodule\n")
    assert text.index("\\s$1  = a + b;") < text.index("t = ~ \\s$1 ;") < text.index("p <= t")
    assert "assign" not in text


def test_what_is_used_once_or_is_an_output_stays():
    text = HEAD + SUM + register("p", "\\s$1 ") + "endmodule\n"
    assert "assign \\s$1  = a + b;" in gather(text)
    text = HEAD + "  assign y = a + b;\n" + register("p", "y") + register("q", "y") + "endmodule\n"
    assert "assign y = a + b;" in gather(text)


def test_registers_without_enable_and_memories_are_left_alone():
    text = (HEAD + "  always @(posedge clk)\n    if (rst) p <= 1'h0;\n    else p <= a;\n"
            "  always @(posedge clk) begin\n    if (en)\n      store[a] <= b;\n  end\n"
            "  always @(posedge clk)\n    q <= a;\nendmodule\n")
    assert gather(text) == text


def test_clocks_resets_and_enables_are_kept_apart():
    text = gather(HEAD + register("p", "a") + register("q", "a", enable="en2") + register("r", "a", reset="rst2")
                  + "  always @(posedge clk)\n    if (en) s <= a;\nendmodule\n")
    assert text.count("always @(posedge clk)") == 4
