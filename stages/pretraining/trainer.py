"""Run self-distillation, a step at a time, with student, teacher and optimiser (Caron et al. 2021, section 3).

The student sees all views, the teacher the two large ones. The student learns the teacher's answers, and the teacher is
a running mean of the student. Drop path, which the paper uses, is left out.

All random numbers of a step come from (seed, step) and the order of the images from (seed, epoch). So weights,
optimiser, centre and history are enough to resume a run exactly. With several processes each computes its share of
every batch; the weights stay the same in all of them.
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
from stages.pretraining.images import UnlabelledImages
from stages.pretraining.network import Network
from stages.pretraining.objective import centred, distillation_loss, entropy, moved_centre, sinkhorn
from stages.pretraining.schedules import Schedules
from stages.pretraining.shares import even_share
from stages.pretraining.watch import feature_deviation, head_figures, head_maps
from stages.runs.history import Row
from stages.runs.precision import Arithmetic, autocast, resolve, resumed
from stages.runs.schedules import mixed_seed
from stages.runs.soundness import named_moments, require_finite, require_same_tensors
from stages.runs.state import RunState, restore_optimizer
from stages.runtime.batch_norm import normalise_jointly
from stages.runtime.collectives import mean_over_processes
from stages.runtime.processes import Processes
from stages.runtime.progress import Task
from stages.settings import PretrainSettings

__all__ = ["DistillationTrainer"]

LARGE_VIEWS = 2


class DistillationTrainer:
    """Train a transformer by self-distillation, and keep the history.

    Args:
        settings: of the run.
        entry: the architecture.
        images: at least a batch of them, and those to watch.
        initial: initial tensors of the transformer; None for random ones.
        processes: this process, and how many there are.
        device: where this process computes.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        entry: ModelEntry,
        images: UnlabelledImages,
        initial: dict[str, Tensor] | None,
        processes: Processes,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.images = images.pixels
        self.watched = images.watched
        self.device = device
        self.step = 0
        self.arithmetic: Arithmetic = resolve(settings.precision, device)
        self.history: list[Row] = []
        self.schedules = Schedules.of(settings)
        self._share = even_share(processes, settings.batch_size)
        self._crops = Crops.of(
            global_crop=settings.global_crop,
            local_crop=settings.local_crop,
            local_crops=settings.local_crops,
            split=settings.crop_split,
        )
        self.student = _new_network(settings, entry, initial).to(device)
        self.teacher = _new_network(settings, entry, initial).to(device).requires_grad_(requires_grad=False)
        if processes.several:
            self.student, self.teacher = (_with_joint_statistics(one) for one in (self.student, self.teacher))
        self.optimizer = AdamW(_groups(self.student), lr=settings.lr)
        self.centre = torch.zeros(settings.prototypes, device=device)
        self._learner: nn.Module = DistributedDataParallel(self.student) if processes.several else self.student

    def run_to_next_row(self, task: Task) -> Row:
        """Train until the next row of the history is due, and add it.

        Args:
            task: advanced by one per step.
        """
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
            "kl": loss - teacher_entropy,  # exact, because every target is in the same number of pairs
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
        """Return the teacher's maps of the watched images: (n, heads, rows, columns) float32 on the CPU."""
        return head_maps(self.teacher.backbone, self.watched.images, self.device)

    def state(self, settings: dict[str, Any]) -> RunState:
        """Return all that is needed to resume after this step.

        Args:
            settings: settings and digests of the data, as `stages.runs.identity` compares them.
        """
        return RunState(
            done=self.step,
            tensors={
                "student": self.student.state_dict(),
                "teacher": self.teacher.state_dict(),
                "objective": {"centre": self.centre},
            },
            optimizer=self.optimizer.state_dict(),
            history=self.history,
            settings=settings,
        )

    def restore(self, state: RunState) -> None:
        """Continue from the state of an interrupted run of the same identity.

        Raises:
            ValueError, KeyError, TypeError: the parts of the state do not fit each other, or are not finite.
        """
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            require_same_tensors(state.tensors[name], network.state_dict())
        centre = state.tensors["objective"]["centre"]
        require_same_tensors({"centre": centre}, {"centre": self.centre})
        restore_optimizer(self.optimizer, state)
        self.arithmetic = resumed(state.settings, self.settings.precision, self.device)
        self.student.load_state_dict(state.tensors["student"])
        self.teacher.load_state_dict(state.tensors["teacher"])
        self.centre = centre.to(self.device)
        self.step = state.done
        self.history = list(state.history)
        self.require_finite()

    def require_finite(self) -> None:
        """Make sure that weights, moments and centre are numbers: the loss was computed before the last step.

        Raises:
            PipelineError: one holds NaN or infinity.
        """
        networks = (("student", self.student), ("teacher", self.teacher))
        weights = {f"{kind} {name}": tensor for kind, one in networks for name, tensor in one.state_dict().items()}
        require_finite(weights | named_moments(self.optimizer) | {"centre": self.centre}, f"step {self.step}")

    def _train_step(self, step: int) -> Tensor:
        """Take one step of the optimiser; return (3,): loss, the teacher's entropy, and the deviation of its tokens."""
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
        """Return this process's share of the step's views, on the device."""
        chosen = self._chosen(step)[self._share]
        images = self.images[torch.from_numpy(chosen)].to(self.device, non_blocking=True)
        generator = Generator().manual_seed(mixed_seed(self.settings.seed, step))
        return [make(images, self._share) for make in self._crops.draw(self.settings.batch_size, generator)]

    def _chosen(self, step: int) -> np.ndarray:
        """Return the positions of the images of a step.

        Every epoch has a new order and leaves out the remainder that does not fill a batch.
        """
        size = self.settings.batch_size
        epoch, batch = divmod(step - 1, len(self.images) // size)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self.images))
        return order[batch * size : (batch + 1) * size]

    def _targets(self, answers: Tensor, step: int) -> Tensor:
        """Return the teacher's probabilities, (views * batch, prototypes)."""
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
        return autocast(self.arithmetic, self.device)


def _new_network(settings: PretrainSettings, entry: ModelEntry, initial: dict[str, Tensor] | None) -> Network:
    """Return a new network; every call gives the same weights, so student and teacher start equal."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed(settings.seed, 0))
        # Any size: position embeddings are those of the large views, resampled for the small ones.
        backbone = build_transformer(entry, settings.global_crop, dynamic_img_size=True)
        if initial is not None:
            backbone.load_state_dict(initial)
        torch.manual_seed(mixed_seed(settings.seed + 1, 0))
        head = ProjectionHead(
            entry.dim, width=settings.head_width, prototypes=settings.prototypes, batch_norm=settings.batch_norm
        )
    return Network(backbone, head)


def _with_joint_statistics(network: Network) -> Network:
    """Return the network with batch normalisation over the batches of all processes."""
    if next(network.parameters()).device.type == "cuda":
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    normalise_jointly(network)
    return network


def _groups(network: Network) -> list[dict[str, Any]]:
    """Return the optimiser's two groups: matrices, which decay, and vectors, which do not."""
    parameters = list(network.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "decays": True},
        {"params": [one for one in parameters if one.ndim <= 1], "decays": False, "weight_decay": 0.0},
    ]
