"""`tumours`: from 30 numbers of a cell sample to the risk that a tumour is malignant."""

import numpy as np
from torch import nn

from .recipe import Recipe

TRAINED = 369  # of 569
CHOSEN_ON = 100


def recipe() -> Recipe:
    from sklearn.datasets import load_breast_cancer

    x, target = load_breast_cancer(return_X_y=True)
    y = (1 - target).astype(np.int64)  # scikit-learn's 0 is malignant
    order = np.random.default_rng(0).permutation(len(x))
    x = x[order]
    y = y[order]
    mean = x[:TRAINED].mean(0)
    deviation = x[:TRAINED].std(0)
    values = np.clip((x - mean) / deviation, -4, 4).astype(np.float32)
    held = TRAINED + CHOSEN_ON
    test = (values[held:], y[held:])
    module = nn.Sequential(
        nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    return Recipe(
        name="tumours",
        title="risk of a tumour",
        field="medicine",
        task="tabular risk: benign or malignant, from 30 measurements of cell nuclei",
        data="Breast Cancer Wisconsin (Diagnostic), 569 patients, with scikit-learn (Wolberg, Street, "
        "Mangasarian, UCI)",
        licence="data CC BY 4.0, weights Apache-2.0",
        synthetic="",
        input="30 measurements less their mean, divided by their deviation (`mean`, `deviation` in the samples' file), "
        "within -4 to 4",
        output="2 logits",
        metric="accuracy",
        module=module,
        train=(values[:TRAINED], y[:TRAINED]),
        validation=(values[TRAINED:held], y[TRAINED:held]),
        test=test,
        loss=nn.functional.cross_entropy,
        epochs=60,
        classes=("benign", "malignant"),
        baselines={"always benign": float((test[1] == 0).mean())},
        samples={
            "inputs": test[0],
            "labels": test[1],
            "mean": mean.astype(np.float32),
            "deviation": deviation.astype(np.float32),
        },
    )
