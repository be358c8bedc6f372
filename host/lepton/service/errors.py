"""What can go wrong in the service, for its operator. `refusal` has what becomes of a peer's request."""


class ServiceError(RuntimeError):
    """The service cannot be set up or used as its operator asks."""
