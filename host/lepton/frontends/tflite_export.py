"""`Graph` to a TFLite file."""


def export_tflite(graph):
    raise NotImplementedError
