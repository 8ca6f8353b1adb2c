"""The start of every command: the caller's identity, its account, and when its credentials expire."""

from __future__ import annotations

import datetime as dt
import getpass
import math
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

import click
from botocore.exceptions import BotoCoreError, ClientError

from ddb_shared.aws.clients import Aws, AwsOptions, connect
from ddb_shared.aws.credentials import Session, mfa_session
from ddb_shared.command.options import Common
from ddb_shared.errors import CREDENTIAL_CODES, UsageError, map_errors, note_side
from ddb_shared.permissions import Side
from ddb_shared.runtime.events import announce
from ddb_shared.text import duration_text


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: `account` is empty if STS cannot be reached, `expires_at` None if the expiry is unknown."""

    name: str
    account: str
    expires_at: dt.datetime | None
    is_renewed: bool
    is_temporary: bool

    def __str__(self) -> str:
        account = f" (account {self.account})" if self.account else ""
        return f"{self.name}{account}; {self._expiry()}"

    def _expiry(self) -> str:
        if self.is_renewed and self.is_temporary:
            return "temporary credentials, renewed automatically"
        if self.expires_at is not None:
            return f"credentials expire at {self.expires_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
        return "temporary credentials, expiry unknown" if self.is_temporary else "credentials do not expire"


def local_user() -> str:
    """The user and machine of this process, as others are told of it: `alice on build-7`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # containers may run as users without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user} on {socket.gethostname()}"


def open_session(
    common: Common,
    side: Side | None,
    *,
    state_bucket: str | None = None,
    ask: Callable[[str], str] | None = None,
) -> tuple[Common, Aws]:
    """The options and clients of the run; prints the identity on stderr. `side` is None for what both sides may read.

    On the destination side, buckets are expected to belong to the caller's account, unless --bucket-owner or --state-owner
    (for `state_bucket`) says otherwise. `ask` returns the MFA code for a prompt.
    """
    _refuse_mfa_in_clear(common)
    if common.scheduler:  # fails first, before a code is asked for
        common.cluster(common.scheduler).require_workers(with_credentials=False)
    common = replace(common, aws=_with_mfa(replace(common.aws, side=side), ask or _prompt))
    aws = connect(common.aws)
    identity = identify(aws)
    announce(f"Using {identity}.", event="identity")
    s3_identity = identity
    if aws.s3_session is not aws.session:
        s3_identity = identify(aws, aws.s3_session)
        announce(f"Using {s3_identity} for S3.", event="bucket_identity")
    if common.scheduler:
        common.cluster(common.scheduler).require_workers()
    own = identity.account if side is Side.DESTINATION and aws.s3_session is aws.session else None
    options = replace(aws.options, bucket_owner=aws.options.bucket_owner or own or None)
    if state_bucket:
        owner = options.state_owner or own or options.bucket_owner
        options = replace(options, state_bucket=state_bucket, state_owner=owner)
    opened = connect(replace(options, caller=identity.name, s3_caller=s3_identity.name))
    # the workers of a cluster have credentials of their own, and may be someone else
    return replace(common, aws=options if common.scheduler else opened.options), opened


def identify(aws: Aws, session: Session | None = None) -> Identity:
    """The caller, or the identity of `session`; raises AccessError if the credentials are invalid or a role cannot be assumed."""
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - 70 ms that `--help` does without

    session = session or aws.session
    with map_errors("identify the caller"), note_side(aws.side):  # roles are assumed here first
        name, account, expires_at = f"access key {session.credentials.access_key}", "", session.expires_at
        try:
            response = aws.sts_of(session).get_caller_identity()
            name, account = response["Arn"], response["Account"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in CREDENTIAL_CODES:
                raise
        except (BotoCoreError, ResponseParserError):
            pass  # a private network without STS, or a local service; invalid credentials show in the next calls
    return Identity(name, account, expires_at, session.is_renewed, bool(session.credentials.token))


def expiry_warnings(
    aws: Aws, seconds: float | None, now: dt.datetime | None = None, *, resumable: bool = True
) -> list[str]:
    """A warning if a run of that many seconds outlives credentials that cannot be renewed; otherwise none.

    `seconds` is infinite for a run that does not end by itself.
    """
    ends = [session.expires_at for session in (aws.session, aws.s3_session) if not session.is_renewed]
    expires_at = min(filter(None, ends), default=None)
    left = (expires_at - (now or dt.datetime.now(dt.UTC))).total_seconds() if expires_at else None
    if left is None or seconds is None or left >= seconds:
        return []
    after = "can be resumed" if resumable else "has to be run again"
    takes = "runs until it is ended" if math.isinf(seconds) else f"takes about {duration_text(seconds)}"
    warning = (
        f"the run {takes}, but the credentials expire in {duration_text(max(left, 0.0))} and "
        f"cannot be renewed. The run will stop then and {after}; the credentials of a role (--role-arn) are renewed."
    )
    return [warning]


def _refuse_mfa_in_clear(common: Common) -> None:
    """Refuses to send the credentials of an MFA session over an unencrypted connection."""
    if not common.scheduler or not common.aws.mfa_serial:
        return
    from ddb_shared.runtime.cluster import address_of  # noqa: PLC0415 - for clusters alone

    if not address_of(common.scheduler).startswith(
        ("tls://", "wss://")
    ):  # Dask encrypts the way to the workers as well
        raise UsageError(
            f"--mfa-serial would send the credentials of its session to the cluster at {common.scheduler} unencrypted.",
            "Use a scheduler with TLS (tls://HOST:PORT), or give the workers their own credentials and omit "
            "--mfa-serial.",
        )


def _with_mfa(options: AwsOptions, ask: Callable[[str], str]) -> AwsOptions:
    if not options.mfa_serial or options.mfa_credentials:
        return options
    base = Aws(replace(options, role_arns=(), mfa_serial=None))
    return replace(options, mfa_credentials=mfa_session(base.sts, options.mfa_serial, ask))


def _prompt(text: str) -> str:
    try:
        return str(click.prompt(text, err=True))
    except click.Abort as error:
        raise UsageError(
            "--mfa-serial needs the code of the device, and no terminal is attached.",
            "Run the command on a terminal, or use the credentials of a session with MFA.",
        ) from error
