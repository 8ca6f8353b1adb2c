"""Sessions, credentials, roles and endpoints: everything that boto3 does for us, built in one place.

A process builds its own `Aws` from an `AwsOptions`, which is all that travels between processes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ddb_shared.errors import EXPIRED_CODES, explained
from ddb_shared.login import Login, LoginOptions, SessionKeys
from ddb_shared.permissions import Side, act_for
from ddb_shared.retry import patiently
from ddb_shared.signer import Keys

# Set explicitly: the SDK's default changed from 10 tries to 4 between releases. S3 answers SlowDown for minutes when a
# prefix heats up; ten tries with the SDK's backoff last about two.
_RETRIES: Final = {"mode": "standard", "total_max_attempts": 10}
_DEFAULTS: Final[dict[str, Any]] = {"retries": _RETRIES, "connect_timeout": 5, "read_timeout": 60}
# Autoscaling's endpoint is often out of reach of a private network, and its settings are recorded as unknown then:
# two tries of five seconds tell.
_QUICK: Final = {"mode": "standard", "total_max_attempts": 2}
# Fresh credentials either work at once or not at all; a provider may lag a little.
_RENEWALS: Final = 3


@dataclass(frozen=True, kw_only=True)
class AwsOptions:
    """How to reach AWS: the options that all commands share.

    `acl` and `kms_key_id` are for every object that is written; `mfa_keys` are what `mfa_serial` led to; `side` is whose
    policies have to allow what is done. The bucket `state_bucket` has an owner of its own, `state_owner`.
    """

    region: str | None = None
    profile: str | None = None
    role_arns: tuple[str, ...] = ()
    external_id: str | None = None
    role_session_name: str | None = None
    mfa_serial: str | None = None
    s3_profile: str | None = None
    s3_role_arns: tuple[str, ...] = ()
    endpoint_url: str | None = None
    s3_endpoint_url: str | None = None
    bucket_owner: str | None = None
    state_owner: str | None = None
    state_bucket: str | None = None
    acl: str | None = None
    kms_key_id: str | None = None
    mfa_keys: SessionKeys | None = None
    side: Side | None = None

    def owner_of(self, bucket: str) -> str | None:
        """The account that must own a bucket; None where nobody said."""
        return self.state_owner if bucket == self.state_bucket else self.bucket_owner


class Aws:
    """One identity at AWS. Clients are built when first used and are safe to use from threads."""

    def __init__(self, options: AwsOptions, login: Login | None = None) -> None:
        self.options = options
        if options.side:
            act_for(options.side, (*options.role_arns, *options.s3_role_arns))
        self.login = login or self._log_in(options.profile, options.role_arns)
        self.credentials = self.login.credentials

    def _log_in(self, profile: str | None, role_arns: tuple[str, ...]) -> Login:
        options = self.options
        return Login(
            LoginOptions(
                profile=profile,
                region=options.region,
                role_arns=role_arns,
                external_id=options.external_id,
                role_session_name=options.role_session_name,
                endpoint_url=options.endpoint_url,
                mfa_keys=options.mfa_keys,
            )
        )

    def client(self, service: str, endpoint_url: str | None = None, **config: Any) -> Any:
        """A boto3 client with our retries and timeouts."""
        with explained("set up AWS access"):
            settings = Config(**(_DEFAULTS | config))
            return self.login.session.client(service, endpoint_url=endpoint_url, config=settings)

    @cached_property
    def dynamodb(self) -> Any:
        """The control plane of DynamoDB."""
        return self.client("dynamodb", self.options.endpoint_url)

    @cached_property
    def hasty_dynamodb(self) -> Any:
        """The same for what a run can do without: a table that throttles is not waited for."""
        return self.client("dynamodb", self.options.endpoint_url, retries=_QUICK)

    @cached_property
    def autoscaling(self) -> Any:
        """Application Auto Scaling, which keeps the scaling of provisioned tables."""
        return self.client("application-autoscaling", self.options.endpoint_url, retries=_QUICK)

    @cached_property
    def sts(self) -> Any:
        """The service that tells who the caller is; out of reach of some private networks."""
        return self.sts_of(self.login)

    def sts_of(self, login: Login) -> Any:
        """The same as a login sees it."""
        with explained("set up AWS access"):
            settings = Config(**(_DEFAULTS | {"retries": _QUICK}))
            return login.session.client("sts", endpoint_url=self.options.endpoint_url, config=settings)

    @cached_property
    def s3_login(self) -> Login:
        """Who reads and writes the bucket: the same identity, unless the options name another one."""
        options = self.options
        if not options.s3_profile and not options.s3_role_arns:
            return self.login
        return self._log_in(options.s3_profile or options.profile, options.s3_role_arns)

    @cached_property
    def s3(self) -> Any:
        """S3; every call names the expected owner of the bucket where one is given."""
        local = self.options.s3_endpoint_url or self.options.endpoint_url
        style = {"addressing_style": "path"} if local else {}
        settings = Config(**(_DEFAULTS | {"s3": style, "max_pool_connections": 64}))
        with explained("set up access to S3"):
            client = self.s3_login.session.client("s3", endpoint_url=local, config=settings)
        client.meta.events.register_first("needs-retry.s3", self._renew_for_s3)
        # the one place through which every call goes, those of paginators and of smart_open too
        call = client._make_api_call  # noqa: SLF001
        client._make_api_call = lambda *words: patiently(lambda: call(*words))  # noqa: SLF001
        _add_to_calls(client, self.options)
        return client

    @cached_property
    def region(self) -> str:
        """The region of the table."""
        return str(self.dynamodb.meta.region_name)

    @cached_property
    def dynamodb_url(self) -> str:
        """The endpoint of the data plane, as botocore resolves it."""
        return str(self.dynamodb.meta.endpoint_url)

    @property
    def ca_bundle(self) -> str | None:
        """The file of certificates that AWS_CA_BUNDLE or the config file names, as for every call of botocore."""
        bundle: str | None = self.login.session._session.get_config_variable("ca_bundle")  # noqa: SLF001
        return bundle

    def identity(self) -> str:
        """The caller's ARN, or what is known of the caller where STS can't be asked."""
        try:
            return str(self.sts.get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError, ResponseParserError):
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
        self.s3_login.credentials.renew()
        return attempts - 1


def _s3_members(options: AwsOptions, bucket: str) -> dict[str, str]:
    """What every call to S3 carries that knows it: the bucket's owner, and how objects are written.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    members = {"ExpectedBucketOwner": options.owner_of(bucket), "ACL": options.acl}
    if options.kms_key_id:
        members |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": options.kms_key_id}
    return {name: value for name, value in members.items() if value}


def _add_to_calls(client: BaseClient, options: AwsOptions) -> None:
    def add(params: dict[str, Any], model: Any, **_: Any) -> None:
        known = model.input_shape.members if model.input_shape is not None else {}
        for name, value in _s3_members(options, params.get("Bucket", "")).items():
            if name in known:
                params.setdefault(name, value)

    client.meta.events.register("provide-client-params.s3", add)
