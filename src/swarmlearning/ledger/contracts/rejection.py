"""The refusal of a transaction by a contract."""

from swarmlearning.errors import UserError
from swarmlearning.ledger.codes import Code


class Rejection(UserError):
    """A transaction that changes nothing. `code` is stable for programs, `detail` names what, where and what to do."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
