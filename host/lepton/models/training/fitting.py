"""The training of all recipes: AdamW, a one-cycle schedule, and the weights of the best epoch on validation data."""

import copy
import time

import torch

from .recipe import Recipe

SEED = 20261130


def fit(recipe: Recipe, verbose: bool = True) -> float:
    """Train `recipe.module`; the lowest validation loss. The same seed and one thread give the same weights on one
    kind of processor."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x = torch.from_numpy(recipe.train[0])
    y = torch.from_numpy(recipe.train[1])
    held_x = torch.from_numpy(recipe.validation[0])
    held_y = torch.from_numpy(recipe.validation[1])
    module = recipe.module
    steps = max(1, len(x) // recipe.batch)
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs * steps)
    best = float("inf")
    state = copy.deepcopy(module.state_dict())
    started = time.monotonic()
    for epoch in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED + epoch))
        for step in range(steps):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            loss = recipe.loss(module(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        module.eval()
        with torch.no_grad():
            made = torch.cat([module(part) for part in held_x.split(256)])
            held = float(recipe.loss(made, held_y))
        if held < best:
            best = held
            state = copy.deepcopy(module.state_dict())
    module.load_state_dict(state)
    module.eval()
    if verbose:
        print(
            f"{recipe.name}: validation loss {best:.4f}, {recipe.epochs} epochs, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return best
