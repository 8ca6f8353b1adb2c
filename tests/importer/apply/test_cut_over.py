"""Where the changes of a table are applied."""

from typing import Any

import pytest

from ddb_import.apply.cut_over import Following
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.cluster import Cluster
from ddb_shared.runtime.display import ProgressOptions
from ddb_shared.runtime.events import about
from ddb_shared.runtime.runner import Serial


@pytest.mark.parametrize("chosen", [{"scheduler": "tcp://127.0.0.1:1"}, {"processes": 2}, {}])
def test_changes_of_several_tables_keep_no_worker_until_the_cut_over(chosen: dict[str, Any]) -> None:
    """The bases of other tables would wait for it; they share the cap all the same."""
    common = Common(
        **{"processes": None, **chosen},
        aws=AwsOptions(),
        progress=ProgressOptions(),
        as_json=False,
        share=CapShare(),
    )
    nothing: Any = None
    follow = Following(
        export=nothing,
        storage=nothing,
        task=nothing,
        common=common,
        control=nothing,
        stop=nothing,
        lease=nothing,
        max_rejects=nothing,
    )
    with about("aaa"):
        found = follow._runner()
    assert isinstance(found, Serial)
    assert found.share is common.share
    assert isinstance(follow._runner(), Cluster) is bool(common.scheduler)
