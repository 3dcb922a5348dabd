"""One run of self-distillation: student, teacher and optimiser, a step at a time (Caron et al. 2021, section 3).

The student sees all views, the teacher the two large ones; the student learns the teacher's answers, and the teacher
is a running mean of the student. Of the paper's recipe, drop path is left out.

All random numbers of a step come from (seed, step) and the order of the images from (seed, epoch), so weights,
optimiser, centre and history are all it takes to go on exactly. With several processes each takes its share of every
batch; weights stay the same in all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from stages.attention.architectures import build_transformer
from stages.attention.models import ModelEntry
from stages.pretraining.crops import Crops
from stages.pretraining.head import ProjectionHead
from stages.pretraining.network import Network
from stages.pretraining.objective import centred, distillation_loss, entropy, moved_centre, sinkhorn
from stages.pretraining.processes import Processes, mean_over_processes
from stages.pretraining.schedules import Schedules
from stages.pretraining.state import PretrainingState
from stages.pretraining.watch import Row, Watched, feature_deviation, head_figures, head_maps
from stages.runtime.progress import Task
from stages.settings import PretrainSettings

__all__ = ["DistillationTrainer"]

LARGE_VIEWS = 2


class DistillationTrainer:
    """Student, teacher, optimiser and history of one run.

    Args:
        settings: what the run is told.
        entry: the architecture.
        images: (n, 3, side, side) uint8 on the CPU, at least a batch.
        watched: images whose maps are looked at.
        initial: the transformer's tensors to begin with; random ones otherwise.
        device: where it runs.
        processes: which process this is, of how many.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        entry: ModelEntry,
        *,
        images: Tensor,
        watched: Watched,
        initial: dict[str, Tensor] | None,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.settings = settings
        self.images = images
        self.watched = watched
        self.device = device
        self.step = 0
        self.history: list[Row] = []
        self.schedules = Schedules.of(settings)
        self._share = processes.share(settings.batch_size)
        self._crops = Crops.of(
            global_crop=settings.global_crop,
            local_crop=settings.local_crop,
            local_crops=settings.local_crops,
            split=settings.crop_split,
        )
        self.student = _new_network(settings, entry, initial).to(device)
        self.teacher = _new_network(settings, entry, initial).to(device).requires_grad_(requires_grad=False)
        if processes.count > 1 and device.type == "cuda":  # there is none for the CPU: there, each share by itself
            self.student = nn.SyncBatchNorm.convert_sync_batchnorm(self.student)  # type: ignore[no-untyped-call]
            self.teacher = nn.SyncBatchNorm.convert_sync_batchnorm(self.teacher)  # type: ignore[no-untyped-call]
        self.optimizer = AdamW(_groups(self.student), lr=settings.lr)
        self.centre = torch.zeros(settings.prototypes, device=device)
        self._learner: nn.Module = DistributedDataParallel(self.student) if processes.count > 1 else self.student

    def run_to_next_row(self, task: Task) -> Row:
        """Train until the next row of the history is due, and add it."""
        every = self.settings.watch_every
        end = min(self.settings.steps, (self.step // every + 1) * every)
        figures = []
        while self.step < end:
            self.step += 1
            figures.append(self._train_step(self.step))
            task.advance(1, f"loss {self.history[-1]['loss']:.3f}" if self.history else "")
        loss, teacher_entropy, deviation = mean_over_processes(torch.stack(figures).mean(dim=0)).tolist()
        row: Row = {
            "step": self.step,
            "loss": loss,
            "entropy": teacher_entropy,
            "kl": loss - teacher_entropy,  # every target is in as many pairs as every other
            "feature_deviation": deviation,
            "learning_rate": self.schedules.learning_rate(self.step),
            "weight_decay": self.schedules.weight_decay_at(self.step),
            "momentum": self.schedules.momentum_at(self.step),
            "teacher_temperature": self.schedules.teacher_temperature(self.step),
            **head_figures(self.watched_maps(), self.watched.masks),
        }
        self.history.append(row)
        return row

    def watched_maps(self) -> Tensor:
        """(n, heads, rows, columns) float32: the teacher's maps of the watched images."""
        return head_maps(self.teacher.backbone, self.watched.images, self.device)

    def state(self, told: dict[str, Any]) -> PretrainingState:
        """All it takes to go on after this step."""
        return PretrainingState(
            step=self.step,
            student=self.student.state_dict(),
            teacher=self.teacher.state_dict(),
            objective={"centre": self.centre},
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            told=told,
        )

    def restore(self, state: PretrainingState) -> None:
        """Go to where a run stopped."""
        self.student.load_state_dict(state.student)
        self.teacher.load_state_dict(state.teacher)
        self.optimizer.load_state_dict(dict(state.optimizer))
        self.centre = state.objective["centre"].to(self.device)
        self.step = state.step
        self.history = list(state.history)

    def _train_step(self, step: int) -> Tensor:
        """One step of the optimiser; (3,) loss, the teacher's entropy, and how much its tokens differ."""
        views = self._draw_views(step)
        with self._autocast(), torch.no_grad():
            answers, tokens = self.teacher(views[:LARGE_VIEWS])
        targets = self._targets(torch.cat(answers), step)
        with self._autocast():
            student, _ = self._learner(views)
        loss = distillation_loss(student, targets.chunk(LARGE_VIEWS), self.settings.student_temperature)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if step <= self.schedules.frozen:
            self.student.head.prototypes.grad = None
        nn.utils.clip_grad_norm_(self.student.parameters(), self.settings.clip)
        self._set_rates(step)
        self.optimizer.step()
        self._move_teacher(self.schedules.momentum_at(step))
        return torch.stack([loss.detach(), entropy(targets).mean(), feature_deviation(tokens)])

    def _draw_views(self, step: int) -> list[Tensor]:
        """This process's share of the step's views, on the device."""
        chosen = self._chosen(step)[self._share]
        images = self.images[torch.from_numpy(chosen)].to(self.device, non_blocking=True)
        generator = Generator().manual_seed(_mixed(self.settings.seed, step))
        return [make(images, self._share) for make in self._crops.draw(self.settings.batch_size, generator)]

    def _chosen(self, step: int) -> np.ndarray:
        """Which images are in a step: every epoch in a new order, without the remainder that fills no batch."""
        size = self.settings.batch_size
        epoch, batch = divmod(step - 1, len(self.images) // size)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self.images))
        return order[batch * size : (batch + 1) * size]

    def _targets(self, answers: Tensor, step: int) -> Tensor:
        """(views * batch, prototypes) probabilities of the teacher."""
        temperature = self.schedules.teacher_temperature(step)
        if self.settings.centring == "sinkhorn":
            return sinkhorn(answers, temperature)
        targets = centred(answers, self.centre, temperature)
        self.centre = moved_centre(self.centre, answers)
        return targets

    def _set_rates(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedules.learning_rate(step)
            if group["decays"]:
                group["weight_decay"] = self.schedules.weight_decay_at(step)

    @torch.no_grad()
    def _move_teacher(self, momentum: float) -> None:
        for mean, current in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(current, 1 - momentum)

    def _autocast(self) -> torch.autocast:
        wanted = self.settings.precision
        enabled = wanted == "bfloat16" or (wanted == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


def _new_network(settings: PretrainSettings, entry: ModelEntry, initial: dict[str, Tensor] | None) -> Network:
    """The same network in every call: student and teacher begin alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mixed(settings.seed, 0))
        # Any size: position embeddings are those of the large views and resampled for the others.
        backbone = build_transformer(entry, settings.global_crop, dynamic_img_size=True)
        if initial is not None:
            backbone.load_state_dict(initial)
        torch.manual_seed(_mixed(settings.seed + 1, 0))
        head = ProjectionHead(
            entry.dim, width=settings.head_width, prototypes=settings.prototypes, batch_norm=settings.batch_norm
        )
    return Network(backbone, head)


def _groups(network: Network) -> list[dict[str, Any]]:
    """Parameters that weight decay works on, and vectors, which it leaves alone."""
    parameters = list(network.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "decays": True},
        {"params": [one for one in parameters if one.ndim <= 1], "decays": False, "weight_decay": 0.0},
    ]


def _mixed(seed: int, step: int) -> int:
    """One seed out of two, so that neighbouring seeds and steps have nothing in common."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
