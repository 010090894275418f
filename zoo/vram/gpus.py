"""NVIDIA GPUs by name, and how much of a GPU's memory is left for torch. No torch in here."""

import difflib
import re
from dataclasses import dataclass

from zoo.errors import ConfigError

MARGIN = 0.04
"""Share of the GPU that stays free, for what nobody foresees: fragments, a browser that opens a tab."""
CONTEXT = 500 * 2**20
"""What CUDA itself takes: 0.3 to 0.5 GB, by GPU and driver."""
_UNITS = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}
_TABLE = """
GTX 1660 Ti|6144|7.5
RTX 2060|6144|7.5
RTX 2070|8192|7.5
RTX 2080|8192|7.5
RTX 2080 Ti|11264|7.5
RTX 3050|8192|8.6
RTX 3060|12288|8.6
RTX 3060 Ti|8192|8.6
RTX 3070|8192|8.6
RTX 3080|10240|8.6
RTX 3090|24576|8.6
RTX 4060|8188|8.9
RTX 4060 Ti|8188|8.9
RTX 4060 Ti 16GB|16380|8.9
RTX 4070|12282|8.9
RTX 4070 SUPER|12282|8.9
RTX 4070 Ti|12282|8.9
RTX 4070 Ti SUPER|16376|8.9
RTX 4080|16376|8.9
RTX 4090|24564|8.9
RTX 5060|8151|12.0
RTX 5060 Ti 16GB|16311|12.0
RTX 5070|12227|12.0
RTX 5070 Ti|16303|12.0
RTX 5080|16303|12.0
RTX 5090|32607|12.0
T4|15360|7.5
L4|23034|8.9
A10|23028|8.6
A100 40GB|40960|8.0
A100 80GB|81920|8.0
H100|81559|9.0
"""
"""Name, MiB as nvidia-smi shows them, capability. Source: NVIDIA's data sheets and its list of CUDA capabilities."""


@dataclass(frozen=True)
class Gpu:
    """What a plan is made for.

    Args:
        total: bytes of its memory.
        free: bytes that nobody else holds.
    """

    name: str
    total: int
    free: int
    capability: tuple[int, int]

    def budget(self, limit: int | None = None) -> int:
        """Bytes that torch may reserve.

        Args:
            limit: trainer.vram in bytes, which CUDA's own share is not part of.
        """
        return max(0, min(self.free - CONTEXT - int(MARGIN * self.total), limit or self.total))


def in_bytes(amount: str, key: str = "trainer.vram") -> int:
    """12GB, 11.5 GiB, 800MB: to bytes.

    Raises:
        ConfigError: it is something else.
    """
    number, unit = amount.strip().rstrip("BbIiGgMm ").strip(), amount.strip().lstrip("0123456789. ").upper()
    try:
        return int(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise ConfigError(f"{key} is {amount!r}; a number and its unit, as 12GB, 11.5GiB or 800MB.") from None


def named(text: str) -> Gpu:
    """The GPU of a name ("RTX 4070 Ti"), or one with so much memory ("12GB").

    Raises:
        ConfigError: it is neither.
    """
    if re.fullmatch(r"\s*[\d.]+\s*[GM]i?B?\s*", text, re.IGNORECASE):
        size = in_bytes(text, "--vram")
        return Gpu(text.strip(), size, size, (8, 9))
    known = {_plain(line.split("|")[0]): line.split("|") for line in _TABLE.split("\n") if line}
    if (found := known.get(_plain(text))) is None:
        near = difflib.get_close_matches(_plain(text), known, 1, 0.5)
        hint = f"did you mean {known[near[0]][0]}?" if near else "or its memory, as 12GB."
        raise ConfigError(f"--vram is {text!r}; no GPU of that name is known: {hint}")
    name, mib, capability = found
    major, minor = capability.split(".")
    return Gpu(name, int(mib) * 2**20, int(mib) * 2**20, (int(major), int(minor)))


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|rtx|gtx|[^a-z0-9]", "", name.lower())
