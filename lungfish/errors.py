"""The one family of errors that a person is meant to read."""


class LungfishError(Exception):
    """Root of every error raised on purpose; its text is one sentence that says what to do."""


class InputError(LungfishError):
    """Wrong use or wrong input: a misspelt key, a missing folder. Scripts exit with 2."""


class Refusal(LungfishError):
    """A scan that cannot be used rightly; the run goes on without it. Scripts exit with 3.

    Parameters
    ----------
    code : str
        Stable, hyphenated name of the cause, such as ``missing-slices``.
    reason : str
        One sentence that a person can act on, with the number that decided and without any
        identifier of the patient.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
