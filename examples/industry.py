"""Industry: a bearing begins to fail on day 31; when does the alarm sound? `python examples/industry.py`

The vibration is computed from a bearing's geometry (lepton models info bearing).
"""

import matplotlib
import numpy as np
from board import options, run
from lepton.models.metrics import reconstruction_error

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LEARNING = 20  # days in which the machine is known to be healthy
DEVIATIONS = (
    4.0  # above the healthy days' mean: one false alarm in some tens of thousands of days of a normal distribution
)

chosen = options("Hears a bearing fail.", "industry.png")
made = run("bearing", chosen)
score = reconstruction_error(made.model.inputs, made.outputs)
severity = made.model.extra["severity"]
level = score[:LEARNING].mean() + DEVIATIONS * score[:LEARNING].std()
fault = int(np.argmax(severity > 0)) + 1
alarms = np.flatnonzero((score[1:] > level) & (score[:-1] > level)) + 2  # two days in a row
alarm = int(alarms[0]) if len(alarms) else None

figure, (upper, lower) = plt.subplots(2, 1, figsize=(10, 6.5), layout="constrained")
days = np.arange(1, len(score) + 1)
upper.semilogy(days, score, "o-", color="#1f6f8b", markersize=4, label="what the network does not expect")
upper.axhline(level, color="#c1121f", linestyle="--", label="alarm level")
upper.axvline(fault, color="gray", linestyle=":", label="the outer ring gets its first crack")
if alarm is not None:
    upper.axvline(alarm, color="#c1121f", label=f"alarm on day {alarm}")
upper.set(xlabel="day", ylabel="error", title="A machine's vibration, heard by an int8 autoencoder on the Lepton chip")
upper.legend(loc="upper left", fontsize=8)
lower.imshow(made.model.inputs.T, aspect="auto", origin="lower", cmap="magma", extent=(0.5, len(score) + 0.5, 0, 6))
lower.set(xlabel="day", ylabel="kHz", title="The spectrum: the housing's resonance at 3.2 kHz grows")
figure.savefig(chosen.output, dpi=90)

for day in range(0, len(score), 5):
    print(
        f"day {day + 1:2}: error {score[day]:.4f}  {'ALARM' if alarm is not None and day + 1 >= alarm else 'healthy'}"
    )
print(
    f"\nfirst crack on day {fault}; "
    + (
        f"alarm on day {alarm}, {alarm - fault} days later, with impacts of "
        f"{severity[alarm - 1]:.2f} g of the {severity[-1]:.2f} g at the end"
        if alarm
        else "no alarm"
    )
)
print(f"false alarms before it: {int((alarms < fault).sum())}; {made.cost()}\nwritten {chosen.output}")
