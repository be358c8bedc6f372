"""`weather`: the highest temperature of each of the next three days."""

import numpy as np
from torch import nn

from .recipe import Part, Recipe

DAYS = 24
AHEAD = 3


def recipe() -> Recipe:
    from vega_datasets import data

    table = data.seattle_weather()
    columns = np.stack(
        [table["temp_max"] / 10, table["temp_min"] / 10, np.log1p(table["precipitation"]), table["wind"] / 5]
    ).astype(np.float32)
    year = table["date"].dt.year.to_numpy()
    x, y = windows(columns)
    ends = year[DAYS + AHEAD - 1 :]  # the year in which a window's last day lies
    train: Part = (x[ends <= 2013], y[ends <= 2013])
    validation: Part = (x[ends == 2014], y[ends == 2014])
    test: Part = (x[ends == 2015], y[ends == 2015])
    today = 10 * test[0][:, 0, -1:]
    module = nn.Sequential(
        nn.Conv1d(4, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(96, AHEAD),
    )
    return Recipe(
        name="weather",
        title="temperature of the next three days",
        field="home",
        task="time series forecasting: highest temperatures in degrees Celsius",
        data="daily weather of Seattle 2012 to 2015 (NOAA), with vega_datasets: 2012 and 2013 train, 2014 chooses, "
        "2015 tests",
        licence="data: public domain (U.S. government), weights Apache-2.0",
        synthetic="",
        input="4 channels (highest and lowest temperature / 10, log of 1 + rain in mm, wind in m/s / 5) x 24 days",
        output="3 temperatures in degrees Celsius",
        metric="mean absolute error",
        module=module,
        train=train,
        validation=validation,
        test=test,
        loss=nn.functional.smooth_l1_loss,
        epochs=30,
        rate=1e-2,
        baselines={
            "as today": float(np.abs(today - test[1]).mean()),
            "the average of 2012 and 2013": float(np.abs(train[1].mean(0) - test[1]).mean()),
        },
    )


def windows(columns: np.ndarray) -> Part:
    """Every window of DAYS days, and the temperatures of the AHEAD days behind it."""
    count = columns.shape[1] - DAYS - AHEAD + 1
    x = np.stack([columns[:, i : i + DAYS] for i in range(count)])
    y = np.stack([10 * columns[0, i + DAYS : i + DAYS + AHEAD] for i in range(count)])
    return x, y.astype(np.float32)
