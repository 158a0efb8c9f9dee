"""Refusals that people read: a stable code for programs, a sentence with a next step."""


class RuleError(Exception):
    """A wish that a rule forbids. Subclasses are named `<Rule>Error`.

    `status` is the HTTP status of the API's answer; `field` names the input at fault.
    """

    code = "refused"
    status = 400

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        if code is not None:
            self.code = code


class InvalidInputError(RuleError):
    """A value that can't be used."""

    code = "invalid"


class NameTakenError(RuleError):
    code = "name_taken"
    status = 409
