"""Errors for the service's operator. `refusal` has those that are answers to a client."""


class ServiceError(RuntimeError):
    """The service cannot be set up or used."""
