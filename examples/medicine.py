"""Medicine: the vessels of the retina, drawn over the picture of an eye. `python examples/medicine.py`

The picture is scikit-image's (CC0); the network learned from DRIVE's (lepton models info vessels).
"""

import matplotlib
import numpy as np
from board import options, run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

chosen = options("Draws the vessels of a retina.", "medicine.png")
made = run("vessels", chosen)
side = round(len(made.outputs) ** 0.5)
patch = made.outputs.shape[-1]
logits = made.outputs.reshape(side, side, patch, patch).swapaxes(1, 2).reshape(side * patch, side * patch)
sure = 1 / (1 + np.exp(-logits))
found = sure > 0.5

picture = made.model.extra["picture"]
drawn = picture.copy()
drawn[found] = (0.35 * drawn[found] + 0.65 * np.array([60, 230, 120])).astype(np.uint8)
figure, axes = plt.subplots(1, 3, figsize=(13, 4.8), layout="constrained")
for axis, image, title, colors in zip(axes, (picture, drawn, sure), ("the retina", "vessels found", "how sure"),
                                      (None, None, "magma"), strict=True):
    axis.imshow(image, cmap=colors)
    axis.set_title(title)
    axis.set_axis_off()
facts = made.model.facts
figure.suptitle(f"Vessels of the retina by an int8 network on the Lepton chip (Dice {facts.int8_value:.2f} on DRIVE)")
figure.savefig(chosen.output, dpi=90)
print(f"vessels cover {100 * found.mean():.1f} % of the picture (10 to 15 % is usual in its middle)")
print(f"Dice coefficient against an expert on another picture: {facts.int8_value:.2f} (float {facts.float_value:.2f}; "
      f"dark pixels alone {facts.baselines['everything dark']:.2f})")
print(f"{len(made.outputs)} patches of {patch} x {patch} pixels; {made.cost()}\nwritten {chosen.output}\n"
      "This is no medical device: it shows what the chip computes.")
