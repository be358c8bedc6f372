"""Finance: how much will a stock index move in the next five days, and how much can be lost?

    python examples/finance.py

Daily closes of the S&P 500 (lepton models info volatility); 2018 trained nothing.
"""

import matplotlib
import numpy as np
from board import options, run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

YEAR = 252  # trading days
AHEAD = 5
QUANTILE = 1.645  # of the normal distribution: 95 % of the days are better

chosen = options("Forecasts volatility and the value at risk.", "finance.png")
made = run("volatility", chosen)
extra = made.model.extra
forecast = np.exp(made.outputs[:, 0])
happened = np.exp(made.model.labels[:, 0])
days = extra["dates"].astype("datetime64[D]")[-len(forecast) - AHEAD : -AHEAD]
tomorrow = extra["returns"][-len(forecast) - AHEAD :][: len(forecast)]
at_risk = QUANTILE * forecast / np.sqrt(YEAR)
broken = tomorrow < -at_risk

figure, (upper, lower) = plt.subplots(2, 1, figsize=(10, 6.5), layout="constrained", sharex=True)
upper.fill_between(days, 0, happened, color="#c9d6df", label="what the next 5 days brought")
upper.plot(days, forecast, color="#1f6f8b", label="forecast")
upper.set(ylabel="volatility, % a year", title="S&P 500: volatility by an int8 network on the Lepton chip")
upper.legend(loc="upper left", fontsize=8)
lower.bar(days, tomorrow, width=1.0, color=np.where(broken, "#c1121f", "#9aa5b1"))
lower.plot(
    days,
    -at_risk,
    color="#c1121f",
    linewidth=1,
    label=f"value at risk, 95 %: exceeded on {broken.sum()} of {len(days)} days",
)
lower.set(ylabel="return of a day, %")
lower.legend(loc="lower left", fontsize=8)
figure.savefig(chosen.output, dpi=90)

facts = made.model.facts
print(f"{days[0]} to {days[-1]}: forecast of {len(forecast)} weeks")
print(
    f"mean absolute error of the log of volatility, 2014 to 2018: {facts.int8_value:.3f}; "
    + ", ".join(f"{name} {value:.3f}" for name, value in facts.baselines.items())
)
print(
    f"today's forecast: {forecast[-1]:.0f} % a year; of 1 000 000 invested, {1e4 * at_risk[-1]:,.0f} can be lost "
    "in a day "
    f"(95 %)"
)
print(
    f"value at risk exceeded on {100 * broken.mean():.1f} % of the days (5 % expected); {made.cost()}\n"
    f"written {chosen.output}\nThis is no advice: it shows what the chip computes."
)
