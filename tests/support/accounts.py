"""boto3 clients of the source and the destination account at a local server."""

import threading
from typing import Any

import boto3
from botocore.config import Config

from support.environment import REGION, SECRET, SOURCE
from support.services import Endpoint

CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    s3={"addressing_style": "path"},
    account_id_endpoint_mode="disabled",
    max_pool_connections=32,
    proxies={},
)


class Accounts:
    """Clients by endpoint and account, each made once: making one costs 50 ms and more. Clients are thread-safe.

    Those of one account share a session, which keeps 10 MB of descriptions of the services.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str, str, str], Any] = {}
        self._sessions: dict[tuple[str, str], boto3.Session] = {}
        self._lock = threading.Lock()

    def client(
        self, service: str, endpoint: Endpoint | str, account: str = SOURCE, region: str = REGION
    ) -> Any:
        """Return the boto3 client of `service` as `account` sees it at `endpoint`."""
        url = endpoint if isinstance(endpoint, str) else endpoint.url
        key = (service, url, account, region)
        with self._lock:
            if key not in self._clients:
                if (account, region) not in self._sessions:
                    self._sessions[account, region] = boto3.Session(account, SECRET, region_name=region)
                session = self._sessions[account, region]
                self._clients[key] = session.client(service, endpoint_url=url, config=CONFIG)
            return self._clients[key]

    def dynamodb(self, endpoint: Endpoint | str, account: str = SOURCE) -> Any:
        """Return the DynamoDB client of `account`."""
        return self.client("dynamodb", endpoint, account)

    def s3(self, endpoint: Endpoint | str, account: str = SOURCE) -> Any:
        """Return the S3 client of `account`."""
        return self.client("s3", endpoint, account)

    def close(self) -> None:
        """Close every client's connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
