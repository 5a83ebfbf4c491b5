"""One tree of errors about the values themselves. Pure."""


class ModelError(ValueError):
    """A value that breaks the model's rules; the message says which rule and what to do."""


class InvalidId(ModelError):
    """An id that is empty, too long, or holds characters that ids must not hold."""


class InvalidContent(ModelError):
    """A body that is not a JSON object the service will store."""
