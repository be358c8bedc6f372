"""`volatility`: how much the S&P 500 will move in the next five days."""

import numpy as np
from torch import nn

from .recipe import Part, Recipe

DAYS = 64
AHEAD = 5
YEAR = 252  # trading days
DECAY = 0.94  # RiskMetrics' for daily data (J.P. Morgan, 1996)


def recipe() -> Recipe:
    import arch.data.sp500

    prices = arch.data.sp500.load()["Adj Close"]
    returns = 100 * np.diff(np.log(prices.to_numpy()))
    dates = prices.index.to_numpy()[1:]
    x, y = windows(returns)
    ends = dates[DAYS + AHEAD - 1 :].astype("datetime64[Y]").astype(int) + 1970
    train: Part = (x[ends <= 2011], y[ends <= 2011])
    validation: Part = (x[(ends > 2011) & (ends <= 2013)], y[(ends > 2011) & (ends <= 2013)])
    chosen = ends > 2013
    test: Part = (x[chosen], y[chosen])
    smooth = _exponential(returns)[DAYS - 1 : -AHEAD][chosen]
    module = nn.Sequential(
        nn.Conv1d(2, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, 1),
    )
    last = len(test[0]) - 1
    days = np.arange(last - 249, last + 1)  # about 2018, the year of two falls
    return Recipe(
        name="volatility",
        title="volatility of a stock index",
        field="finance",
        task="time series forecasting: logarithm of the volatility of the next 5 days, in % a year",
        data="S&P 500, daily closes 1999 to 2018 (Yahoo Finance), with arch: to 2011 train, 2012 and 2013 choose, "
        "2014 to 2018 test",
        licence="data as arch ships them (NCSA), weights Apache-2.0",
        synthetic="",
        input="2 channels (returns in % / 3, their magnitudes / 3) x 64 days",
        output="log of volatility in % a year",
        metric="mean absolute error",
        module=module,
        train=train,
        validation=validation,
        test=test,
        loss=nn.functional.smooth_l1_loss,
        epochs=10,
        baselines={
            "exponential average (0.94)": float(np.abs(smooth[:, None] - test[1]).mean()),
            "the average to 2011": float(np.abs(train[1].mean() - test[1]).mean()),
        },
        samples={
            "inputs": test[0][days],
            "labels": test[1][days],
            "returns": returns[-250 - AHEAD :].astype(np.float32),
            "dates": dates[-250 - AHEAD :].astype("datetime64[D]").astype(np.int64),
        },
        sample_count=250,
    )


def windows(returns: np.ndarray) -> Part:
    """Every window of DAYS returns, and the log of the volatility of the AHEAD days behind it."""
    count = len(returns) - DAYS - AHEAD + 1
    rows = np.stack([returns[i : i + DAYS] for i in range(count)]).astype(np.float32)
    later = np.stack([returns[i + DAYS : i + DAYS + AHEAD] for i in range(count)])
    volatility = np.sqrt((later**2).mean(1) * YEAR)
    x = np.stack([rows, np.abs(rows)], 1) / 3
    return np.clip(x, -3, 3), np.log(np.maximum(volatility, 0.5))[:, None].astype(np.float32)


def _exponential(returns: np.ndarray) -> np.ndarray:
    """The logarithm of the volatility as RiskMetrics estimates it, up to each day."""
    variance = np.empty(len(returns))
    value = float((returns[:DAYS] ** 2).mean())
    for i, change in enumerate(returns):
        value = DECAY * value + (1 - DECAY) * change**2
        variance[i] = value
    return np.log(np.sqrt(variance * YEAR))
