"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from training.files import beside, write_text


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """What was half written stands beside, and the next attempt replaces it."""
    file = tmp_path / "a.json"
    write_text(file, "früher")

    def fail() -> None:
        with beside(file) as partial:
            partial.write_text("half of")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert file.read_text(encoding="utf-8") == "früher"
    write_text(file, "later")
    assert file.read_text(encoding="utf-8") == "later"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
