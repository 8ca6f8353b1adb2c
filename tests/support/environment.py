"""The accounts of the tests and an environment that holds nothing of the machine's own AWS configuration."""

import os
from pathlib import Path

SOURCE = "111111111111"
DESTINATION = "222222222222"
REGION = "eu-west-1"
SECRET = "secret"

ISOLATION = {
    # a host name built from the account would leave the loopback interface
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent/aws-config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/aws-credentials",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSL_CERT_FILE",
    "PYTHONWARNINGS",
    "COVERAGE_PROCESS_START",
)
ROOT = Path(__file__).resolve().parents[2]


def credentials(account: str, region: str = REGION) -> dict[str, str]:
    """Environment variables with which the local servers see `account`: its number is the access key."""
    return {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": region}


def clean_environment() -> dict[str, str]:
    """The environment of a subprocess: the machine's search path and the like, no credentials, no profile."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | ISOLATION
