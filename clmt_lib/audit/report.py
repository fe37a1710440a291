"""What an audit says: findings, the report that lists them, and what a target must declare to be
audited.
"""

from dataclasses import dataclass

import numpy as np


class LeakError(ValueError):
    """Something was fitted on what it must not see."""


@dataclass(frozen=True)
class Finding:
    """One leak, or one note (`note=True`): what it is, where, in words, and what to do."""

    kind: str
    where: str
    what: str
    remedy: str
    note: bool = False

    def __str__(self) -> str:
        return (
            f"{'note' if self.note else 'LEAK'}: {self.kind} in {self.where}: {self.what}. "
            f"Remedy: {self.remedy}"
        )


@dataclass(frozen=True)
class Audit:
    """What was checked and what was found. `print(audit)` is the report."""

    subject: str
    checks: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that are more than notes."""
        return tuple(finding for finding in self.findings if not finding.note)

    @property
    def clean(self) -> bool:
        """True where no leak was found (notes are allowed)."""
        return not self.leaks

    def raise_if_leaky(self) -> "Audit":
        """Raise `LeakError` listing every leak; return the audit itself where it is clean."""
        if not self.clean:
            raise LeakError("\n".join(map(str, self.leaks)))
        return self

    def __str__(self) -> str:
        leaks, notes = len(self.leaks), len(self.findings) - len(self.leaks)
        found = "clean" if self.clean else f"{leaks} leak{'s' * (leaks > 1)}"
        found += f", {notes} note{'s' * (notes > 1)}" if notes else ""
        head = f"audit of {self.subject}: {found}"
        return "\n".join(
            [
                head,
                f"  checked: {', '.join(self.checks)}",
                *(f"  {finding}" for finding in sorted(self.findings, key=lambda f: f.note)),
            ]
        )


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """A target an entity computed from responses, with the positions it was computed from.

    Attributes
    ----------
    name : what the target is
    values : one an entity of a side
    fitted_on : positions into `Benchmark.pairs`
    """

    name: str
    values: np.ndarray
    fitted_on: np.ndarray
