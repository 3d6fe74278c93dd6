"""What malformed bodies brought to light: counts, and the first example of each kind of fault."""

import threading
from collections import Counter
from dataclasses import dataclass, field

MAX_KIND, MAX_EXAMPLE = 200, 1_000


@dataclass
class Findings:
    """Safe to add to from any thread."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str, by: int = 1) -> None:
        with self._lock:
            self.counts[name] += by

    def fault(self, kind: str, example: object) -> None:
        kind = kind[:MAX_KIND]
        with self._lock:
            self.faults[kind] += 1
            self.examples.setdefault(kind, str(example)[:MAX_EXAMPLE])

    def add(self, other: "Findings") -> None:
        """What another process or thread found."""
        with self._lock:
            self.counts += other.counts
            self.faults += other.faults
            self.examples = other.examples | self.examples

    def __reduce__(self) -> tuple[type["Findings"], tuple[object, ...]]:
        return Findings, (self.counts, self.faults, self.examples)

    def lines(self) -> list[str]:
        """What is wrong, the most frequent first."""
        return [
            f"{n} times: {kind}\n    {self.examples[kind]}" for kind, n in self.faults.most_common()
        ]
