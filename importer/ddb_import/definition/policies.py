"""Resource policies in an export: who would gain access to the new table.

A policy in a manifest is input from another account. Whoever can write the manifest could grant themselves access to the
destination's table, so a policy is shown whole, and set only if the user asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

EVERYONE: Final = "* (everyone)"
# An account's number, its root, or a user, role or session of it:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
_IN_ACCOUNT: Final = re.compile(r"(?:arn:[a-z-]+:(?:iam|sts)::)?(\d{12})(?::.+)?")


def policy_note(
    kind: str,
    policy: Any,
    *,
    accounts: Collection[str],
    changes: Collection[tuple[str, str]],
    is_applied: bool,
) -> str:
    """What the user has to know about one policy before it is set, or left out; `accounts` are those of the two sides."""
    title = "is set after the load" if is_applied else "is not set; --with-resource-policy sets it"
    lines = [f"The {kind} of the export {title}:", json.dumps(policy, indent=2)]
    lines += (
        ["In the terms of this account:", *sorted({f"  {old} -> {new}" for old, new in changes})]
        if changes
        else []
    )
    outside = sorted(set(principals_outside(policy, accounts)))
    if outside:
        lines += [f"Warning: it names principals outside of the accounts {' and '.join(sorted(accounts))}:"]
        lines += [f"  {principal}" for principal in outside]
    return "\n".join(lines)


def principals_outside(policy: Any, accounts: Collection[str]) -> Iterator[str]:
    """Every principal of a policy that is not known to belong to one of the accounts."""
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict):
            yield f"(not a statement: {json.dumps(statement)})"
            continue
        for name in _names(statement.get("Principal", {})):
            if not _is_of(name, accounts):
                yield name
        if "NotPrincipal" in statement:
            yield f"everyone but {', '.join(_names(statement['NotPrincipal']))}"


def _names(principal: Any) -> Iterator[str]:
    """The principals of one statement; those that are not of AWS accounts with their kind."""
    if principal == "*":
        yield EVERYONE
    elif isinstance(principal, dict):
        for kind, names in principal.items():
            for name in names if isinstance(names, list) else [names]:
                text = EVERYONE if name == "*" else name if isinstance(name, str) else json.dumps(name)
                yield text if kind == "AWS" else f"{kind} {text}"
    else:
        yield json.dumps(principal)


def _is_of(name: str, accounts: Collection[str]) -> bool:
    found = _IN_ACCOUNT.fullmatch(name)
    return found is not None and found[1] in accounts
