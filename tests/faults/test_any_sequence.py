"""Any sequence of extractions, changes, kills, full disks and upgrades leaves a complete store, compared with a model.

The model is a dictionary of the images and masks on the disk, and the state of the store at the last success. Actors:
two programs of the present version with different transformers, and one of version 1 that writes the old layout. A
fake transformer computes maps from the pixels, so thousands of steps take seconds; all else is the real program.

After every step:

- at the path there is a complete store with exactly the contents of the last success, or nothing if there was none;
- a killed step left the old contents or the new ones, and nothing else;
- the memo returns the maps of the right image or none;
- after a success there are no other files beside the store.

The short profile runs in CI. `pytest -m soak tests/faults/test_any_sequence.py` runs the long one.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stages import extract
from stages.attention.memo import AttentionMemo
from store import AttentionStore, PipelineError, StoreError
from store.check import check_store, verify_store
from store.disk.publish import published_folder
from store.root import is_store
from store.upgrade import upgrade_store
from tests.faults import small_world as world
from tests.faults.interruptions import full_at, killed_at
from tests.store.old_layout import write_version_1

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up the open lock files of this process")

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
IMAGES, MASKS = st.integers(0, 6), st.none() | st.integers(0, 3)
TRANSFORMERS = st.sampled_from(["one", "two"])
MOMENTS = st.tuples(st.integers(0, 120), st.sampled_from([False])) | st.tuples(
    st.integers(0, 12), st.sampled_from([True])
)
"""File operations before a kill, and True if only those count that move something: `killed_at`."""

NEVER = 1000
"""More calls of `fsync` than any step has."""

BESIDE = {"images", "masks", "memo", "s.zarr"}
SHM = Path("/dev/shm")  # noqa: S108 - a disk in memory, where there is one


class AnySequence(RuleBasedStateMachine):
    """A project folder, and the model that it is compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sequence-", dir=SHM if SHM.is_dir() else None))
        for name in ("images", "masks"):
            (self.folder / name).mkdir()
        self.path = self.folder / "s.zarr"
        self.sources: dict[str, world.Source] = {}
        self.committed: world.State | None = None
        self.version = 2
        self.held: tuple[AttentionStore, world.State] | None = None

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)

    # The files of the user.

    @initialize(first=IMAGES, second=IMAGES)
    def begin(self, first, second):
        """Start with two images, one with a mask."""
        self.put("a", first, 0)
        self.put("b", second, None)

    @rule(name=NAMES, image=IMAGES, mask=MASKS)
    def put(self, name, image, mask):
        """Add or change an image and its mask."""
        self.sources[name] = world.Source(image, mask)
        (self.folder / "images" / f"{name}.png").write_bytes(world.png(image))
        file = self.folder / "masks" / f"{name}.png"
        if mask is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(world.mask_png(mask))

    @rule(name=NAMES)
    def remove(self, name):
        """Remove an image and its mask."""
        self.sources.pop(name, None)
        for kind in ("images", "masks"):
            (self.folder / kind / f"{name}.png").unlink(missing_ok=True)

    # The present program.

    @rule(name=TRANSFORMERS)
    def extract(self, name):
        """A success commits what is on the disk; the transformer runs only for images that the memo lacks."""
        expected, known = self.state(name), self.remembered(name)
        if not self.sources:
            with pytest.raises(PipelineError):
                self.run(name)
            return
        report = self.run(name)
        self.commit(expected)
        wanted = {source.digest for source in self.sources.values()}
        assert report.computed == len(wanted - known)
        assert wanted <= self.remembered(name)

    @precondition(lambda self: self.sources)
    @rule(name=TRANSFORMERS, moment=MOMENTS)
    def extract_and_kill(self, name, moment):
        """Kill an extraction at any file operation."""
        expected = self.state(name)
        with self.killed(moment):
            self.run(name)
        self.old_or(expected)

    @precondition(lambda self: self.sources)
    @rule(name=TRANSFORMERS, sync=st.integers(0, 24))
    def extract_on_a_full_disk(self, name, sync):
        """A failure leaves no file behind."""
        expected = self.state(name)
        with full_at(sync):
            try:
                self.run(name)
            except PipelineError as error:
                assert "No space left" in str(error)  # noqa: PT017 - a later `sync` never comes, and it succeeds
                assert not self.debris()
                return
        self.commit(expected)

    @precondition(lambda self: self.sources)
    @rule(name=TRANSFORMERS)
    def extract_with_a_full_memo(self, name):
        """What does not fit is not lost: the older store stays, and the entries of the memo stay right."""
        expected, known = self.state(name), self.remembered(name)
        with self.full_memo():
            try:
                self.run(name)
            except PipelineError as error:
                assert "No space left" in str(error)  # noqa: PT017
                assert {source.digest for source in self.sources.values()} - known
                return
        self.commit(expected)

    @rule()
    def verify(self):
        """Every byte of a store is sound at any time."""
        if self.committed is not None:
            assert verify_store(self.path) == []
        else:
            assert check_store(self.path).verdict == "missing"

    @rule()
    def hold(self):
        """Open the store and keep it open while others replace it."""
        if self.committed is not None:
            self.held = AttentionStore.open(self.path), self.committed

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 4))
    def read_what_is_held(self, index):
        """A store that was opened before gives its own samples or an error, never those of its successor."""
        store, (_, samples) = self.held
        try:
            one = store[index % len(store)]
        except StoreError as error:
            assert "replaced or changed" in str(error)  # noqa: PT017 - both outcomes are right
            return
        assert samples[one.id][:2] == (one.digest, one.image.tobytes())
        assert samples[one.id][3] == one.attention.tobytes()

    # The program of version 1, and upgrades.

    @precondition(lambda self: self.sources)
    @rule(moment=st.none() | MOMENTS)
    def the_old_program_extracts(self, moment):
        """Write the old layout, to the end or until a kill."""
        expected = self.state("one")
        samples = [source.sample(name, "one") for name, source in sorted(self.sources.items())]
        end = self.killed(moment)
        with end, full_at(NEVER), published_folder(self.path, ours=is_store) as folder:
            write_version_1(folder, samples, world.layout(), world.recipe("one").to_dict(), rows=16)
        if moment is None:
            self.commit(expected, version=1)
        else:
            self.old_or(expected, version=1)

    @rule(moment=st.none() | MOMENTS, sync=st.none() | st.integers(0, 24))
    def upgrade(self, moment, sync):
        """An upgrade changes the version and not the contents, whatever happens to it."""
        if self.committed is None:
            with pytest.raises(StoreError):
                upgrade_store(self.path)
            return
        end = self.killed(moment)
        with end, full_at(NEVER if sync is None else sync):
            try:
                assert upgrade_store(self.path) == self.version
                self.version = 2
            except PipelineError as error:
                assert "No space left" in str(error)  # noqa: PT017
        found = AttentionStore.open(self.path).description.version
        assert found in (self.version, 2)
        self.version = found

    # The memo.

    @rule(name=TRANSFORMERS, damage=st.sampled_from(["maps", "crc", "swap", "gone"]))
    def damage_the_memo(self, name, damage):
        """Damage an entry, give it another image's maps, or delete the memo."""
        file = AttentionMemo.path_of(self.folder / "memo", world.recipe(name))
        if not file.exists():
            return
        if damage == "gone":
            shutil.rmtree(file.parent)
            return
        statement = {
            "maps": "UPDATE attention SET maps = zeroblob(length(maps)) WHERE rowid = 1",
            "crc": "UPDATE attention SET crc = crc + 1 WHERE rowid = 1",
            "swap": "UPDATE attention SET maps = (SELECT maps FROM attention ORDER BY rowid DESC LIMIT 1), "
            "crc = (SELECT crc FROM attention ORDER BY rowid DESC LIMIT 1) WHERE rowid = 1",
        }[damage]
        connection = sqlite3.connect(file)
        with connection:
            connection.execute(statement)
        connection.close()

    # What holds after every step.

    @invariant()
    def the_store_is_that_of_the_last_success(self):
        """Read all of the store and compare it with the model."""
        assert world.state_of(self.path) == self.committed
        if self.committed is not None:
            assert AttentionStore.open(self.path).description.version == self.version
            assert is_store(self.path)

    @invariant()
    def the_memo_has_no_maps_of_another_image(self):
        """Compare all entries of both memos with the right maps."""
        for name in ("one", "two"):
            if AttentionMemo.path_of(self.folder / "memo", world.recipe(name)).exists():
                digests = {source.digest: source for source in map(world.Source, range(7), [None] * 7)}
                with AttentionMemo(self.folder / "memo", world.recipe(name)) as memo:
                    for digest, maps in memo.get_many(digests).items():
                        assert maps.tobytes() == digests[digest].sample("", name).attention.tobytes()

    # Helpers.

    def run(self, name: str) -> extract.ExtractionReport:
        """Run an extraction with a fake transformer."""
        masks = any(source.mask is not None for source in self.sources.values())
        with world.transformer(name):
            return extract.run(world.settings(self.folder, masks=masks))

    def killed(self, moment: tuple[int, bool] | None) -> AbstractContextManager[None]:
        """Return the context that ends the block at a moment; None lets it end by itself."""
        return nullcontext() if moment is None else killed_at(moment[0], self.folder, moving=moment[1])

    def state(self, name: str) -> world.State:
        """Return what an extraction of the files on the disk gives."""
        samples = (source.sample(identifier, name) for identifier, source in sorted(self.sources.items()))
        return world.contents(world.stored_sha256(name), samples)

    def commit(self, state: world.State, *, version: int = 2) -> None:
        """Record a success, after which nothing else may be left."""
        self.committed, self.version = state, version
        assert not self.debris()

    def old_or(self, state: world.State, *, version: int = 2) -> None:
        """Record what a killed step left: the older contents or the new ones."""
        found = world.state_of(self.path)
        assert found in (self.committed, state)
        if found == state and found is not None:
            self.version = AttentionStore.open(self.path).description.version
            assert self.version == version or found == self.committed
        self.committed = found

    def debris(self) -> set[str]:
        """Return the names of files that should not be beside the store."""
        return {file.name for file in self.folder.iterdir()} - BESIDE

    def remembered(self, name: str) -> set[str]:
        """Return the digests of all images that the memo has maps of."""
        if not AttentionMemo.path_of(self.folder / "memo", world.recipe(name)).exists():
            return set()
        with AttentionMemo(self.folder / "memo", world.recipe(name)) as memo:
            return set(memo.get_many([world.Source(seed, None).digest for seed in range(7)]))

    @contextmanager
    def full_memo(self) -> Iterator[None]:
        """Let the memo have no room for further pages."""
        original = AttentionMemo.put_many

        def full(memo, maps):
            (pages,) = memo._connection.execute("PRAGMA page_count").fetchone()
            memo._connection.execute(f"PRAGMA max_page_count = {pages}")
            original(memo, {digest + "x" * 4000: one for digest, one in maps.items()})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AttentionMemo, "put_many", full)
            yield


SHORT = settings(
    max_examples=25,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
LONG = settings(SHORT, max_examples=400, stateful_step_count=60, derandomize=False)


def test_any_sequence_leaves_a_complete_store():
    run_state_machine_as_test(AnySequence, settings=SHORT)


@pytest.mark.soak
def test_any_long_sequence_leaves_a_complete_store():
    """The same for about half an hour: up to 24,000 steps."""
    run_state_machine_as_test(AnySequence, settings=LONG)
