"""What the instances would cost: seconds by task attempt, each at least a minute."""

from __future__ import annotations

from dataclasses import dataclass, field

# https://cloud.google.com/run/pricing: jobs are billed by instance time, at least one minute each.
LEAST_SECONDS = 60.0


@dataclass
class Bill:
    """Instances that ended: their seconds, as billed and as they ran, and what they held."""

    instances: int = 0
    ran_seconds: float = 0.0
    billed_seconds: float = 0.0
    vcpu_seconds: float = 0.0
    gib_seconds: float = 0.0
    by_execution: dict[str, float] = field(default_factory=dict)

    def add(self, execution: str, seconds: float, *, cpus: float, memory_mib: float) -> None:
        """An instance of an execution that ran so long."""
        billed = max(LEAST_SECONDS, seconds)
        self.instances += 1
        self.ran_seconds += seconds
        self.billed_seconds += billed
        self.vcpu_seconds += billed * cpus
        self.gib_seconds += billed * memory_mib / 1024
        self.by_execution[execution] = self.by_execution.get(execution, 0.0) + billed
