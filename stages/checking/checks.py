"""List the checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stages.checking.compute import check_device, check_memory, check_processors
from stages.checking.findings import Finding, problem
from stages.checking.machine import Machine
from stages.checking.places import check_places
from stages.checking.software import check_dvc, check_extras, check_packages, check_python
from stages.checking.surroundings import check_clock, check_encoding, check_limits, check_network, check_temporary
from stages.checking.transformer import check_weights

__all__ = ["CHECKS", "run_checks"]

CHECKS: Mapping[str, Callable[[Machine], Iterator[Finding]]] = {
    "python": check_python,
    "packages": check_packages,
    "extras": check_extras,
    "device": check_device,
    "memory": check_memory,
    "processors": check_processors,
    "places": check_places,
    "temporary": check_temporary,
    "weights": check_weights,
    "network": check_network,
    "encoding": check_encoding,
    "limits": check_limits,
    "clock": check_clock,
    "dvc": check_dvc,
}
"""Name of a check → function that yields its findings. A check changes nothing that outlives it."""


def run_checks(
    machine: Machine, checks: Mapping[str, Callable[[Machine], Iterator[Finding]]] = CHECKS
) -> Iterator[Finding]:
    """Yield the findings of all checks.

    A check that fails in an unforeseen way is a problem of its own: the others still run.
    """
    for name, check in checks.items():
        try:
            yield from check(machine)
        except Exception as error:  # noqa: BLE001 - a broken installation fails in any way, and the rest must be shown
            reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            yield problem(name, f"the check failed: {reason}", "Solve the other problems first, then run this again.")
