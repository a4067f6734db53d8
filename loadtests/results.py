"""Finished scenarios, one file each, so that a bench that was interrupted goes on where it stopped."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from userip.files import json_text, write_text
from userip.loadtests.errors import BenchInputError, LoadTestError
from userip.loadtests.scenarios import Scenario

Row = dict[str, Any]


class Results:
    """Rows by scenario, below `directory`. `conditions` (seed, data, ...) are part of what makes two runs alike."""

    def __init__(self, directory: Path, conditions: Mapping[str, Any]) -> None:
        self._directory, self._conditions = directory, dict(conditions)
        directory.mkdir(parents=True, exist_ok=True)

    def kept(self, scenario: Scenario | str) -> list[Row] | None:
        """The rows of a scenario that is finished under these conditions, or None."""
        file = self._file(scenario)
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise BenchInputError(f"{file}: not JSON; remove it and start again") from None
        if content["conditions"] != self._print(scenario):
            return None
        rows: list[Row] = content["rows"]
        return rows

    def keep(self, scenario: Scenario | str, rows: Sequence[Row]) -> None:
        """Write the rows of a finished scenario, whole or not at all."""
        write_text(self._file(scenario), json_text({"conditions": self._print(scenario), "rows": list(rows)}))

    def rate(self, scenario: Scenario, variant: str) -> float | None:
        """Arrivals per second for a variant, None in a closed loop: as given, or a share of a saturation."""
        if scenario.share is None:
            return scenario.rate
        of = scenario.of or variant
        rows = json.loads(self._file(scenario.base).read_bytes())["rows"] if self._file(scenario.base).exists() else []
        reached = [row["throughput"] for row in rows if row["variant"] == of]
        if not reached or not median(reached):
            raise LoadTestError(f"{scenario.name}: {scenario.base} has no throughput of {of} to take a share of")
        return float(scenario.share * median(reached))

    def _file(self, scenario: Scenario | str) -> Path:
        return self._directory / f"{scenario if isinstance(scenario, str) else scenario.name}.json"

    def _print(self, scenario: Scenario | str) -> str:
        described = scenario if isinstance(scenario, str) else dataclasses.asdict(scenario)
        return hashlib.sha256(json.dumps([described, self._conditions], sort_keys=True).encode()).hexdigest()
