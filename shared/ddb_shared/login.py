"""One identity: where its credentials come from, and how they last for the whole run.

Roles are assumed with credentials that botocore renews by itself. Where a role or a policy demands MFA, the parent asks
for the code once and gets a session of 36 hours, which carries the MFA; the workers get that session, never the prompt:
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
import botocore.session
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    JSONFileCache,
    RefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError

from ddb_shared.errors import explained

# The longest session that GetSessionToken gives to an IAM user.
MFA_SECONDS: Final = 36 * 3600


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Temporary credentials that travel to the workers; `until` is RFC 3339. Its text shows no secret."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    until: str


@dataclass(frozen=True, kw_only=True)
class LoginOptions:
    """Which identity: a profile or the default chain, MFA, and the roles that are assumed with it in turn."""

    profile: str | None
    region: str | None
    role_arns: tuple[str, ...]
    external_id: str | None
    role_session_name: str | None
    endpoint_url: str | None
    mfa_keys: SessionKeys | None


class Login:
    """A boto3 session whose credentials can be renewed from where they come."""

    def __init__(self, options: LoginOptions) -> None:
        self._options = options
        with explained("set up AWS access"):
            core = self._core_session()
            self.credentials = _Renewable(self._find_credentials)
            core._credentials = self.credentials  # noqa: SLF001 - botocore has no public way to set such
            self.session = boto3.Session(botocore_session=core)

    @property
    def is_renewed(self) -> bool:
        """Whether the credentials outlive their present end; those of the environment and of MFA do not."""
        return bool(self._options.role_arns) or self.credentials.method not in {"env", "mfa", "explicit"}

    @property
    def until(self) -> dt.datetime | None:
        """When the credentials end that were found first; None where they do not, or nobody says."""
        keys = self._options.mfa_keys
        if keys is not None:
            return dt.datetime.fromisoformat(keys.until)
        return self.credentials.ends_at

    def _core_session(self) -> Any:
        core = botocore.session.Session(profile=self._options.profile)
        if self._options.region:
            core.set_config_variable("region", self._options.region)
        if core.get_scoped_config().get("mfa_serial"):
            # a profile that demands MFA asks for the code once; the workers find the session in the AWS CLI's own cache
            core.get_component("credential_provider").get_provider("assume-role").cache = JSONFileCache()
        return core

    def _find_credentials(self) -> Credentials:
        """The credentials of the provider chain, or of the roles assumed with them."""
        core = self._core_session()
        keys = self._options.mfa_keys
        if keys is not None:
            credentials = Credentials(keys.access_key, keys.secret_key, keys.token, method="mfa")
        else:
            credentials = core.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        for role_arn in self._options.role_arns:
            credentials = self._assume(core, credentials, role_arn)
        return credentials

    def _assume(self, core: Any, source: Credentials, role_arn: str) -> Credentials:
        """Credentials of a role that botocore renews by itself for the whole run."""
        extra = {"RoleSessionName": self._options.role_session_name or f"ddb-transfer-{os.getpid()}"}
        if self._options.external_id:
            extra["ExternalId"] = self._options.external_id
        client_creator = functools.partial(core.create_client, endpoint_url=self._options.endpoint_url)
        fetcher = AssumeRoleCredentialFetcher(client_creator, source, role_arn, extra_args=extra)
        return DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)


class _Renewable:
    """Credentials that are the same object for every client, and can be read anew from where they come."""

    def __init__(self, find: Callable[[], Credentials]) -> None:
        self._find = find
        self._found = find()
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    @property
    def ends_at(self) -> dt.datetime | None:
        """When they end, where they tell."""
        self._found.get_frozen_credentials()  # deferred ones know it only then
        return getattr(self._found, "_expiry_time", None)

    def refresh_needed(self) -> bool:
        """Whether they end soon and botocore knows how to refresh them."""
        return isinstance(self._found, RefreshableCredentials) and self._found.refresh_needed()

    def renew(self) -> None:
        """Asks the provider again; many threads may find out at once that the old ones have expired."""
        with self._turn:
            self._found = self._find()


def mfa_session(sts: Any, serial: str, ask: Callable[[str], str]) -> SessionKeys:
    """A session of 36 hours that carries the MFA whose code `ask` returns. Raises AccessError."""
    code = ask(f"MFA code for {serial}").strip()
    with explained(f"get a session with the MFA device {serial}"):
        found = sts.get_session_token(SerialNumber=serial, TokenCode=code, DurationSeconds=MFA_SECONDS)
    keys = found["Credentials"]
    return SessionKeys(
        access_key=keys["AccessKeyId"],
        secret_key=keys["SecretAccessKey"],
        token=keys["SessionToken"],
        until=keys["Expiration"].isoformat(),
    )
