"""Laws of the model registry, over every kind of store."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tasks import storage, versions
from tasks.champions import change_champion, version_table
from tasks.failures import RequestError
from tasks.versions import ModelRecord, RegistryError, Version

WEIGHTS = b"weights"


def record(
    weights: bytes = WEIGHTS, *, name: str = "mill", run: str = "r", **other: object
) -> ModelRecord:
    made = ModelRecord(
        system="sr",
        name=name,
        run=run,
        architecture="mill",
        config={"scale": 2, "width": 4},
        dataset="s3://data/div2k",
        dataset_digest="d1",
        metrics={"psnr_y": 37.5},
        parent="mill@1",
        training={"steps": 100, "loss": "l1", "seed": 0},
        code_version="0.1.0",
        digest=versions.weights_digest(weights),
        created_at="2026-11-24T02:00:00+00:00",
    )
    return replace(made, **other)  # type: ignore[arg-type]


def published(place: str, count: int = 1, *, name: str = "mill") -> list[Version]:
    return [
        versions.publish(place, f"{i}".encode(), record(f"{i}".encode(), name=name, run=f"run-{i}"))
        for i in range(count)
    ]


def claimed(place: str, number: int) -> None:
    """What a publisher leaves that was killed before it wrote the record."""
    for file in ("claim.json", "model.safetensors"):
        storage.write(storage.join(place, "sr", "mill", str(number), file), b"left behind")


def promoted(place: str, *numbers: int) -> None:
    for number in numbers:
        versions.promote(place, "sr", "mill", number, reason=f"to {number}")


def office(place: str) -> tuple[int, int | None] | None:
    """The champion's number and whom a rollback leads to."""
    now = versions.champion(place, "sr", "mill")
    return None if now is None else (now.version.version, now.previous)


class TestPublishing:
    """Numbers are given once, and a version appears with its record."""

    def test_versions_are_numbered_from_one_and_read_back(self, store: str) -> None:
        made = published(store, 3)
        assert [v.version for v in made] == [1, 2, 3]
        assert versions.list_versions(store, "sr", "mill") == made
        assert made[2].ref == "mill@3"
        assert versions.read_record(made[2]) == record(b"2", run="run-2")
        assert storage.read(made[2].weights_uri) == b"2"
        root = storage.normalise(store)
        assert made[2].weights_uri == storage.join(root, "sr/mill/3/model.safetensors")
        assert made[2].record_uri == storage.join(root, "sr/mill/3/model.json")
        assert versions.list_names(store, "sr") == ["mill"]

    def test_racing_publishers_get_different_numbers(self, store: str) -> None:
        start = threading.Barrier(8)

        def work(i: int) -> Version:
            start.wait()
            # the same run and equal weights: even then each has a claim of its own
            return versions.publish(store, WEIGHTS, record(parent=f"mill@{i}"))

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(work, range(8)))
        assert sorted(v.version for v in made) == list(range(1, 9))
        parents = [versions.read_record(v).parent for v in made]
        assert parents == [f"mill@{i}" for i in range(8)]

    def test_a_resumed_run_finds_what_it_has_published(self, store: str) -> None:
        first = versions.publish(store, WEIGHTS, record())
        again = replace(record(), created_at="2026-11-24T03:00:00+00:00")
        assert versions.publish(store, WEIGHTS, again) == first
        assert versions.published_by(store, "sr", "mill", "r") == [first]
        assert versions.published_by(store, "sr", "mill", "q") == []
        others = [record(run="q"), record(dataset_digest="d2"), record(parent=None), record(b"x")]
        for number, other in enumerate(others, 2):
            weights = b"x" if other is others[-1] else WEIGHTS
            assert versions.publish(store, weights, other).version == number

    def test_an_abandoned_claim_is_skipped_by_readers_and_its_number_is_not_used(
        self, store: str
    ) -> None:
        published(store)
        claimed(store, 2)
        assert [v.version for v in versions.list_versions(store, "sr", "mill")] == [1]
        assert versions.promote(store, "sr", "mill", None, reason="newest").version.version == 1
        with pytest.raises(RegistryError, match=r"mill@2 was never finished: .* versions 1$"):
            versions.resolve(store, "sr", "mill@2")
        with pytest.raises(RegistryError, match="mill@2 was never finished"):
            promoted(store, 2)
        assert versions.publish(store, b"z", record(b"z", run="z")).version == 3
        assert storage.read(storage.join(store, "sr/mill/2/claim.json")) == b"left behind"

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"digest": "0" * 16}, "digest must be"),
            ({"run": ""}, "a run are needed"),
            ({"metrics": {"psnr_y": float("nan")}}, "no JSON"),
            ({"config": {"scale": object()}}, "no JSON"),
            ({"name": "Mill"}, "name of a model .* got 'Mill'"),
            ({"name": ".."}, "name of a model"),
            ({"name": "a@2"}, "name of a model"),
            ({"name": "a/b"}, "name of a model"),
            ({"system": "../x"}, "name of a system"),
        ],
    )
    def test_a_wrong_record_is_refused_and_nothing_is_written(
        self, tmp_path: object, wrong: dict[str, object], words: str
    ) -> None:
        place = f"{tmp_path}/registry"
        with pytest.raises(RegistryError, match=words):
            versions.publish(place, WEIGHTS, record(**wrong))  # type: ignore[arg-type]
        assert not storage.is_folder(place)

    def test_secrets_of_the_dataset_s_uri_are_not_recorded(self, tmp_path: object) -> None:
        secret = record(dataset="https://me:pass@host/data")
        assert (
            "pass"
            not in versions.read_record(versions.publish(f"{tmp_path}", WEIGHTS, secret)).dataset
        )


class TestTheChampion:
    """One version is in use; a rollback leads back, step by step."""

    def test_there_is_none_before_the_first_promotion(self, store: str) -> None:
        published(store, 2)
        assert versions.champion(store, "sr", "mill") is None

    def test_promotions_are_kept_in_order_with_their_reasons(self, store: str) -> None:
        made = published(store, 3)
        promoted(store, 1, 3)
        now = versions.champion(store, "sr", "mill")
        assert now is not None
        assert (now.version, now.previous, now.reason) == (made[2], 1, "to 3")
        assert [(p.version, p.reason, p.rollback) for p in now.history] == [
            (1, "to 1", False),
            (3, "to 3", False),
        ]
        assert now.promoted_at == now.history[-1].promoted_at
        assert now.promoted_at.endswith("+00:00")

    def test_promoting_the_champion_changes_nothing(self, store: str) -> None:
        published(store, 2)
        promoted(store, 1, 2)
        before = storage.stat(storage.join(store, "sr/mill/champion.json"))
        kept = versions.champion(store, "sr", "mill")
        assert versions.promote(store, "sr", "mill", None, reason="again") == kept
        assert versions.promote(store, "sr", "mill", 2, reason="again") == kept
        assert storage.stat(storage.join(store, "sr/mill/champion.json")) == before

    def test_rollbacks_undo_promotions_one_by_one(self, store: str) -> None:
        published(store, 3)
        promoted(store, 1, 2, 1, 3)
        seen = [office(store)]
        for _ in range(3):
            versions.rollback(store, "sr", "mill", reason="worse")
            seen.append(office(store))
        assert seen == [(3, 1), (1, 2), (2, 1), (1, None)]
        with pytest.raises(RegistryError, match="no champion came before mill@1"):
            versions.rollback(store, "sr", "mill", reason="worse")
        promoted(store, 2)
        assert office(store) == (2, 1)
        history = versions.champion(store, "sr", "mill").history  # type: ignore[union-attr]
        assert [p.version for p in history] == [1, 2, 1, 3, 1, 2, 1, 2]

    def test_a_rollback_to_what_is_gone_is_refused_and_changes_nothing(self, store: str) -> None:
        first, _ = published(store, 2)
        promoted(store, 1, 2)
        storage.delete(first.record_uri)
        with pytest.raises(RegistryError, match="mill@1 was never finished"):
            versions.rollback(store, "sr", "mill", reason="worse")
        assert office(store) == (2, 1)

    @pytest.mark.parametrize(
        "damage", [b"", b"{}", b'{"version": 2, "history": []}', b"[1]", b'{"version": 1, "hist']
    )
    def test_a_damaged_file_is_an_error_that_names_it(
        self, tmp_path: object, damage: bytes
    ) -> None:
        published(f"{tmp_path}")
        storage.write(f"{tmp_path}/sr/mill/champion.json", damage)
        with pytest.raises(ValueError, match=r"champion\.json is damaged"):
            versions.resolve(f"{tmp_path}", "sr", "mill")

    def test_its_version_is_the_last_of_its_history(self, tmp_path: object) -> None:
        published(f"{tmp_path}", 2)
        promoted(f"{tmp_path}", 1)
        uri = f"{tmp_path}/sr/mill/champion.json"
        edited = {**json.loads(storage.read(uri)), "version": 2}
        storage.write(uri, json.dumps(edited).encode())
        with pytest.raises(ValueError, match="not the last of its history"):
            versions.champion(f"{tmp_path}", "sr", "mill")


class TestReferences:
    """NAME is its champion, NAME@VERSION itself; what is not there lists what is."""

    def test_what_references_mean(self, store: str) -> None:
        made = published(store, 2)
        promoted(store, 1)
        assert versions.resolve(store, "sr", "mill") == made[0]
        assert versions.resolve(store, "sr", "mill@2") == made[1]
        assert versions.resolve(store, "sr", "mill@v2") == made[1]

    @pytest.mark.parametrize(
        ("ref", "words"),
        [
            ("mil", r"no sr model named 'mil' in .*, which has: mill, other$"),
            ("mil@1", r"no sr model named 'mil' in .*, which has: mill, other$"),
            ("mill", "mill has no champion yet: .* mill@1, mill@2$"),
            ("mill@3", "mill@3 is not there: mill has the versions 1, 2$"),
            ("mill@0", "a version is a number from 1 on.* got 'mill@0'"),
            ("mill@new", "a version is a number from 1 on.* got 'mill@new'"),
            ("mill@", "a version is a number"),
            ("mill@" + "9" * 5000, "a version is a number"),
            ("Mill", "name of a model"),
            ("", "name of a model"),
        ],
    )
    def test_what_is_said_of_a_wrong_one(self, tmp_path: object, ref: str, words: str) -> None:
        published(f"{tmp_path}", 2)
        published(f"{tmp_path}", name="other")
        with pytest.raises(RegistryError, match=words):
            versions.resolve(f"{tmp_path}", "sr", ref)

    def test_an_empty_registry_says_so(self, store: str) -> None:
        for ref in ("mill", "mill@1"):
            with pytest.raises(RegistryError, match="which has: none"):
                versions.resolve(store, "sr", ref)
        with pytest.raises(RegistryError, match="which has: none"):
            promoted(store, 1)
        with pytest.raises(RegistryError, match="which has: none"):
            versions.rollback(store, "sr", "mill", reason="worse")

    def test_a_damaged_record_is_an_error_that_names_it(self, tmp_path: object) -> None:
        (made,) = published(f"{tmp_path}")
        storage.write(made.record_uri, b'{"system": "sr"}')
        with pytest.raises(ValueError, match=r"1/model\.json is damaged"):
            versions.read_record(made)


class TestTheCommands:
    """What `promote` and `models` say."""

    def test_promote_says_what_was_and_what_is(self, store: str) -> None:
        published(store, 3)
        where = storage.join(storage.normalise(store), "sr/mill")
        lines = [
            change_champion(store, "sr", "mill", version=1),
            change_champion(store, "sr", "mill", reason="a better loss"),
            change_champion(store, "sr", "mill"),
            change_champion(store, "sr", "mill", rollback=True, reason="halos"),
        ]
        assert lines == [
            f"mill: champion is now version 1 (was none), promoted by hand: {where}",
            f"mill: champion is now version 3 (was 1), a better loss: {where}",
            f"mill: version 3 is champion already, nothing was changed: {where}",
            f"mill: champion is now version 1 (was 3), halos: {where}",
        ]

    def test_wrong_requests(self, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RequestError, match="no version beside it"):
            change_champion(f"{tmp_path}", "sr", "mill", version=1, rollback=True)
        with pytest.raises(RequestError, match="no sr model named 'mill'"):
            version_table(f"{tmp_path}", "sr", "mill")
        monkeypatch.delenv("PIXELMILL_REGISTRY", raising=False)
        with pytest.raises(RequestError, match="--registry, or PIXELMILL_REGISTRY"):
            version_table(None, "sr")
        monkeypatch.setenv("PIXELMILL_REGISTRY", f"{tmp_path}")
        published(f"{tmp_path}")
        assert len(version_table(None, "sr")) == 2

    def test_the_table_marks_the_champion(self, tmp_path: object) -> None:
        published(f"{tmp_path}", 2)
        published(f"{tmp_path}", name="other")
        promoted(f"{tmp_path}", 2)
        head, *rows = (line.split() for line in version_table(f"{tmp_path}", "sr"))
        assert head == ["model", "made", "dataset", "parent", "metrics"]
        assert [row[:2] for row in rows] == [
            ["mill@1", "2026-11-24"],
            ["*", "mill@2"],
            ["other@1", "2026-11-24"],
        ]
        assert rows[0][-2:] == ["psnr_y", "37.5"]
        assert len(version_table(f"{tmp_path}", "sr", "other")) == 2
