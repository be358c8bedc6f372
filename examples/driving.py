"""Driving: cars and people in front of a car, with their distances. `python examples/driving.py`

The pictures are rendered (lepton models info road). Distances follow from the height of a box: a car is about 1.5 m
high.
"""

import matplotlib
from board import options, run
from lepton.models.metrics import boxes
from lepton.models.training.road import FOCAL, KINDS, SIZES

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = ("#ffd23f", "#ff5d5d")
BRAKE = 12.0  # metres: what a car at 50 km/h needs to stop from full braking is about this

chosen = options("Finds cars and people on the road.", "driving.png")
made = run("road", chosen, 12)
figure, axes = plt.subplots(4, 3, figsize=(11, 8), layout="constrained")
warnings = 0
for number, (axis, picture, output) in enumerate(zip(axes.flat, made.model.inputs, made.outputs, strict=False)):
    axis.imshow(picture.transpose(1, 2, 0))
    axis.set_axis_off()
    seen = []
    for kind, left, top, right, bottom, _ in boxes(output):
        distance = SIZES[kind][1] * FOCAL / (bottom - top)
        seen.append((distance, KINDS[kind]))
        axis.add_patch(
            plt.Rectangle(
                (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=COLORS[kind], linewidth=2
            )
        )
        axis.text(
            left,
            top - 2,
            f"{KINDS[kind]} {distance:.0f} m",
            color="white",
            fontsize=8,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0},
        )
    near = [f"{kind} at {distance:.0f} m" for distance, kind in sorted(seen) if distance < BRAKE]
    warnings += bool(near)
    axis.set_title(
        "BRAKE: " + ", ".join(near) if near else f"{len(seen)} seen" if seen else "free",
        color="#c1121f" if near else "black",
        fontsize=9,
    )
    print(
        f"frame {number:2}: "
        + (", ".join(f"{kind} {distance:.0f} m" for distance, kind in sorted(seen)) or "free road")
        + ("   BRAKE" if near else "")
    )
figure.suptitle("Cars and people in rendered scenes, found by an int8 network on the Lepton chip")
figure.savefig(chosen.output, dpi=90)
print(
    f"\n{warnings} of 12 frames ask to brake; F1 of boxes on {made.model.facts.tested} scenes: "
    f"{made.model.facts.int8_value:.2f}; {made.cost()}\nwritten {chosen.output}"
)
