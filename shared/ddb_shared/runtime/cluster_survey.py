"""Which workers of a Dask cluster can do the work: the same Python, the same code of this package, the same account."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata, resources
from typing import Any, Final

from ddb_shared.errors import ServiceError, TransferError

PACKAGE: Final = "ddb-transfer"
_IMPORTED: Final = ("ddb_shared", "ddb_export", "ddb_import")
_NAMED: Final = 5
NO_ANSWER: Final = "it does not answer"

# Called here and on the workers: the account of the credentials, empty if unknown. Raises TransferError without any.
Inspect = Callable[[], str]


def no_inspection() -> str:
    """For work that needs no credentials."""
    return ""


def require_all(client: Any, addresses: Sequence[str], inspect: Inspect) -> None:
    """Raises ServiceError where some of the workers can't do the work, and names them."""
    reasons = unfit(client, addresses, inspect)
    if reasons:
        named = [f"  {address}: {reason}" for address, reason in sorted(reasons.items())[:_NAMED]]
        more = [f"  and {len(reasons) - _NAMED} more"] if len(reasons) > _NAMED else []
        raise ServiceError(
            "\n".join(["These workers of the Dask cluster cannot do the work:", *named, *more]),
            "Each worker needs the same Python and the same ddb-transfer as this command, and credentials of the same "
            "account.",
        )


def unfit(client: Any, addresses: Sequence[str], inspect: Inspect) -> dict[str, str]:
    """Why workers can't do the work, by address; those that can are missing."""
    # client.get_versions would ask all workers, also one that has just died, for half a minute
    message = {"op": "versions", "packages": [PACKAGE]}
    versions = client.sync(
        client.scheduler.broadcast, msg=message, workers=list(addresses), on_error="ignore"
    )
    reasons = {
        address: reason
        for address in addresses
        if (reason := _other_version(versions.get(address))) is not None
    }
    fit = [address for address in addresses if address not in reasons]
    if fit:
        here = fingerprint(), inspect()
        answers = client.run(_inspected, inspect, workers=fit, on_error="return")
        reasons |= {
            address: reason
            for address in fit
            if (reason := _difference(here, answers.get(address))) is not None
        }
    return reasons


def _other_version(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return NO_ANSWER
    python = ".".join(found["host"]["python"].split(".")[:2])
    ours = ".".join(platform.python_version_tuple()[:2])
    if python != ours:
        return f"it runs Python {python}, and this command {ours}"
    version, own = found["packages"].get(PACKAGE), metadata.version(PACKAGE)
    if version is None:
        return f"{PACKAGE} is not installed there: pip install '{PACKAGE}[cluster]=={own}'"
    return f"it has {PACKAGE} {version}, and this command is {own}" if version != own else None


def _inspected(inspect: Inspect) -> tuple[str, str]:
    """Runs on a worker."""
    return fingerprint(), inspect()


def _difference(here: tuple[str, str], there: Any) -> str | None:
    if there is None:
        return NO_ANSWER
    if isinstance(there, TransferError):
        return there.message
    if isinstance(there, BaseException):
        return f"{type(there).__name__}: {there}"
    if there[0] != here[0]:
        return f"its {PACKAGE} has the same version, but other code"
    known = there[1] and here[1]
    return (
        f"its credentials are of account {there[1]}, and this command's of {here[1]}"
        if known and there[1] != here[1]
        else None
    )


@cache
def fingerprint() -> str:
    """A hash of this package's code: a development checkout changes without its version."""
    whole = hashlib.sha256()
    for package in _IMPORTED:
        for path, source in sorted(_sources(resources.files(package), package)):
            whole.update(path.encode() + b"\0" + source)
    return whole.hexdigest()


def _sources(folder: Any, path: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _sources(entry, name)
        elif entry.name.endswith(".py"):
            found.append((name, entry.read_bytes()))
    return found
