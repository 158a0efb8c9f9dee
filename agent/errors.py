"""How a job says that it failed."""


class JobFailedError(Exception):
    """A job's honest end. `code` is stable; the message says cause and next step."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
