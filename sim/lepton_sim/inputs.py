"""Lets a Verilated model compute what depends on its inputs once a cycle.

Verilator's `eval` first computes all logic behind the inputs, then what a clock edge changes. The board calls it twice
a cycle: with the clock low, after the inputs have changed, and with the clock high, when nothing but the clock has
changed. The second call computes the same values of the first step again (6 % of a chip's simulation).
"""

import re

from .compile import Generated

_ALWAYS = "vlSelfRef.__VicoFirstIteration = 1U;"  # in the model's `eval`, Verilator 5
_CLOCK_LOW = "vlSelfRef.__VicoFirstIteration = !vlSelfRef.clk;"
_INPUT_LOGIC = re.compile(r"^void \w+___ico_\w+\(.*?^}", re.MULTILINE | re.DOTALL)
_CLOCK = re.compile(r"\bclk\b")


def take_inputs_while_low(generated: Generated) -> bool:
    """Change `generated` so that inputs are taken only while `clk` is low; the caller changes them only then.

    False, and nothing is changed, where logic depends on the level of the clock (a gated clock), or where Verilator
    has written `eval` in another way.
    """
    texts = {path: path.read_text() for name in generated.fast
             if (path := generated.folder / f"{name}.cpp").exists()}
    if any(_CLOCK.search(body) for text in texts.values() for body in _INPUT_LOGIC.findall(text)):
        return False
    found = [path for path, text in texts.items() if _ALWAYS in text]
    if len(found) != 1 or texts[found[0]].count(_ALWAYS) != 1:
        return False
    found[0].write_text(texts[found[0]].replace(_ALWAYS, _CLOCK_LOW))
    return True
