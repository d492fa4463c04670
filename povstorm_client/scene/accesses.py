"""What a scene does with files, in the order in which a frame does it.

discover.py notes it while it reads the sources; carried.py looks for what outlives a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Mode = Literal["read", "test", "write", "append"]
# Macros that call each other are followed so far; beyond it nothing is certain to come before
# something else.
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Place:
    """Where a scene names a file: the scene file, the line, and the name or expression."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True, eq=False)
class Block:
    """A condition, a branch of one, a loop, or the body of a macro, whose name it has then."""

    is_condition: bool
    macro: str | None = None


@dataclass(frozen=True)
class Access:
    """One statement that opens a file, or asks whether it exists.

    names: all that it can have, with gaps (names.py); kind: as in search.ENDINGS. blocks: the
    conditions and loops that it stands in, outermost first. is_constant: whether its expression
    has the same value wherever it stands in a frame.
    """

    mode: Mode
    kind: str
    names: frozenset[str]
    place: Place
    blocks: tuple[Block, ...] = ()
    is_constant: bool = True


@dataclass(frozen=True)
class Detour:
    """An include, or the call of a macro: what is done there, in its blocks."""

    target: Path | str
    blocks: tuple[Block, ...] = ()


Step = Access | Detour


@dataclass
class Steps:
    """The steps of each source and of each macro's body."""

    by_target: dict[Path | str, list[Step]] = field(default_factory=dict)

    def in_order(self, scene: list[Path]) -> list[Access]:
        """All accesses of a frame that reads these sources, in the order of its statements."""
        found: list[Access] = []
        count = 0

        def follow(target: Path | str, outer: tuple[Block, ...], within: frozenset[object]) -> None:
            nonlocal count
            # A block is another one each time that it is come to.
            blocks: dict[Block, Block] = {}
            for step in self.by_target.get(target, ()):
                count += 1
                if count > _MOST_STEPS:
                    return
                for block in step.blocks:
                    blocks.setdefault(block, replace(block))
                inner = (*outer, *(blocks[block] for block in step.blocks))
                if isinstance(step, Access):
                    found.append(replace(step, blocks=inner))
                elif step.target not in within:
                    follow(step.target, inner, within | {step.target})

        for source in scene:
            follow(source, (), frozenset({source}))
        return found if count <= _MOST_STEPS else self._in_no_order()

    def _in_no_order(self) -> list[Access]:
        """All accesses, each under a condition of its own."""
        return [
            replace(step, blocks=(Block(is_condition=True),))
            for steps in self.by_target.values()
            for step in steps
            if isinstance(step, Access)
        ]
