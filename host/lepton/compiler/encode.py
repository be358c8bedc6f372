"""Commands and constants to the image of region PROGRAM: constants first, then the three streams."""

from ..arch import Engine, Stream
from ..arch.commands import ENGINE_RECORDS
from ..arch.record import FieldError
from ..graph import GraphError
from .commands import CommandSequence
from .repeat import merge

_ALIGNMENT = 64  # of streams (`Stream`); constants are aligned to it as well (`weights`)


class FieldOverflow(GraphError):
    """A value of a layer's commands does not fit its field; `layer` is the layer's index in the job."""

    def __init__(self, layer: int, text: str):
        super().__init__(text)
        self.layer = layer


def encode(program: CommandSequence,
           names: dict[int, str]) -> tuple[bytes, dict[Engine, Stream], dict[Engine, list[int]]]:
    """The image, where the streams are in it, and how many commands each record of an engine stands for.

    `names` maps layer indices to names for errors.

    Raises `FieldOverflow` where a value does not fit its field.
    """
    image = bytearray(program.constants)
    streams: dict[Engine, Stream] = {}
    counts: dict[Engine, list[int]] = {}
    for engine in Engine:
        image.extend(bytes(-len(image) % _ALIGNMENT))
        own = (command.fields for command in program.commands if command.engine == engine)
        commands, counts[engine] = merge(ENGINE_RECORDS[engine], own)
        streams[engine] = Stream(len(image) if commands else 0, len(commands))
        for fields in commands:
            try:
                image.extend(ENGINE_RECORDS[engine].pack(**fields))
            except FieldError as error:
                layer = fields["layer"]
                text = f"layer {names[layer]!r} cannot be expressed in commands: {error}"
                raise FieldOverflow(layer, text) from error
    return bytes(image), streams, counts
