"""Sessions, credentials, roles and endpoints: everything that boto3 does for us, built in one place.

A process builds its own `Aws` from an `AwsOptions`, which is all that travels between processes.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import boto3
import botocore.session
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ddb_shared.errors import EXPIRED_CODES, explained
from ddb_shared.signer import Keys

# Set explicitly: the SDK's default changed from 10 tries to 4 between releases. S3 answers SlowDown for minutes when a
# prefix heats up; ten tries with the SDK's backoff last about two.
_RETRIES: Final = {"mode": "standard", "total_max_attempts": 10}
# Fresh credentials either work at once or not at all; a provider may lag a little.
_RENEWALS: Final = 3


@dataclass(frozen=True, kw_only=True)
class AwsOptions:
    """How to reach AWS: the options that all commands share."""

    region: str | None = None
    profile: str | None = None
    role_arns: tuple[str, ...] = ()
    external_id: str | None = None
    endpoint_url: str | None = None
    s3_endpoint_url: str | None = None
    bucket_owner: str | None = None


class Aws:
    """One identity at AWS. Clients are built when first used and are safe to use from threads."""

    def __init__(self, options: AwsOptions) -> None:
        self.options = options
        with explained("set up AWS access"):
            core = self._core_session()
            self.credentials = _Renewable(self._find_credentials)
            core._credentials = self.credentials  # noqa: SLF001 - botocore has no public way to set such
            self._session = boto3.Session(botocore_session=core)

    def _core_session(self) -> Any:
        core = botocore.session.Session(profile=self.options.profile)
        if self.options.region:
            core.set_config_variable("region", self.options.region)
        return core

    def _find_credentials(self) -> Credentials:
        """The credentials of the provider chain, or of the roles assumed with them."""
        core = self._core_session()
        credentials = core.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        for role_arn in self.options.role_arns:
            credentials = self._assume(core, credentials, role_arn)
        return credentials

    def _assume(self, core: Any, source: Credentials, role_arn: str) -> Credentials:
        """Credentials of a role that botocore renews by itself for the whole run."""
        extra = {"RoleSessionName": f"ddb-transfer-{os.getpid()}"}
        if self.options.external_id:
            extra["ExternalId"] = self.options.external_id
        client_creator = functools.partial(core.create_client, endpoint_url=self.options.endpoint_url)
        fetcher = AssumeRoleCredentialFetcher(client_creator, source, role_arn, extra_args=extra)
        return DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)

    def client(self, service: str, endpoint_url: str | None = None, **config: Any) -> Any:
        """A boto3 client with our retries and timeouts."""
        with explained("set up AWS access"):
            settings = Config(retries=_RETRIES, connect_timeout=5, read_timeout=60, **config)
            return self._session.client(service, endpoint_url=endpoint_url, config=settings)

    @cached_property
    def dynamodb(self) -> Any:
        """The control plane of DynamoDB."""
        return self.client("dynamodb", self.options.endpoint_url)

    @cached_property
    def s3(self) -> Any:
        """S3; every call names the expected owner of the bucket where one is given."""
        local = self.options.s3_endpoint_url or self.options.endpoint_url
        style = {"addressing_style": "path"} if local else {}
        client = self.client("s3", local, s3=style, max_pool_connections=64)
        client.meta.events.register_first("needs-retry.s3", self._renew_for_s3)
        if self.options.bucket_owner:
            _expect_owner(client, self.options.bucket_owner)
        return client

    @cached_property
    def region(self) -> str:
        """The region of the table."""
        return str(self.dynamodb.meta.region_name)

    @cached_property
    def dynamodb_url(self) -> str:
        """The endpoint of the data plane, as botocore resolves it."""
        return str(self.dynamodb.meta.endpoint_url)

    def identity(self) -> str:
        """The caller's ARN, or what is known of the caller where STS can't be asked."""
        try:
            return str(self.client("sts", self.options.endpoint_url).get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return f"access key {self.credentials.access_key}"

    async def keys(self) -> Keys:
        """The credentials of this moment; botocore refreshes those that can be refreshed ahead of their end."""
        if self.credentials.refresh_needed():
            frozen = await asyncio.to_thread(self.credentials.get_frozen_credentials)
        else:
            frozen = self.credentials.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    async def renew(self) -> None:
        """Reads the credentials anew from where they came: a profile file or a provider may hold fresh ones."""
        await asyncio.to_thread(self.credentials.renew)

    def _renew_for_s3(
        self, response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any
    ) -> int | None:
        """A hook of botocore's retries: seconds to wait before the request is signed and sent again."""
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in EXPIRED_CODES or attempts > _RENEWALS:
            return None
        self.credentials.renew()
        return attempts - 1


class _Renewable:
    """Credentials that are the same object for every client, and can be read anew from where they come."""

    def __init__(self, find: Callable[[], Credentials]) -> None:
        self._find = find
        self._found = find()
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    def refresh_needed(self) -> bool:
        """Whether they end soon and botocore knows how to refresh them."""
        return isinstance(self._found, RefreshableCredentials) and self._found.refresh_needed()

    def renew(self) -> None:
        """Asks the provider again; many threads may find out at once that the old ones have expired."""
        with self._turn:
            self._found = self._find()


def _expect_owner(client: BaseClient, owner: str) -> None:
    """Adds ExpectedBucketOwner to every S3 call that knows it, against buckets that changed hands.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """

    def add(params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.input_shape is not None and "ExpectedBucketOwner" in model.input_shape.members:
            params.setdefault("ExpectedBucketOwner", owner)

    client.meta.events.register("provide-client-params.s3", add)
