"""The least that any export must do: receive, crc32, split, join to lines, compress, hash, send.

No retries, checkpoints, credentials, progress or processes. `python floor_export.py TABLE BUCKET aiohttp|bare`
"""

import asyncio
import hashlib
import os
import sys

import msgspec
import uvloop
from http_clients import Client, open_client
from isal import isal_zlib

from ddb_shared.dynamodb.sigv4 import Credentials, Signer

SEGMENTS = 16
AT_ONCE = 4
KEYS = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


class Page(msgspec.Struct, rename="pascal"):
    """A Scan's answer; msgspec finds where items end without parsing them."""

    items: list[msgspec.Raw]
    last_evaluated_key: dict[str, dict[str, str]] | None = None


async def export(client: Client, signer: Signer, table: str, bucket: str, segment: int) -> None:
    request = {"TableName": table, "Segment": segment, "TotalSegments": SEGMENTS}
    decoder = msgspec.json.Decoder(Page)
    gzip, md5, sha256, stored = isal_zlib.compressobj(1, wbits=31), hashlib.md5(), hashlib.sha256(), []
    while True:
        answer, crc = await client.call(signer, KEYS, "Scan", msgspec.json.encode(request))
        assert crc == isal_zlib.crc32(answer)
        page = decoder.decode(answer)
        if page.items:
            stored.append(gzip.compress(b'{"Item":' + b'}\n{"Item":'.join(page.items) + b"}\n"))
            md5.update(stored[-1])
            sha256.update(stored[-1])
        if page.last_evaluated_key is None:
            break
        request["ExclusiveStartKey"] = page.last_evaluated_key
    stored.append(gzip.flush())
    md5.update(stored[-1])
    sha256.update(stored[-1])
    await client.put(f"/{bucket}/{segment:04d}.json.gz", b"".join(stored), KEYS)


async def main(table: str, bucket: str, http: str) -> None:
    segments = iter(range(SEGMENTS))
    async with open_client(http, AT_ONCE) as (client, signer), asyncio.TaskGroup() as lanes:

        async def lane() -> None:
            for segment in segments:
                await export(client, signer, table, bucket, segment)

        for _ in range(AT_ONCE):
            lanes.create_task(lane())


uvloop.run(main(*sys.argv[1:]))
