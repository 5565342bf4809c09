"""Starting from weights that lie on disk."""

import json

import pytest
import torch

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.config.model import LeanCnn
from tune_digits.errors import ConfigError
from tune_digits.learn.models import build_model, check_model
from tune_digits.learn.models.transfer import load_matching, read_run, read_weights
from tune_digits.study import make_study
from tune_digits.validate import validate

SMALL = {"width": 4, "depth": 1}


def build(seed, classes=5, channels=1, **knobs):
    torch.manual_seed(seed)
    stats = (0.1 * seed,) * channels, (1.0 + seed,) * channels
    return build_model(LeanCnn(**SMALL, **knobs), channels, 12, 12, classes, *stats)


@pytest.fixture
def run(tmp_path):
    """A run folder with an ensemble of two members."""
    folder = tmp_path / "run" / "ensemble"
    members = ["members/a.safetensors", "members/b.safetensors"]
    for seed, name in enumerate(members, 1):
        disk.write_tensors(folder / name, build(seed).state_dict(), {})
    (folder / "manifest.json").write_text(json.dumps({"members": members}))
    return folder.parent


def test_everything_of_equal_name_and_shape_is_copied_but_the_normalisation():
    source, target = build(1), build(2)
    report = load_matching(target, source.state_dict())
    for name, tensor in target.state_dict().items():
        wanted = build(2) if name.startswith("normalize.") else source
        torch.testing.assert_close(tensor, wanted.state_dict()[name], rtol=0, atol=0)
    assert report.left_out == ()
    assert set(report.copied) == {n for n in target.state_dict() if not n.startswith("normalize.")}


def test_another_number_of_classes_keeps_its_own_classifier():
    source, target, fresh = build(1, classes=5), build(2, classes=9), build(2, classes=9)
    report = load_matching(target, source.state_dict())
    classifier = [n for n in target.state_dict() if n.startswith("network.14.")]
    assert set(report.left_out) == set(classifier) and len(classifier) == 2
    for name in classifier:
        torch.testing.assert_close(target.state_dict()[name], fresh.state_dict()[name], rtol=0, atol=0)
    first = "network.0.weight"
    torch.testing.assert_close(target.state_dict()[first], source.state_dict()[first], rtol=0, atol=0)


def test_names_match_without_the_prefixes_of_wrappers():
    source, target = build(1), build(2)
    named = {n.removeprefix("network."): t for n, t in source.state_dict().items()}
    bare = load_matching(
        target, {f"module.{n}": t for n, t in named.items() if not n.startswith("normalize")}
    )
    assert bare.left_out == ()
    assert torch.equal(target.state_dict()["network.0.weight"], source.state_dict()["network.0.weight"])


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ConfigError, match=r"no weight fits this model: given are fc\.weight \(3, 4\)"):
        load_matching(build(1), {"fc.weight": torch.zeros(3, 4)})
    # counters and biases fit by chance
    counters = {n: t for n, t in build(1).state_dict().items() if t.ndim < 2}
    with pytest.raises(ConfigError, match="no weight fits"):
        load_matching(build(2), counters)


@pytest.mark.parametrize("below", ["", "ensemble"])
def test_init_from_takes_the_first_member_of_a_run(run, below):
    model, first = build(3, init_from=str(run / below)), build(1)
    own = {n: t for n, t in model.state_dict().items() if not n.startswith("normalize.")}
    torch.testing.assert_close(own, {n: first.state_dict()[n] for n in own}, rtol=0, atol=0)
    assert model.normalize.mean.item() == pytest.approx(0.3)
    taken = check_model(LeanCnn(**SMALL, init_from=str(run / below)), 1, 12, 12, 9)
    assert set(taken.left_out) == {"network.14.weight", "network.14.bias"}
    assert check_model(LeanCnn(**SMALL), 1, 12, 12, 9) is None


def test_weights_files_of_each_kind(tmp_path):
    state = {k: v.contiguous() for k, v in build(1).state_dict().items()}
    disk.write_tensors(tmp_path / "w.safetensors", state, {})
    torch.save(state, tmp_path / "w.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "deep.pth")
    for name in ("w.safetensors", "w.pt", "deep.pth"):
        torch.testing.assert_close(read_weights(tmp_path / name), state, rtol=0, atol=0)
        model = build(2, weights=str(tmp_path / name))
        assert torch.equal(model.state_dict()["network.0.weight"], state["network.0.weight"])


def test_files_that_cannot_be_used_are_named(tmp_path, run):
    # a pickled object could run code when it is read
    torch.save({"fc.weight": torch.zeros(2, 2), "object": tmp_path}, tmp_path / "code.pt")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    for name, words in {
        "code.pt": "code.pt: cannot be read",
        "bad.safetensors": "bad.safetensors: cannot be read",
        "empty.pt": "holds no named tensors",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_weights(tmp_path / name)
    (run / "ensemble/members/a.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"init_from.*a\.safetensors: missing"):
        read_run(run)
    with pytest.raises(ConfigError, match=r"holds no ensemble"):
        read_run(tmp_path)


def test_paths_are_checked_where_a_study_is_read_and_nowhere_else(tmp_path, run):
    def read(**model):
        return validate(TrialConfig, {"model": {"name": "lean_cnn", **model}}, "my.yaml: trial")

    with pytest.raises(ConfigError, match=r"trial\.model\.init_from: is no run with an ensemble"):
        read(init_from=str(tmp_path))
    with pytest.raises(ConfigError, match=r"trial\.model\.weights: there is no such file"):
        read(weights=str(tmp_path / "none.pt"))
    assert read(init_from=str(run)).model.init_from == str(run)
    with pytest.raises(ConfigError, match="exclude each other"):
        read(init_from=str(run), weights=str(run / "ensemble/members/a.safetensors"))
    # a trained network outlives the weights it started from
    gone = TrialConfig.model_validate({"model": {"name": "lean_cnn", "init_from": "gone"}})
    assert gone.model.without_start() == LeanCnn()


def test_a_study_makes_its_paths_absolute(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    raw = {
        "trial": {
            "model": {
                "one_of": [{"name": "lean_cnn", "init_from": {"choice": [None, "run"]}}, {"name": "keras8"}]
            }
        },
        "baseline": {"model.init_from": "run"},
    }
    study = make_study(raw, "my.yaml", "my", {})
    node = study.space.parameters()["model.lean_cnn.init_from"]
    assert node.values == (None, str(run.resolve()))
    assert study.space.point(study.space.baseline)[1]["model"]["init_from"] == str(run.resolve())
