"""The least that any import must do: receive, decompress, split, join, sign, send, crc32.

No retries, checkpoints, checks, progress or processes. `python floor_import.py TABLE BUCKET aiohttp|bare`
"""

import asyncio
import os
import sys

import msgspec
import uvloop
from http_clients import Client, open_client
from isal import isal_zlib

from ddb_shared.dynamodb.sigv4 import Credentials, Signer

SEGMENTS = 16
BATCH_ITEMS = 25
KEYS = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


class Response(msgspec.Struct, rename="pascal"):
    """What BatchWriteItem answers."""

    unprocessed_items: dict[str, list[msgspec.Raw]]


async def load(client: Client, signer: Signer, table: str, bucket: str, segment: int) -> None:
    opening = b'{"RequestItems":{"' + table.encode() + b'":[{"PutRequest":'
    decoder = msgspec.json.Decoder(Response)
    lines = isal_zlib.decompress(
        await client.get(f"/{bucket}/{segment:04d}.json.gz", KEYS), wbits=31
    ).splitlines()
    for first in range(0, len(lines), BATCH_ITEMS):
        body = opening + b'},{"PutRequest":'.join(lines[first : first + BATCH_ITEMS]) + b"}]}}"
        answer, crc = await client.call(signer, KEYS, "BatchWriteItem", body)
        assert crc == isal_zlib.crc32(answer)
        assert not decoder.decode(answer).unprocessed_items


async def main(table: str, bucket: str, http: str) -> None:
    async with open_client(http, SEGMENTS) as (client, signer), asyncio.TaskGroup() as lanes:
        for segment in range(SEGMENTS):
            lanes.create_task(load(client, signer, table, bucket, segment))


uvloop.run(main(*sys.argv[1:]))
