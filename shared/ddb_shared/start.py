"""The start of every command: who am I, which account, until when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

import click
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.errors import CREDENTIAL_CODES, UsageError, explained
from ddb_shared.login import Login, mfa_session
from ddb_shared.options import Common
from ddb_shared.permissions import Side
from ddb_shared.progress import announce


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: `account` is empty where STS can't be asked. `until` is None where nobody tells an end."""

    name: str
    account: str
    until: dt.datetime | None
    is_renewed: bool
    is_temporary: bool

    def __str__(self) -> str:
        account = f" in account {self.account}" if self.account else ""
        return f"{self.name}{account}, {self._end()}"

    def _end(self) -> str:
        if self.is_renewed and self.is_temporary:
            return "renewed for the whole run"
        if self.until is not None:
            return f"until {self.until.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
        return "temporary credentials, nobody says until when" if self.is_temporary else "without an end"


def log_in(
    common: Common, side: Side, *, state_bucket: str | None = None, ask: Callable[[str], str] | None = None
) -> tuple[Common, Aws]:
    """The options and clients that the run uses, with the identity told on stderr.

    Buckets are taken to be the destination's own: their owner is the caller's account there, unless --bucket-owner or
    --state-owner (of `state_bucket`) says otherwise. `ask` returns the MFA code for a prompt.
    """
    common = replace(common, aws=_with_mfa(replace(common.aws, side=side), ask or _prompt))
    aws = Aws(common.aws)
    identity = identify(aws)
    announce(f"As {identity}.")
    if aws.s3_login is not aws.login:
        announce(f"With the bucket as {identify(aws, aws.s3_login)}.")
    own = identity.account if side is Side.DESTINATION and aws.s3_login is aws.login else None
    options = replace(aws.options, bucket_owner=aws.options.bucket_owner or own or None)
    if state_bucket:
        owner = options.state_owner or own or options.bucket_owner
        options = replace(options, state_bucket=state_bucket, state_owner=owner)
    return replace(common, aws=options), Aws(options, aws.login)


def identify(aws: Aws, login: Login | None = None) -> Identity:
    """Who the caller is, or who `login` is; raises AccessError where the credentials or a role are refused."""
    login = login or aws.login
    with explained("find out who the caller is"):
        name, account, until = f"access key {login.credentials.access_key}", "", login.until
        try:
            answer = aws.sts_of(login).get_caller_identity()
            name, account = answer["Arn"], answer["Account"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in CREDENTIAL_CODES:
                raise
        except (BotoCoreError, ResponseParserError):
            pass  # a private network without STS, or a local service; the table's and the bucket's answers will tell
    return Identity(name, account, until, login.is_renewed, bool(login.credentials.token))


def outlived(
    aws: Aws, seconds: float | None, now: dt.datetime | None = None, *, resumable: bool = True
) -> list[str]:
    """A warning, where a run of so many seconds outlives credentials that nothing renews; none otherwise."""
    ends = [login.until for login in (aws.login, aws.s3_login) if not login.is_renewed]
    until = min(filter(None, ends), default=None)
    left = (until - (now or dt.datetime.now(dt.UTC))).total_seconds() if until else None
    if left is None or seconds is None or left >= seconds:
        return []
    after = "can be resumed" if resumable else "has to be run again"
    warning = (
        f"Warning: the run takes about {seconds / 60:,.0f} minutes, but the credentials end in {left / 60:,.0f} and "
        f"nothing renews them. It will stop then and {after}; a role (--role-arn) lasts for the whole run."
    )
    return [warning]


def _with_mfa(options: AwsOptions, ask: Callable[[str], str]) -> AwsOptions:
    if not options.mfa_serial or options.mfa_keys:
        return options
    base = Aws(replace(options, role_arns=(), mfa_serial=None))
    return replace(options, mfa_keys=mfa_session(base.sts, options.mfa_serial, ask))


def _prompt(text: str) -> str:
    try:
        return str(click.prompt(text, err=True))
    except click.Abort as error:
        raise UsageError(
            "--mfa-serial needs the code of the device, and there is no terminal to ask on.",
            "Run the command on a terminal, or give credentials of a session that carries the MFA.",
        ) from error
