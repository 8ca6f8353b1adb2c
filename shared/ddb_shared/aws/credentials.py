"""One identity: where its credentials come from, and how they are renewed during a run.

botocore renews the credentials of assumed roles. If a role or a policy requires MFA, the parent asks for the code once
and gets a session of 36 hours; the workers get that session and never ask:
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import NoCredentialsError

from ddb_shared.errors import map_errors

# botocore takes 120 ms to import, which `--help` and usage errors are spared
if TYPE_CHECKING:
    from botocore.credentials import Credentials

# The longest session of GetSessionToken for an IAM user.
MFA_SECONDS: Final = 36 * 3600


@dataclass(frozen=True, slots=True)
class MfaCredentials:
    """Temporary credentials that are sent to the workers; `expires_at` is RFC 3339. Its repr shows no secret."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """An identity: a profile or the default chain, MFA, and the roles to assume one after another."""

    profile: str | None
    region: str | None
    role_arns: tuple[str, ...]
    external_id: str | None
    role_session_name: str | None
    endpoint_url: str | None
    mfa_credentials: MfaCredentials | None


class Session:
    """A botocore session, `core`, whose credentials can be read again from their source."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        with map_errors("set up AWS access"):
            self.core = self._core_session()
            self.credentials = _RenewableCredentials(self._find_credentials)
            self.core._credentials = self.credentials  # noqa: SLF001 - botocore has no public setter

    @property
    def is_renewed(self) -> bool:
        """Whether the credentials can be renewed; those of the environment and of MFA sessions cannot."""
        return bool(self._options.role_arns) or self.credentials.method not in {"env", "mfa", "explicit"}

    @property
    def expires_at(self) -> dt.datetime | None:
        """When the present credentials expire; None if they do not, or if the expiry is unknown."""
        keys = self._options.mfa_credentials
        if keys is not None:
            return dt.datetime.fromisoformat(keys.expires_at)
        return self.credentials.expires_at

    def _core_session(self) -> Any:
        import botocore.session  # noqa: PLC0415
        from botocore.credentials import JSONFileCache  # noqa: PLC0415

        core = botocore.session.Session(profile=self._options.profile)
        if self._options.region:
            core.set_config_variable("region", self._options.region)
        if core.get_scoped_config().get("mfa_serial"):
            # a profile that requires MFA asks for the code once; the workers find the session in the cache of the AWS CLI
            core.get_component("credential_provider").get_provider("assume-role").cache = JSONFileCache()
        return core

    def _find_credentials(self) -> Credentials:
        """The credentials of the provider chain, or of the roles assumed with them."""
        from botocore.credentials import Credentials  # noqa: PLC0415

        core = self._core_session()
        keys = self._options.mfa_credentials
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
        """Credentials of a role, which botocore renews."""
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials  # noqa: PLC0415

        extra = {"RoleSessionName": self._options.role_session_name or f"ddb-transfer-{os.getpid()}"}
        if self._options.external_id:
            extra["ExternalId"] = self._options.external_id
        client_creator = functools.partial(core.create_client, endpoint_url=self._options.endpoint_url)
        fetcher = AssumeRoleCredentialFetcher(client_creator, source, role_arn, extra_args=extra)
        return DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)


class _RenewableCredentials:
    """Credentials that all clients share, and that can be read again from their source."""

    def __init__(self, find: Callable[[], Credentials]) -> None:
        self._find = find
        self._found = find()
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    @property
    def expires_at(self) -> dt.datetime | None:
        """When they expire, if known."""
        self._found.get_frozen_credentials()  # deferred credentials know it only afterwards
        return getattr(self._found, "_expiry_time", None)

    def refresh_needed(self) -> bool:
        """Whether they expire soon and botocore can refresh them."""
        refresh_needed = getattr(self._found, "refresh_needed", None)  # only refreshable credentials have it
        return refresh_needed is not None and bool(refresh_needed())

    def renew(self) -> None:
        """Reads the credentials again; several threads may find at once that they have expired."""
        with self._turn:
            self._found = self._find()


def mfa_session(sts: Any, serial: str, ask: Callable[[str], str]) -> MfaCredentials:
    """A session of 36 hours with MFA; `ask` returns the code. Raises AccessError."""
    code = ask(f"MFA code for {serial}").strip()
    with map_errors(f"get a session with the MFA device {serial}"):
        found = sts.get_session_token(SerialNumber=serial, TokenCode=code, DurationSeconds=MFA_SECONDS)
    keys = found["Credentials"]
    return MfaCredentials(
        access_key=keys["AccessKeyId"],
        secret_key=keys["SecretAccessKey"],
        token=keys["SessionToken"],
        expires_at=keys["Expiration"].isoformat(),
    )
