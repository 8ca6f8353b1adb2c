"""Requests of a batch are taken apart as they were put together."""

from collections.abc import Callable

import pytest

from ddb_shared.dynamodb.messages import content_of_request, delete_request, line_of_request, put_request

CONTENT = b'{"pk":{"S":"a:{}"}}'


@pytest.mark.parametrize(("make", "name"), [(put_request, b"Item"), (delete_request, b"Key")])
def test_a_request_gives_its_content_and_its_line_back(make: Callable[[bytes], bytes], name: bytes) -> None:
    """The line goes to the rejects file, from which the item is loaded again."""
    request = make(CONTENT)
    assert content_of_request(request) == CONTENT
    assert line_of_request(request) == b'{"%s":%s}' % (name, CONTENT)
