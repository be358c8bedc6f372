"""Home: a wake word, and the commands behind it. `python examples/home.py`

The voices are synthetic, by espeak-ng (lepton models info words).
"""

import matplotlib
import numpy as np
from board import options, run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SURE = 0.8  # below it, nothing happens

chosen = options("Listens to a wake word and commands.", "home.png")
made = run("words", chosen, 24)
classes = made.model.classes
exponents = np.exp(made.outputs - made.outputs.max(1, keepdims=True))
sure = exponents / exponents.sum(1, keepdims=True)
heard = np.where(sure.max(1) >= SURE, sure.argmax(1), 0)
labels = made.model.labels[: len(heard)]

figure, axes = plt.subplots(4, 6, figsize=(12, 7), layout="constrained")
for axis, x, found, label in zip(axes.flat, made.model.inputs, heard, labels, strict=False):
    axis.imshow(x, origin="lower", aspect="auto", cmap="magma")
    axis.set_axis_off()
    axis.set_title(
        classes[found] if found == label else f"{classes[found]} (was: {classes[label]})",
        fontsize=8,
        color="black" if found == label else "#c1121f",
    )
figure.suptitle(
    "A second of sound each (time across, pitch upwards), heard by a recurrent int8 network on the Lepton chip"
)
figure.savefig(chosen.output, dpi=90)

awake = False
for number, found in enumerate(heard):
    word = classes[found]
    action = ""
    if found == classes.index("lepton"):
        awake = True
        action = "listening"
    elif found and awake:
        awake = False
        action = f"done: {word}"
    elif found:
        action = "ignored: nobody said lepton"
    print(f"second {number:2}: {word:10} {100 * sure[number].max():3.0f} %  {action}")
print(
    f"\n{(heard == labels).sum()} of {len(labels)} heard rightly; accuracy on {made.model.facts.tested} words of voices"
    " that "
    f"trained nothing: {100 * made.model.facts.int8_value:.1f} %; {made.cost()}\nwritten {chosen.output}"
)
