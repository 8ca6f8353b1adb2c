"""An import as boto3's documentation shows its parts: download_file, gzip JSON, the table's batch_writer.

https://boto3.amazonaws.com/v1/documentation/api/latest/guide/dynamodb.html#batch-writing; the writer wants Python values,
which boto3's TypeDeserializer makes. `python boto3_import.py TABLE BUCKET FILE`
"""

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer


def value(found: dict[str, Any]) -> dict[str, Any]:
    """JSON's base64 as the bytes that the deserializer wants."""
    return {"B": base64.b64decode(found["B"])} if isinstance(found.get("B"), str) else found


def main(table: str, bucket: str, file: str) -> None:
    boto3.client("s3").download_file(bucket, Path(file).name, file)
    deserialize = TypeDeserializer().deserialize
    with gzip.open(file, "rt") as lines, boto3.resource("dynamodb").Table(table).batch_writer() as batch:
        for line in lines:
            item = json.loads(line, object_hook=value)
            batch.put_item(Item={name: deserialize(typed) for name, typed in item.items()})


main(*sys.argv[1:])
