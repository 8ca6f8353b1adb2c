"""An export as boto3's documentation shows its parts: the Scan paginator, gzip JSON, upload_file.

https://boto3.amazonaws.com/v1/documentation/api/latest/guide/paginators.html and …/guide/s3-uploading-files.html; the
client's items are DynamoDB JSON with bytes for binary, so JSON needs base64. `python boto3_export.py TABLE BUCKET FILE`
"""

import base64
import gzip
import json
import sys
from pathlib import Path

import boto3


def main(table: str, bucket: str, file: str) -> None:
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    with gzip.open(file, "wt") as lines:
        for page in pages:
            for item in page["Items"]:
                lines.write(json.dumps(item, default=lambda data: base64.b64encode(data).decode()) + "\n")
    boto3.client("s3").upload_file(file, bucket, Path(file).name)


main(*sys.argv[1:])
