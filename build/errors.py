"""What can go wrong with a build, as sentences."""


class BuildError(Exception):
    """A build that cannot go on. The message says why and what to do next."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InterruptedBuild(BaseException):
    """A signal asked the build to stop. No handler of errors may swallow it."""
