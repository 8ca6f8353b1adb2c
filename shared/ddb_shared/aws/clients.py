"""botocore clients with our retries, endpoints and credentials, built in one place.

Each process builds its own `Aws` from an `AwsOptions`; only the latter is sent between processes.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from ddb_shared.aws.credentials import MfaCredentials, Session, SessionOptions
from ddb_shared.dynamodb.sigv4 import Credentials
from ddb_shared.errors import CREDENTIAL_CODES, EXPIRED_CODES, map_errors, note_side
from ddb_shared.permissions import Side
from ddb_shared.retry import retry_broken_responses
from ddb_shared.table.settings import Clients

_LOG: Final = logging.getLogger(__name__)
# Set explicitly: the SDK's default changed from 10 attempts to 4 between releases. S3 returns SlowDown for minutes while it
# scales a prefix; ten attempts with the SDK's backoff take about two.
_RETRIES: Final = {"mode": "standard", "total_max_attempts": 10}
# Connections are made as they are needed, by the threads of all tables of a move; urllib3 warns where there are more than this.
_CONNECTIONS: Final = 256
_DEFAULTS: Final[dict[str, Any]] = {
    "retries": _RETRIES,
    "connect_timeout": 5,
    "read_timeout": 60,
    "max_pool_connections": _CONNECTIONS,
}
# Private networks often have no access to the autoscaling endpoint, and its settings are recorded as unknown then: two
# attempts of five seconds are enough to find out.
_FEW_RETRIES: Final = {"mode": "standard", "total_max_attempts": 2}
_ONE_TRY: Final = {"mode": "standard", "total_max_attempts": 1}
_PRICING_REGIONS: Final = {
    "eu": "eu-central-1",
    "ap": "ap-south-1",
    "me": "eu-central-1",
    "af": "eu-central-1",
}
_AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
# Lease renewals must fail within seconds: a request that hangs is abandoned long before the lease expires, then repeated.
_LEASE: Final[dict[str, Any]] = {"retries": _FEW_RETRIES, "connect_timeout": 2, "read_timeout": 5}
# Fresh credentials either work at once or not at all; further attempts allow for a slow provider.
_RENEWALS: Final = 3
# Creating clients of one session is not thread-safe: https://docs.aws.amazon.com/boto3/latest/guide/session.html
_CREATING: Final = threading.RLock()


@dataclass(frozen=True, kw_only=True)
class AwsOptions:
    """How to reach AWS: the options that all commands share.

    `acl` and `kms_key_id` apply to every object written; `mfa_credentials` are those of the MFA session; `side` is the side
    whose policies must allow the calls, `caller` and `s3_caller` who makes them, if known. The bucket `state_bucket` has its own owner, `state_owner`.
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
    streams_endpoint_url: str | None = None
    bucket_owner: str | None = None
    state_owner: str | None = None
    state_bucket: str | None = None
    acl: str | None = None
    kms_key_id: str | None = None
    mfa_credentials: MfaCredentials | None = None
    side: Side | None = None
    caller: str = ""
    s3_caller: str = ""

    def owner_of(self, bucket: str) -> str | None:
        """The account that must own a bucket; None if unknown."""
        return self.state_owner if bucket == self.state_bucket else self.bucket_owner


class Guard(Protocol):
    """Whether requests may be sent, such as a lease: each waits until it holds, and raises where it is lost."""

    async def wait(self) -> None: ...

    def wait_in_thread(self) -> None: ...


class Aws:
    """One identity at AWS. Clients are built on first use and are thread-safe."""

    def __init__(self, options: AwsOptions, session: Session | None = None) -> None:
        self.options = options
        self._guard: Guard | None = None
        self.session = session or Session(_identity_of(options, options.profile, options.role_arns))
        self.credentials = self.session.credentials

    def under(self, guard: Guard) -> Aws:
        """The same access, where every request to S3 and to the data plane, and each try of it, asks `guard` first."""
        guarded = copy.copy(self)
        guarded._guard = guard  # noqa: SLF001 - a copy of our own
        guarded.__dict__.pop("s3", None)  # which does not ask
        return guarded

    @property
    def before_sending(self) -> Callable[[], Awaitable[None]] | None:
        """What every request of the data plane waits for before it is sent."""
        return self._guard.wait if self._guard else None

    def client(self, service: str, endpoint_url: str | None = None, **config: Any) -> Any:
        """A client with our retries and timeouts."""
        with map_errors("set up AWS access"):
            settings = _config(**config)
            client = _create(self.session, service, endpoint_url=endpoint_url, config=settings)
        _wrap_calls(client, self._noting_side)
        return client

    def _noting_side(self, call: Callable[[], Any]) -> Any:
        with note_side(self.options.side, self.options.caller):
            return call()

    def _noting_s3_side(self, call: Callable[[], Any]) -> Any:
        with note_side(self.options.side, self.options.s3_caller):
            return call()

    @cached_property
    def dynamodb(self) -> Any:
        """DynamoDB's control plane."""
        return self.client("dynamodb", self.options.endpoint_url)

    @cached_property
    def best_effort_dynamodb(self) -> Any:
        """The same with few retries, for calls that a run can do without."""
        return self.client("dynamodb", self.options.endpoint_url, retries=_FEW_RETRIES)

    @cached_property
    def autoscaling(self) -> Any:
        """Application Auto Scaling, which holds the scaling settings of provisioned tables."""
        return self.client("application-autoscaling", self.options.endpoint_url, retries=_FEW_RETRIES)

    @property
    def has_price_list(self) -> bool:
        """Whether there is a Price List API to ask: a local service has none, unless its endpoint is set.

        An endpoint for all services may be set by the option, by AWS_ENDPOINT_URL, or in the profile.
        """
        if "AWS_ENDPOINT_URL_PRICING" in os.environ:
            return True
        # the first needs no further client where DynamoDB is a local service
        return _is_at_aws(self.dynamodb_url) and _is_at_aws(str(self.pricing.meta.endpoint_url))

    @cached_property
    def pricing(self) -> Any:
        """The Price List API, which has endpoints in a few Regions; a run does not wait for it.

        https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
        """
        with map_errors("set up AWS access"):
            region = _PRICING_REGIONS.get(self.region.partition("-")[0], "us-east-1")
            settings = _config(retries=_ONE_TRY, connect_timeout=2, read_timeout=5)
            client = _create(self.session, "pricing", region_name=region, config=settings)
        _wrap_calls(client, self._noting_side)
        return client

    @cached_property
    def sts(self) -> Any:
        """STS, which identifies the caller; some private networks have no access to it."""
        return self.sts_of(self.session)

    def sts_of(self, session: Session) -> Any:
        """STS with the credentials of a session."""
        with map_errors("set up AWS access"):
            settings = _config(retries=_FEW_RETRIES)
            client = _create(session, "sts", endpoint_url=self.options.endpoint_url, config=settings)
        _wrap_calls(client, self._noting_side)
        return client

    @cached_property
    def s3_session(self) -> Session:
        """The session for S3: the same one, unless the options name another identity."""
        options = self.options
        if not options.s3_profile and not options.s3_role_arns:
            return self.session
        profile = options.s3_profile or options.profile
        identity = _identity_of(options, profile, options.s3_role_arns)
        # the MFA session belongs to the other profile and must not replace the credentials of this one
        return Session(replace(identity, mfa_credentials=None) if options.s3_profile else identity)

    @cached_property
    def s3(self) -> Any:
        """S3; every call names the expected owner of the bucket if known."""
        client = self._s3()
        client.meta.events.register_first("needs-retry.s3", self._renew_for_s3)
        if self._guard:
            guard = self._guard
            client.meta.events.register("before-send.s3", lambda **_: guard.wait_in_thread())
        _wrap_calls(client, lambda call: self._noting_s3_side(lambda: retry_broken_responses(call)))
        return client

    @cached_property
    def lease_s3(self) -> Any:
        """S3 for lease renewals: short timeouts, and no guard."""
        client = self._s3(**_LEASE)
        client.meta.events.register_first("needs-retry.s3", self._renew_for_s3)
        _wrap_calls(
            client, lambda call: self._noting_s3_side(lambda: retry_broken_responses(call, attempts=1))
        )
        return client

    def _s3(self, **config: Any) -> Any:
        local = self.options.s3_endpoint_url or self.options.endpoint_url
        style = {"addressing_style": "path"} if local else {}
        with map_errors("set up access to S3"):
            client = _create(self.s3_session, "s3", endpoint_url=local, config=_config(s3=style, **config))
        _add_to_calls(client, self.options)
        return client

    @property
    def of_settings(self) -> Clients:
        """The services that hold the settings of tables."""
        return Clients(self.dynamodb, self.autoscaling, lambda: self.account)

    @cached_property
    def account(self) -> str:
        """The caller's account; see `account_of`."""
        return account_of(self.options)

    @cached_property
    def region(self) -> str:
        """The region of the table."""
        return str(self.dynamodb.meta.region_name)

    @cached_property
    def dynamodb_url(self) -> str:
        """The endpoint of the data plane, as botocore resolves it."""
        return str(self.dynamodb.meta.endpoint_url)

    @cached_property
    def streams(self) -> Any:
        """The control plane of DynamoDB Streams; local services have it where DynamoDB is."""
        return self.client("dynamodbstreams", self.options.streams_endpoint_url or self.options.endpoint_url)

    @cached_property
    def streams_url(self) -> str:
        """The endpoint of DynamoDB Streams, as botocore resolves it."""
        return str(self.streams.meta.endpoint_url)

    @property
    def side(self) -> Side | None:
        """The side whose policies must allow the calls."""
        return self.options.side

    @property
    def ca_bundle(self) -> str | None:
        """The certificate file from AWS_CA_BUNDLE or the config file, as for every botocore call."""
        bundle: str | None = self.session.core.get_config_variable("ca_bundle")
        return bundle

    @property
    def proxy_url(self) -> str | None:
        """The proxy for the data plane."""
        return self.proxy_for(self.dynamodb_url)

    def proxy_for(self, url: str) -> str | None:
        """The proxy for an endpoint from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as for every botocore call."""
        from botocore.httpsession import ProxyConfiguration  # noqa: PLC0415 - loaded with the first client
        from botocore.utils import get_environ_proxies  # noqa: PLC0415 - as above

        found: str | None = ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)
        return found

    def identity(self) -> str:
        """The caller's ARN, or its access key if STS cannot be reached."""
        if self.options.caller:
            return self.options.caller
        from botocore.parsers import ResponseParserError  # noqa: PLC0415 - 70 ms that `--help` does without

        try:
            return str(self.sts.get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError, ResponseParserError):
            return f"access key {self.credentials.access_key}"

    async def current_credentials(self) -> Credentials:
        """The current credentials; botocore refreshes refreshable ones before they expire."""
        with note_side(self.options.side):
            if self.credentials.refresh_needed():
                import asyncio  # noqa: PLC0415 - 60 ms that `--help` does without

                frozen = await asyncio.to_thread(self.credentials.get_frozen_credentials)
            else:
                frozen = self.credentials.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    async def renew(self) -> None:
        """Reads the credentials again from their source: a profile file or a provider may have fresh ones."""
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.to_thread(self.credentials.renew)

    def _renew_for_s3(
        self, response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any
    ) -> int | None:
        """A hook of botocore's retries: seconds to wait before the request is signed and sent again."""
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in EXPIRED_CODES or attempts > _RENEWALS:
            return None
        self.s3_session.credentials.renew()
        return attempts - 1


def _is_at_aws(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(_AWS_DOMAINS)


def _config(**members: Any) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - 70 ms that `--help` does without

    return Config(**(_DEFAULTS | members))


def _wrap_calls(client: Any, wrap: Callable[[Callable[[], Any]], Any]) -> None:
    """Runs each call of a client inside `wrap`, including those of paginators and smart_open."""
    call = client._make_api_call  # noqa: SLF001 - botocore has no public hook around a whole call

    def timed(operation: str, *words: Any) -> Any:
        started_at = time.monotonic()
        try:
            return call(operation, *words)
        except ClientError as error:
            error.resource = _object_of(*words)
            raise
        finally:
            _LOG.debug("%s took %.0f ms", operation, (time.monotonic() - started_at) * 1e3)

    client._make_api_call = lambda *words: wrap(lambda: timed(*words))  # noqa: SLF001


def _object_of(params: Any = None, *_: Any) -> str:
    """The bucket or object of a call to S3, as policies name it."""
    if not isinstance(params, dict) or "Bucket" not in params:
        return ""
    key = f"/{params['Key']}" if "Key" in params else ""
    return f"arn:aws:s3:::{params['Bucket']}{key}"


def _create(session: Session, service: str, **settings: Any) -> Any:
    """A client; tables that are worked on at the same time share a session, whose parts botocore loads as they are needed."""
    with _CREATING:
        return session.core.create_client(service, **settings)


def connect(options: AwsOptions) -> Aws:
    """The `Aws` of this process for these options, built once: a session and its clients cost 0.3 s of CPU.

    Small tables are processed in the command's own process, which has built one already.
    """
    variables = ((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    return _connect(options, frozenset(variables))


Variables = frozenset[tuple[str, str]]


@lru_cache(maxsize=8)
def _connect(options: AwsOptions, variables: Variables) -> Aws:
    identity = _identity_of(options, options.profile, options.role_arns)
    return Aws(options, _session(identity, variables))


@lru_cache(maxsize=8)
def _session(identity: SessionOptions, _: Variables) -> Session:
    return Session(identity)


def account_of(options: AwsOptions) -> str:
    """The account of this process's credentials; empty where STS can't be asked. Raises AccessError without credentials."""
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - 70 ms that `--help` does without

    aws = connect(options)
    with map_errors("find out whose credentials there are"):
        try:
            return str(aws.sts.get_caller_identity()["Account"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in CREDENTIAL_CODES:
                raise
        except (BotoCoreError, ResponseParserError):
            pass  # a private network without STS: the table's and the bucket's answers will tell
    return ""


def _identity_of(options: AwsOptions, profile: str | None, role_arns: tuple[str, ...]) -> SessionOptions:
    return SessionOptions(
        profile=profile,
        region=options.region,
        role_arns=role_arns,
        external_id=options.external_id,
        role_session_name=options.role_session_name,
        endpoint_url=options.endpoint_url,
        mfa_credentials=options.mfa_credentials,
    )


def _s3_members(options: AwsOptions, bucket: str) -> dict[str, str]:
    """The parameters added to every S3 call that supports them: the bucket's owner, and how objects are written.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    members = {"ExpectedBucketOwner": options.owner_of(bucket), "ACL": options.acl}
    if options.kms_key_id:
        members |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": options.kms_key_id}
    return {name: value for name, value in members.items() if value}


def _add_to_calls(client: Any, options: AwsOptions) -> None:
    def add(params: dict[str, Any], model: Any, **_: Any) -> None:
        known = model.input_shape.members if model.input_shape is not None else {}
        for name, value in _s3_members(options, params.get("Bucket", "")).items():
            if name in known:
                params.setdefault(name, value)

    client.meta.events.register("provide-client-params.s3", add)
