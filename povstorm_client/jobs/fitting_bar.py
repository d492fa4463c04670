"""FittingBar: a progress line that leaves out what matters least where a terminal is narrow.

progress_bar.py has its lines in it. rich would cut a few letters off each part, numbers as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Table

# Columns: a table tells its size as it would be in so wide a terminal.
_UNBOUNDED = 10_000


class FittingBar(Progress):
    """Shows the first of the lines that fits into the terminal, as it is then; else the last.

    lines: each is what stands in it from left to right; the fullest first.
    """

    def __init__(self, console: Console, lines: Sequence[Sequence[ProgressColumn]]) -> None:
        # rich asks for the table while it is made.
        self._lines, self._console = lines, console
        super().__init__(*lines[0], console=console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """As rich has it, of the line that fits."""
        told = list(tasks)
        for line in self._lines:
            self.columns = tuple(line)
            table = super().make_tasks_table(told)
            options = self._console.options.update(max_width=_UNBOUNDED)
            if Measurement.get(self._console, options, table).maximum <= self._console.width:
                break
        return table
