"""`words`: a wake word and four commands, by a recurrent network."""

import torch
from torch import nn

from . import speech
from .recipe import Recipe

HIDDEN = 32


class Words(nn.Module):
    """A convolution over each frame's bands and neighbours, then a recurrent layer over 16 frames."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(speech.BANDS, HIDDEN, 3, padding=1)
        self.recurrent = nn.RNN(HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, len(speech.WORDS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = torch.relu(self.front(x)).transpose(1, 2)
        states, _ = self.recurrent(steps)
        return self.out(states.mean(1))


def recipe() -> Recipe:
    rest = tuple(v for v in speech.VARIANTS if v not in (*speech.TEST_VARIANTS, *speech.VALIDATION_VARIANTS))
    test = speech.spoken(speech.TEST_VARIANTS, 2, 3)
    return Recipe(
        name="words",
        title="wake word and commands",
        field="home",
        task="keyword spotting with a recurrent network: lepton, lights on, lights off, warmer, stop, or something "
        "else",
        data="words spoken by espeak-ng in 12 voices and 4 accents, in rooms and with noise; 7 voices train, 2 choose, "
        "3 test",
        licence="data made by the script, weights Apache-2.0",
        synthetic="all speech is synthetic; no person's voice was recorded, and real ones will be recognized less well",
        input="16 mel bands x 16 frames of 64 ms, log energy with mean 0 and deviation 1",
        output="6 logits",
        metric="accuracy",
        module=Words(),
        train=speech.spoken(rest, 4, 1),
        validation=speech.spoken(speech.VALIDATION_VARIANTS, 2, 2),
        test=test,
        loss=nn.functional.cross_entropy,
        epochs=25,
        classes=speech.WORDS,
        baselines={"always something else": float((test[1] == 0).mean())},
        sample_count=48,
    )
