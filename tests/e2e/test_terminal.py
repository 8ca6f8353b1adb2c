"""Ctrl-C in a real terminal, where the key reaches the command and all of its workers at the same moment."""

from e2e.test_resume import Lab, lab, printed_command
from support.environment import DESTINATION
from support.terminal import CTRL_C, in_terminal

__all__ = ["lab"]


def test_the_first_ctrl_c_is_told_at_once_and_the_second_ends_with_the_resume_command(lab: Lab) -> None:
    """While workers write; nothing comes after the command that continues."""
    export = lab.mover.exported(lab.source)
    words = (export, lab.destination, "--processes", 2, "--max-wcu", 200)
    with in_terminal("ddb-import", *words, account=DESTINATION, endpoint=lab.aws) as terminal:
        terminal.wait_for(r"[1-9]\d* of 4,000 items")
        terminal.press(CTRL_C)
        terminal.wait_for(r"Stopping: finishing requests in flight\. Press Ctrl-C again to stop at once\.")
        terminal.press(CTRL_C)
        assert terminal.wait_for_end() == 130
    command = printed_command(terminal.screen)
    assert command[:3] == ["ddb-import", export, lab.destination]
    assert terminal.screen.rstrip().endswith(" ".join(command))
    assert not [word for word in ("resource_tracker", "Traceback") if word in terminal.screen]
