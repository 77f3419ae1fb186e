"""The list of benchmarks: every one that can be run is there, in order, and a wrong name is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigq import bench_command
from benchmarks.catalogue import BY_NAME_ALONE, FOLDER, ORDER, chosen, known
from streams.errors import SettingsError


def test_every_module_that_takes_options_is_listed() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")}
    runnable = {
        name
        for name, source in sources.items()
        if '__name__ == "__main__"' in source and ("ArgumentParser(" in source or "command_line(" in source)
    }
    assert runnable - {one.name for one in known()} == {"__main__"}


def test_known_names_come_in_the_order_that_is_said_and_new_ones_before_what_is_computed(
    tmp_path: Path,
) -> None:
    for name in ("capacity", "brand_new", "ingest", "decoders"):
        (tmp_path / f"{name}.py").write_text(
            f'"""About {name}.\n\n    python -m benchmarks.{name} [--quick]\n"""\n'
        )
    (tmp_path / "part.py").write_text('"""A part of others."""\n')
    assert [one.name for one in known(tmp_path)] == ["ingest", "brand_new", "capacity", "decoders"]
    assert known(tmp_path)[0].about == "About ingest."


def test_all_means_all_but_those_asked_for_by_name() -> None:
    every = known()
    assert {one.name for one in every} - {one.name for one in chosen([], every, quick=False)} == set(
        BY_NAME_ALONE
    )
    assert [one.name for one in chosen([BY_NAME_ALONE[0]], every, quick=True)] == [BY_NAME_ALONE[0]]


def test_quick_leaves_out_what_knows_no_quick_run() -> None:
    assert all(one.common for one in chosen([], known(), quick=True))


def test_a_wrong_name_is_told_with_the_right_ones() -> None:
    with pytest.raises(SettingsError, match="no benchmark 'speed'") as caught:
        chosen(["speed"], known(), quick=False)
    assert "generation" in caught.value.action


def test_the_order_names_no_benchmark_twice() -> None:
    assert len({*ORDER, *BY_NAME_ALONE}) == len(ORDER) + len(BY_NAME_ALONE)


def test_an_installed_package_without_benchmarks_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError) as caught:
        bench_command.bench(names=["reader"])
    assert "make bench" in caught.value.action
