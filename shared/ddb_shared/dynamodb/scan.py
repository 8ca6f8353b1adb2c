"""The pages of one scan segment."""

from __future__ import annotations

from dataclasses import dataclass

from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.messages import ScanPage, scan_request
from ddb_shared.errors import map_errors
from ddb_shared.table.description import LastKey


@dataclass(frozen=True, kw_only=True)
class SegmentScan:
    """One segment of a parallel scan.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.ParallelScan
    """

    client: Client
    table: str
    segment: int
    total_segments: int
    consistent_read: bool

    async def page(self, start: LastKey | None, max_items: int | None = None) -> ScanPage:
        """The page after the key `start`: up to 1 MB, fewer items under a small cap, at most `max_items`.

        Raises TransferError once the retries are used up.
        """
        limits = (max_items, self.client.page_limit(consistent_read=self.consistent_read))
        with map_errors(f"scan table {self.table}"):
            return await self.client.scan(
                scan_request(
                    self.table,
                    segment=self.segment,
                    total_segments=self.total_segments,
                    consistent_read=self.consistent_read,
                    start=start,
                    limit=min((limit for limit in limits if limit is not None), default=None),
                )
            )
