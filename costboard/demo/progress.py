"""What a person at the terminal sees while the demo gets ready."""

import sys
import time
from typing import TextIO

BAR_WIDTH = 32
REDRAW_SECONDS = 0.1
LINES_WITHOUT_TERMINAL = 10


class Progress:
    """A bar that moves on a terminal; a line for each tenth of the way elsewhere."""

    def __init__(self, label: str, total: int, out: TextIO | None = None) -> None:
        self.label, self.total = label, max(1, total)
        self.out = out or sys.stdout
        self.moves = self.out.isatty()
        self.done = 0
        self.started = time.monotonic()
        self.drawn_at = 0.0
        self.lines = 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.moves:
            if time.monotonic() - self.drawn_at >= REDRAW_SECONDS:
                self._draw()
        elif self.done * LINES_WITHOUT_TERMINAL // self.total > self.lines:
            self.lines = self.done * LINES_WITHOUT_TERMINAL // self.total
            self.out.write(f"{self._text()}\n")
            self.out.flush()

    def finish(self) -> None:
        """Draw the end; the total was an estimate, so it becomes what it was."""
        self.total = max(1, self.done)
        if self.moves:
            self._draw()
            self.out.write("\n")
        elif self.lines < LINES_WITHOUT_TERMINAL:
            self.out.write(f"{self._text()}\n")
        self.out.flush()

    def _draw(self) -> None:
        filled = min(BAR_WIDTH, BAR_WIDTH * self.done // self.total)
        bar = "█" * filled + "·" * (BAR_WIDTH - filled)
        self.out.write(f"\r  {bar} {self._text().strip()}\x1b[K")
        self.out.flush()
        self.drawn_at = time.monotonic()

    def _text(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        share = min(100, 100 * self.done // self.total)
        return (
            f"  {self.label}: {share}%, {self.done:,} events, {self.done / seconds:,.0f} a second"
        )


def say(line: str) -> None:
    """One line to the person who started the demo."""
    print(line, flush=True)
