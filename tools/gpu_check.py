"""The first ten minutes on a GPU: what holds on it and what does not, as a table to be kept in docs/results.md.

    uv run python tools/gpu_check.py [pytest's options, as -k resumes]

It runs the tests that are marked `gpu` (tests/loop/test_devices.py), one after the other. It has not been run on a GPU
yet; on the CPU, tests/test_gpu_check.py holds what it prints.
"""

import datetime
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARIES = ("torch", "lightning", "transformers", "timm")


@dataclass(frozen=True)
class Result:
    """Of one test.

    Args:
        name: as pytest has it, with its parameters in brackets.
        failure: the last line of its error; empty where it holds.
    """

    name: str
    failure: str
    seconds: float

    @property
    def sentence(self) -> str:
        return self.name.partition("[")[0].removeprefix("test_").replace("_", " ")

    @property
    def parameters(self) -> str:
        return self.name.partition("[")[2].removesuffix("]")


class Results:
    """What pytest reports, as a plugin of it."""

    def __init__(self) -> None:
        self.all: list[Result] = []

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed or (report.when == "call" and not report.skipped):
            said = str(getattr(report.longrepr, "reprcrash", report.longrepr)).strip().splitlines()
            failure = (said[0].rpartition(": ")[2] if said else "it failed") if report.failed else ""
            self.all.append(Result(report.nodeid.rpartition("::")[2], failure, report.duration))


def table(results: Iterable[Result]) -> list[str]:
    """One row for each test, with all its cases."""
    by_sentence: dict[str, list[Result]] = {}
    for result in results:
        by_sentence.setdefault(result.sentence, []).append(result)
    lines = ["| what should hold | holds | seconds |", "|---|---|---|"]
    for sentence, cases in by_sentence.items():
        bad = [case for case in cases if case.failure]
        holds = f"{len(cases) - len(bad)} of {len(cases)}" if bad else f"all {len(cases)}"
        failures = "".join(f"<br>**{case.parameters}**: {case.failure}".replace("|", "\\|") for case in bad)
        lines.append(f"| {sentence} | {holds}{failures} | {sum(case.seconds for case in cases):.0f} |")
    return lines


def machine() -> list[str]:
    """GPU, driver, versions and date, as the head of the table."""
    import torch

    from zoo.command import gpu

    device = torch.cuda.get_device_properties(0)
    driver = next((one.driver for one in gpu.listed()), "unknown")
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return [
        f"### {device.name}, {datetime.date.today()}",
        "",
        f"{device.total_memory / 2**30:.1f} GiB, compute capability {device.major}.{device.minor}, driver {driver}, "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {libraries}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}.",
        "",
    ]


def main(options: list[str]) -> int:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    import pytest
    import torch

    if not torch.cuda.is_available():
        print("gpu_check needs an NVIDIA GPU, and torch finds none: `uv run zoo doctor` says why.", file=sys.stderr)
        return 1
    os.chdir(ROOT)
    results = Results()
    code = pytest.main(["-m", "gpu", "-n", "0", "-q", "tests/loop/test_devices.py", *options], plugins=[results])
    print("", *machine(), *table(results.all), "", "Append this to docs/results.md and commit it.", sep="\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
