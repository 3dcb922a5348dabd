"""`extract --cluster`: the same store from a cluster, and no connection to an unprotected scheduler."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest

from stages.attention.extractor import AttentionExtractor, ExtractorConfig
from stages.errors import InputProblemsError, PipelineError
from stages.extract import run
from stages.extraction import jobs as jobs_module
from stages.extraction import on_cluster
from stages.extraction.cluster import Cluster, connect
from stages.extraction.shard import Decoding
from stages.imaging.classes import ClassMap
from stages.imaging.labels import LabelRules
from store.disk.publish import replace_file
from tests.conftest import extract_settings
from tests.dicom_series import labels_of, scan, write_seg, write_series
from tests.stages.extraction.clusters import bytes_of, workers

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

pytestmark = [
    # Dask leaves sockets and event loops to the garbage collector when a cluster closes.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:distributed"),
]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Return the address of a cluster that the tests share."""
    with workers() as started:
        yield started.scheduler_address


def test_a_cluster_gives_the_same_store_and_fills_the_memo(
    phantoms: Path, phantom_store: Path, scheduler: str, tmp_path: Path
):
    """The store is byte for byte the same as without a cluster. A second run computes nothing, with or without one."""
    for name, computed, address in (("a.zarr", 16, scheduler), ("b.zarr", 0, scheduler), ("c.zarr", 0, None)):
        report = run(extract_settings(phantoms, tmp_path / name, tmp_path / "memo", cluster=address))
        assert report.computed == computed
        assert bytes_of(tmp_path / name) == bytes_of(phantom_store)


def test_a_cluster_cuts_the_same_tiles(phantoms: Path, scheduler: str, tmp_path: Path):
    """With their context, and from the memo."""
    tiles = {"tile": (16, 16), "image_size": (16, 16), "attention_size": (16, 16), "overlap": 4, "context": 8}
    alone = run(extract_settings(phantoms, tmp_path / "a.zarr", tmp_path / "memo_a", **tiles))
    for computed in (alone.samples, 0):
        report = run(extract_settings(phantoms, tmp_path / "b.zarr", tmp_path / "memo_b", **tiles, cluster=scheduler))
        assert report.computed == computed
        assert bytes_of(tmp_path / "b.zarr") == bytes_of(tmp_path / "a.zarr")


def test_a_cluster_reads_dicom_series_by_relative_paths(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Their slices and the labels that refer to them; the store is that of a run without a cluster."""
    files = write_series(tmp_path / "set" / "images" / "chest", scan())
    (tmp_path / "set" / "masks").mkdir()
    write_seg(tmp_path / "set" / "masks" / "seg.dcm", files, labels_of(), ["disc"])
    monkeypatch.chdir(tmp_path)
    run(extract_settings(Path("set"), tmp_path / "a.zarr", tmp_path / "memo_a"))
    report = run(extract_settings(Path("set"), tmp_path / "b.zarr", tmp_path / "memo_b", cluster=scheduler))
    assert (report.samples, report.labelled) == (4, 4)
    assert bytes_of(tmp_path / "b.zarr") == bytes_of(tmp_path / "a.zarr")


def test_only_what_the_memo_lacks_is_computed(
    phantoms: Path, phantom_store: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every second image is in the memo. Only the others are computed, and the store is complete."""
    (tmp_path / "half").mkdir()
    for number, file in enumerate(sorted((phantoms / "images").iterdir())):
        if number % 2:
            (tmp_path / "half" / file.name).symlink_to(file)
    half = {"images": tmp_path / "half", "masks": None}
    run(extract_settings(phantoms, tmp_path / "half.zarr", tmp_path / "memo", **half))
    monkeypatch.chdir(phantoms)  # the paths are relative to a folder in which no worker runs
    report = run(extract_settings(Path(), tmp_path / "s.zarr", tmp_path / "memo", cluster=scheduler))
    assert report.computed == 8
    assert bytes_of(tmp_path / "s.zarr") == bytes_of(phantom_store)


def test_broken_files_are_reported_by_the_paths_the_user_gave(
    phantoms: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All broken files are reported together. A store made without them equals one made without a cluster."""
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for file in sorted((phantoms / kind).iterdir())[:9]:
            replace_file(tmp_path / "set" / kind / file.name, file.read_bytes())
    for number in (1, 7):
        (tmp_path / "set" / "images" / f"phantom_000{number}.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    there, memo = Path("set"), tmp_path / "memo"
    with pytest.raises(InputProblemsError) as caught:
        run(extract_settings(there, tmp_path / "s.zarr", memo, cluster=scheduler))
    assert {problem.where for problem in caught.value.problems} == {
        f"set/images/phantom_000{number}.png" for number in (1, 7)
    }
    run(extract_settings(there, tmp_path / "a.zarr", memo, on_error="skip"))
    run(extract_settings(there, tmp_path / "b.zarr", memo, on_error="skip", cluster=scheduler))
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")


def test_a_worker_that_cannot_read_the_files_is_an_error(
    phantoms: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The files are not reported as broken. The worker's answer is faked, because here it shares the file system."""
    original, image = Cluster.results, min((phantoms / "images").iterdir())

    def blind(self: Cluster, work: Any, jobs: Any) -> Iterator[Any]:
        for done in original(self, work, jobs):
            yield replace(done, unreadable=[image])

    monkeypatch.setattr(Cluster, "results", blind)
    with pytest.raises(PipelineError, match=r"phantom_0000\.png: the worker tcp://.* cannot read it"):
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", cluster=scheduler))
    assert not (tmp_path / "s.zarr").exists()


def test_a_worker_with_other_weights_is_refused(phantoms: Path, scheduler: str, tmp_path: Path):
    """A worker must load the weights of the recipe. The message names the worker."""
    config = ExtractorConfig(
        model="untrained_tiny8", weights=None, input_size=(32, 48), layers=[-1], precision="float32"
    )
    extractor = AttentionExtractor.load(config, device="cpu", batch_size=4)
    transformer = jobs_module.TransformerSpec(
        recipe=replace(extractor.recipe, weights_sha256="0" * 64), weights=None, device="cpu", batch_size=4
    )
    settings = extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo")
    decoding = Decoding(
        size=settings.image_size, input_size=settings.attention_size, rules=LabelRules(classes=ClassMap.binary())
    )
    job = jobs_module.Job(sources=[], known=frozenset(), decoding=decoding, transformer=transformer)
    with (
        connect(scheduler) as cluster,
        pytest.raises(PipelineError, match=r"worker tcp://.*digest .* but the recipe was"),
    ):
        list(cluster.results(on_cluster._do_on_worker, [job]))


def test_results_come_in_order_and_a_bounded_number_ahead(scheduler: str):
    """Memory is bounded: jobs are read as results are consumed."""
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    with connect(scheduler) as cluster:
        results = cluster.results(abs, jobs())
        assert next(results) == 0
        assert len(taken) == 4  # two workers of one thread, two jobs each
        assert list(results) == list(range(1, 40))


class _FromElsewhere:
    """Fail to unpickle, like an object whose class is missing on the worker."""

    def __reduce__(self) -> Any:
        return importlib.import_module, ("a_module_of_the_client_alone",)


def test_a_cluster_with_another_installation_is_an_error(scheduler: str):
    """The message says what to install. There is no traceback of the scheduler."""
    with connect(scheduler) as cluster, pytest.raises(PipelineError, match="Install the same version"):
        list(cluster.results(abs, [_FromElsewhere()]))


def test_the_scheduler_does_not_import_torch(phantoms: Path, phantom_store: Path, tmp_path: Path):
    """Only workers import it: a scheduler is a small process on a small machine. Here each is a process of its own."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with (
        _process([*command, "--no-dashboard", "--scheduler-file", str(file)]),
        distributed.Client(scheduler_file=str(file), set_as_default=False) as client,
    ):
        address = client.scheduler.address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
        with _process([*command, "--no-dashboard"]):
            run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", cluster=address))
            modules = set(client.run_on_scheduler(eval, "list(__import__('sys').modules)"))
    assert bytes_of(tmp_path / "s.zarr") == bytes_of(phantom_store)
    assert "stages.extraction.opaque" in modules  # a job went through it
    assert not {"torch", "timm", "stages.attention", "stages.extraction.jobs"} & modules


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    """Run a command during the block."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_a_killed_worker_costs_nothing_but_time(
    phantoms: Path, phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The other worker repeats the jobs of the killed one."""
    with workers(processes=True) as started:
        (victim, *_) = [nanny.pid for nanny in started.workers.values()]
        original, done = Cluster._result, []

        def killing(self: Cluster, future: Any) -> Any:
            if not done:
                os.kill(victim, signal.SIGKILL)
            done.append(future)
            return original(self, future)

        monkeypatch.setattr(Cluster, "_result", killing)
        address = started.scheduler_address
        run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", cluster=address, batch_size=4))
    assert len(done) == 4
    assert bytes_of(tmp_path / "s.zarr") == bytes_of(phantom_store)


def test_a_lost_scheduler_is_one_message_and_keeps_finished_work(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The next run, without the cluster, computes only the missing maps."""
    original, done = Cluster._result, []
    with workers(n_workers=1) as started:

        def ending(self: Cluster, future: Any) -> Any:
            if len(done) == 2:
                # From another thread: closing waits for the event loop that this one's client may be using.
                closing = threading.Thread(target=started.close)
                closing.start()
                closing.join()
            done.append(future)
            return original(self, future)

        monkeypatch.setattr(Cluster, "_result", ending)
        settings = extract_settings(
            phantoms, tmp_path / "s.zarr", tmp_path / "memo", cluster=started.scheduler_address, batch_size=2
        )
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "5s"}),
            pytest.raises(PipelineError, match="Maps computed so far are in the memo: run the command again"),
        ):
            run(settings)
    assert not (tmp_path / "s.zarr").exists()
    rest = run(extract_settings(phantoms, tmp_path / "s.zarr", tmp_path / "memo", batch_size=2))
    assert rest.computed == 12
