"""What can go wrong between a user's array and a loaded model."""


class RuntimeModelError(ValueError):
    """The compiled model does not fit the device, or the program did not do what the model says."""


class InputError(ValueError):
    """An input has another name, shape or type than the model expects."""
