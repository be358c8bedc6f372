"""`LeptonToolkit`: makes networks."""

from typing import TYPE_CHECKING, Any

from . import zoo

if TYPE_CHECKING:
    from .network import LeptonNetwork


class LeptonToolkit:
    """Where networks come from: the zoo, or your own module."""

    def models(self) -> list[str]:
        """The names of the networks with weights."""
        return sorted(zoo.cards())

    def load_pretrained_model(self, name: str) -> "LeptonNetwork":
        """A network with trained weights, to which layers can be added. Raises ValueError for an unknown name."""
        from .network import LeptonNetwork

        card = zoo.card(name)
        return LeptonNetwork(zoo.module(card), card.output_shape, input_shape=card.input_shape, name=name)

    def from_module(self, module: Any, input_shape: tuple[int, ...], name: str = "") -> "LeptonNetwork":
        """A network made of your own `torch.nn.Module`, or of a Keras model on the torch backend.

        input_shape: of one input, without the batch, as the module takes it: (channels, height, width) for torch,
        (height, width, channels) for Keras. Raises `LayerError` where the module does not take it, or gives other than
        one tensor.
        """
        import torch

        from .layers import LayerError
        from .network import LeptonNetwork

        module.eval()
        try:
            with torch.no_grad():
                made = module(torch.zeros(1, *input_shape))
        except Exception as error:  # it is the user's code
            raise LayerError(f"the module does not take an input of {(1, *input_shape)}: {type(error).__name__}: "
                             f"{str(error).strip().splitlines()[0]}") from error
        if not isinstance(made, torch.Tensor):
            raise LayerError(f"the module must give one tensor, not {type(made).__name__}")
        return LeptonNetwork(module, tuple(made.shape[1:]), input_shape=tuple(input_shape),
                             name=name or type(module).__name__)
