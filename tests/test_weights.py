"""Backbone weights: files, the cache, and a network that is not there."""

from __future__ import annotations

import socket
import time
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from models import CTRBOX, IMAGENET, PUBLISHED, WEIGHTS_URLS, build_backbone
from tools.architecture import Architecture
from tools.checkpoint import CheckpointError, load_file, save_checkpoint
from tools.training import weights
from tools.training.weights import find_backbone_weights, preprocessing_of, pretrained_backbone, start_from

ARCHITECTURE = Architecture("resnet18", "batch", ("car", "boat"), (96, 160), IMAGENET)
HM_LAST = {"hm.3.weight", "hm.3.bias"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ARCHITECTURE.build()


@pytest.fixture(scope="module")
def published():
    """Weights by the names and of the shapes of the published resnet101; each tensor has one value, to be small."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in CTRBOX(15, "resnet101").state_dict().items()}
    return {f"module.{name}": torch.tensor(float(row)).expand(shapes[name]) for row, name in enumerate(shapes)}


def _differing(model, weights):
    """Names of tensors of the model that are not those of the weights."""
    return {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No route to anywhere, and an empty cache."""

    def refuse(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_none_asks_for_nothing(monkeypatch):
    monkeypatch.setattr(weights, "_fetch", lambda *_: pytest.fail("asked the network"))
    assert find_backbone_weights("none", "resnet18")[0] is None


def test_auto_without_network_says_so_in_one_line_and_goes_on(no_network):
    """Defect 9: no network was a crash."""
    started = time.perf_counter()
    found, line = find_backbone_weights("auto", "resnet18")
    assert found is None
    assert "random weights" in line
    assert "\n" not in line
    assert time.perf_counter() - started < weights.PROBE_SECONDS + 1


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch, tmp_path):
    def hang(*_, **__):
        time.sleep(30)
        raise OSError("timed out")

    monkeypatch.setattr(weights, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    started = time.perf_counter()
    assert "does not answer within 0.2 s" in find_backbone_weights("auto", "resnet18")[1]
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("url", "proxies", "hop"),
    [
        ("https://a.org/x.pth", {}, ("a.org", 443)),
        ("http://mirror:8080/x", {}, ("mirror", 8080)),
        ("https://a.org/x.pth", {"https_proxy": "http://proxy.firm:3128"}, ("proxy.firm", 3128)),
        ("https://a.org/x.pth", {"all_proxy": "proxy.firm:8080"}, ("proxy.firm", 8080)),
        ("https://a.org/x.pth", {"https_proxy": "http://proxy.firm:3128", "no_proxy": "a.org"}, ("a.org", 443)),
    ],
)
def test_a_proxy_is_asked_where_there_is_one(monkeypatch, url, proxies, hop):
    """The download goes by it, and the host itself does not answer: weights were random for want of an answer."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: asked.append(address) or socket.socket())
    weights._probe(url)
    assert asked == [hop]


def test_imagenet_without_network_names_address_and_cache(no_network):
    with pytest.raises(CheckpointError) as caught:
        find_backbone_weights("imagenet", "resnet18")
    assert WEIGHTS_URLS["resnet18"] in str(caught.value)
    assert str(no_network / "resnet18-f37072fd.pth") in str(caught.value)


def test_the_cache_is_used_without_the_network(no_network):
    no_network.mkdir(parents=True)
    torch.save(build_backbone("resnet18").state_dict(), no_network / "resnet18-f37072fd.pth")
    found, line = find_backbone_weights("auto", "resnet18")
    assert "ImageNet" in line
    build_backbone("resnet18", found)


def test_a_file_of_a_whole_model_gives_its_base_network(tmp_path):
    model = CTRBOX(2, "resnet18")
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "x.pth")
    found, _ = find_backbone_weights(str(tmp_path / "x.pth"), "resnet18")
    built = build_backbone("resnet18", found)
    assert torch.equal(built.conv1.weight, model.base_network.conv1.weight)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file"):
        find_backbone_weights(str(tmp_path / "no.pth"), "resnet18")


def test_real_mobilenet_weights_load(real_folder):
    path = real_folder("weights") / "mobilenet_v2_imagenet.pth"
    found, line = find_backbone_weights(str(path), "mobilenetv2")
    assert str(path) in line
    backbone = build_backbone("mobilenetv2", found)
    assert torch.equal(backbone.state_dict()["features.0.0.weight"], found["features.0.0.weight"])


def test_weights_of_another_backbone_are_refused(real_folder):
    found, _ = find_backbone_weights(str(real_folder("weights") / "mobilenet_v2_imagenet.pth"), "resnet18")
    with pytest.raises(ValueError, match="not of backbone 'resnet18'"):
        build_backbone("resnet18", found)


@pytest.mark.slow
def test_a_checkpoint_of_ours_starts_a_run_with_all_its_weights(model, tmp_path):
    save_checkpoint(tmp_path / "数据 1.pth", model, ARCHITECTURE)
    start = start_from(tmp_path / "数据 1.pth", ("car", "boat"), (64, 64), "resnet101")
    assert not _differing(start.model, model.state_dict())
    assert start.report.is_whole
    assert start.architecture == Architecture("resnet18", "batch", ("car", "boat"), (64, 64), IMAGENET)
    assert str(start.report) == "168 tensors matched (100 %), 0 re-shaped, 0 missing, 0 unknown"


@pytest.mark.slow
@pytest.mark.parametrize("names", [("a", "b", "c"), ("ship", "plane")])
def test_other_classes_renew_the_last_layer_of_hm_alone(model, tmp_path, names):
    save_checkpoint(tmp_path / "best.pth", model, ARCHITECTURE)
    start = start_from(tmp_path / "best.pth", names, (96, 160))
    weights = model.state_dict()
    assert _differing(start.model, weights) - HM_LAST == set()
    assert start.model.hm[3].weight.shape == (len(names), 256, 1, 1)
    assert not set(start.model.hm[3].weight.ravel().tolist()) & set(weights["hm.3.weight"].ravel().tolist())
    assert set(start.report.renewed) == HM_LAST
    assert len(start.report.matched) == 166
    assert str(start.report).endswith(
        "(100 %), 0 re-shaped, 0 missing, 0 unknown, started anew: hm.3.weight, hm.3.bias"
    )


@pytest.mark.slow
@pytest.mark.parametrize("names", [("boat", "car"), ("car",), ("bus", "boat", "car"), ("boat", "van")])
def test_known_classes_keep_what_was_learnt_of_them_in_any_order(model, tmp_path, names):
    """The same data with its classes in another order went from mAP50 0.48 to 0.16 by one step of training."""
    save_checkpoint(tmp_path / "best.pth", model, ARCHITECTURE)
    start = start_from(tmp_path / "best.pth", names, (96, 160))
    old, new, fresh = model.hm[3], start.model.hm[3], start.architecture.build().hm[3]
    for number, name in enumerate(names):
        if name in ARCHITECTURE.class_names:
            row = ARCHITECTURE.class_names.index(name)
            assert torch.equal(new.weight[number], old.weight[row])
            assert new.bias[number] == old.bias[row]
        else:
            assert not set(new.weight[number].ravel().tolist()) & set(old.weight.ravel().tolist())
            assert new.bias[number] == fresh.bias[number]
    kept = ", ".join(name for name in names if name in ARCHITECTURE.class_names)
    assert str(start.report).endswith(f"started anew: hm.3.weight, hm.3.bias, but for the classes {kept}")


@pytest.mark.slow
def test_a_known_class_of_damaged_weights_is_refused(model, tmp_path):
    damaged = deepcopy(model)
    with torch.no_grad():
        damaged.hm[3].bias[0] = torch.nan
    save_checkpoint(tmp_path / "best.pth", damaged, ARCHITECTURE)
    with pytest.raises(CheckpointError, match="not finite"):
        start_from(tmp_path / "best.pth", ("boat", "car"), (96, 160))


@pytest.mark.slow
def test_the_average_is_taken_where_there_is_one(model, tmp_path):
    average = {f"module.{name}": torch.full_like(value, 3) for name, value in model.state_dict().items()}
    save_checkpoint(tmp_path / "last.pth", model, ARCHITECTURE, ema_state_dict=average | {"n_averaged": torch.ones(())})
    assert (start_from(tmp_path / "last.pth", ("car", "boat"), (96, 160)).model.hm[0].weight == 3).all()


@pytest.mark.slow
def test_a_published_file_is_resnet101_in_its_own_colours(published, tmp_path):
    path = tmp_path / "model_50.pth"
    torch.save({"epoch": 50, "model_state_dict": published, "optimizer_state_dict": {"state": {}}}, path)
    start = start_from(path, ("ship",), (640, 640))
    assert start.architecture == Architecture("resnet101", "none", ("ship",), (640, 640), PUBLISHED)
    assert start.report.renewed == ("hm.2.weight", "hm.2.bias")
    weights = {name.removeprefix("module."): value for name, value in published.items()}
    del weights["hm.2.weight"], weights["hm.2.bias"]
    loaded = start.model.state_dict()
    assert {name for name in weights if not torch.equal(loaded[name], weights[name].to(loaded[name].dtype))} == set()


@pytest.mark.slow
def test_a_published_file_of_dota_keeps_hm_for_the_same_classes(published, tmp_path):
    torch.save({"model_state_dict": published}, tmp_path / "x.pth")
    names = tuple(
        "plane baseball-diamond bridge ground-track-field small-vehicle large-vehicle ship tennis-court "
        "basketball-court storage-tank soccer-ball-field roundabout harbor swimming-pool helicopter".split()
    )
    start = start_from(tmp_path / "x.pth", names, (608, 608))
    assert start.report.is_whole
    assert torch.equal(start.model.hm[2].weight, published["module.hm.2.weight"])


def test_a_bare_state_dict_of_a_named_backbone_keeps_hm_for_as_many_classes(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "x.pth")
    start = start_from(tmp_path / "x.pth", ("car", "boat"), (96, 160), "resnet18")
    assert not _differing(start.model, model.state_dict())
    assert (start.architecture.head_norm, start.architecture.preprocessing) == ("batch", PUBLISHED)


@pytest.mark.slow
def test_the_backbone_that_a_published_file_is_of_is_told(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"CTRBOX on resnet101, 90% are needed: .* give --backbone resnet18;"):
        start_from(tmp_path / "x.pth", ("car", "boat"), (96, 160))


@pytest.mark.slow
def test_a_foreign_file_with_no_matching_key_is_refused_with_counts(tmp_path):
    """Defect 11: strict=False took a checkpoint with no matching key, and the boxes were random."""
    torch.save({f"encoder.{number}": torch.ones(3) for number in range(9)}, tmp_path / "x.pth")
    sentence = r"x\.pth: nothing in it is of CTRBOX on resnet101: 0 tensors .* 9 unknown .*name it with --backbone"
    for allowed in (False, True):
        with pytest.raises(CheckpointError, match=sentence):
            start_from(tmp_path / "x.pth", ("car",), (96, 160), allow_partial=allowed)


@pytest.mark.slow
def test_a_backbone_alone_belongs_to_another_flag(tmp_path):
    torch.save(build_backbone("resnet18").state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="only the backbone resnet18: give --backbone resnet18 --pretrained FILE"):
        start_from(tmp_path / "x.pth", ("car",), (96, 160))


@pytest.mark.slow
def test_half_a_model_needs_to_be_allowed(model, tmp_path):
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(("dec", "wh", "reg"))}
    torch.save(weights, tmp_path / "x.pth")
    sentence = "the backbone fits, but what comes after it does not; --allow_partial starts from what matches"
    with pytest.raises(CheckpointError, match=sentence):
        start_from(tmp_path / "x.pth", ("car", "boat"), (96, 160), "resnet18")
    start = start_from(tmp_path / "x.pth", ("car", "boat"), (96, 160), "resnet18", allow_partial=True)
    assert torch.equal(start.model.hm[3].weight, model.hm[3].weight)
    assert len(start.report.missing) == 36 + 2 * 8  # of three combination modules and two heads
    assert "52 missing (dec_c4.up.0.weight, dec_c4.up.0.bias, dec_c4.up.1.weight, ...)" in str(start.report)


@pytest.mark.slow
def test_a_checkpoint_whose_architecture_was_edited_is_told_apart(model, tmp_path):
    save_checkpoint(tmp_path / "best.pth", model, ARCHITECTURE)
    content = load_file(tmp_path / "best.pth")
    content["architecture"]["backbone"] = "resnet50"
    torch.save(content, tmp_path / "edited.pth")
    with pytest.raises(CheckpointError, match=r"edited\.pth: .* contradict each other; edited\?"):
        start_from(tmp_path / "edited.pth", ("car", "boat"), (96, 160))
    content["architecture"]["class_names"] = "car boat"
    torch.save(content, tmp_path / "edited.pth")
    with pytest.raises(CheckpointError, match="class_names is 'car boat'"):
        start_from(tmp_path / "edited.pth", ("car", "boat"), (96, 160))


def test_the_share_of_a_backbone_file_is_told(model, tmp_path):
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"model_state_dict": weights, "epoch": 3}, tmp_path / "whole.pth")
    backbone, line = pretrained_backbone(str(tmp_path / "whole.pth"), "resnet18")
    assert torch.equal(backbone.conv1.weight, model.base_network.conv1.weight)
    assert line == (
        f"backbone: weights of {tmp_path / 'whole.pth'}: 100 tensors matched (100 %), 0 re-shaped, 0 missing, 0 unknown"
    )


def test_the_base_network_of_a_whole_model_reads_pixels_as_that_does(model, tmp_path):
    """Of published weights, BGR / 255 - 0.5: as RGB with ImageNet's mean it saw inputs four times as large."""
    torch.save({"model_state_dict": model.state_dict(), "epoch": 3}, tmp_path / "published.pth")
    save_checkpoint(
        tmp_path / "ours.pth", model, Architecture("resnet18", "batch", ("a",), (96, 160), PUBLISHED), epoch=1
    )
    torch.save(model.base_network.state_dict(), tmp_path / "backbone.pth")
    assert preprocessing_of(str(tmp_path / "published.pth")) == PUBLISHED
    assert preprocessing_of(str(tmp_path / "ours.pth")) == PUBLISHED
    assert preprocessing_of(str(tmp_path / "backbone.pth")) == IMAGENET
    assert preprocessing_of("auto") == preprocessing_of("none") == IMAGENET


@pytest.mark.slow
def test_a_backbone_file_needs_ninety_percent_of_the_backbone(tmp_path):
    weights = build_backbone("resnet18").state_dict()
    first = [name for name in weights if not name.endswith("num_batches_tracked")]
    torch.save({name: weights[name] for name in first[10:]}, tmp_path / "enough.pth")
    assert "90 tensors matched (90 %)" in pretrained_backbone(str(tmp_path / "enough.pth"), "resnet18")[1]
    torch.save({name: weights[name] for name in first[11:]}, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"less\.pth: .* 89 tensors matched \(89 %\), .* 11 missing \(conv1"):
        pretrained_backbone(str(tmp_path / "less.pth"), "resnet18")
    assert "89 tensors" in pretrained_backbone(str(tmp_path / "less.pth"), "resnet18", allow_partial=True)[1]


def test_without_weights_the_backbone_is_random_and_says_so():
    backbone, line = pretrained_backbone("none", "resnet18")
    assert backbone.out_channels == (64, 128, 256, 512)
    assert line == "backbone: random weights (--pretrained none)"


@pytest.mark.slow
def test_the_real_mobilenet_weights_are_whole_and_of_no_other_backbone(real_folder):
    path = real_folder("weights") / "mobilenet_v2_imagenet.pth"
    line = pretrained_backbone(str(path), "mobilenetv2")[1]
    assert line.endswith("255 tensors matched (100 %), 0 re-shaped, 0 missing, 0 unknown")
    sentence = "nothing in it is of the backbone resnet18: .*its backbone is mobilenetv2: give --backbone mobilenetv2"
    with pytest.raises(CheckpointError, match=sentence):
        pretrained_backbone(str(path), "resnet18")
    with pytest.raises(CheckpointError, match="give --backbone mobilenetv2 --pretrained FILE"):
        start_from(path, ("car",), (96, 160))


@pytest.mark.slow
@pytest.mark.parametrize("bands", [(12, 11, 8, 4, 3, 2), (8, 3, 4), (4, 3, 2, 8, 11, 12, 5), (2, 3, 9)])
def test_a_network_of_other_bands_keeps_what_it_has_learnt_of_each(tmp_path, bands):
    """By their places short-wave infrared got the weights of red."""
    before = replace(
        IMAGENET.for_channels(6), bands=(4, 3, 2, 8, 11, 12), mean=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), std=(0.2,) * 6
    )
    architecture, path = replace(ARCHITECTURE, preprocessing=before), tmp_path / "six.pth"
    save_checkpoint(path, architecture.build(), architecture)
    source = start_from(path, ("car", "boat"), (64, 64))
    start = start_from(path, ("car", "boat"), (64, 64), in_channels=len(bands), bands=bands)
    colours = start.architecture.preprocessing
    assert (colours.bands, colours.color) == (bands, "rgb")
    known = dict(zip(before.bands, before.mean, strict=True))
    assert colours.mean == pytest.approx([known.get(band, 0.35) for band in bands])
    assert start.report.adapted == ("base_network.conv1.weight",)
    # What both read is the same, and all else is the mean, which says nothing: they answer alike.
    levels = torch.rand(1, 32, 32, 13, generator=torch.Generator().manual_seed(0))
    inputs = []
    for reading, model in ((before, source.model), (colours, start.model)):
        shared = {*before.bands} & {*bands}
        channels = [(levels[..., band] if band in shared else torch.zeros(1, 32, 32)) for band in reading.channel_bands]
        inputs.append(model.eval().base_network(torch.stack(channels, dim=1))[-1])
    torch.testing.assert_close(*inputs)


@pytest.mark.slow
def test_weights_of_colours_start_a_backbone_and_a_whole_model_for_grey_pictures(tmp_path):
    source, path = ARCHITECTURE.build(), tmp_path / "colours.pth"
    save_checkpoint(path, source, ARCHITECTURE)
    summed = source.base_network.conv1.weight.sum(dim=1, keepdim=True)
    backbone, line = pretrained_backbone(str(path), "resnet18", in_channels=1)
    assert torch.equal(backbone.conv1.weight, summed)
    assert "(100 %)" in line
    assert "made to fit the bands of the pictures: conv1.weight" in line
    start = start_from(path, ("car", "boat"), (64, 64), in_channels=1)
    assert start.report.adapted == ("base_network.conv1.weight",)
    assert torch.equal(start.model.base_network.conv1.weight, summed)
    assert torch.equal(start.model.hm[0].weight, source.hm[0].weight)
    assert start.report.is_whole
    assert start.architecture.preprocessing == IMAGENET.for_channels(1)
    # And on from there: what was saved is of one channel, and goes on as such without being asked.
    save_checkpoint(path, start.model, start.architecture)
    again = start_from(path, ("car", "boat"), (64, 64))
    assert (again.architecture.in_channels, again.report.is_whole, again.report.adapted) == (1, True, ())
    assert start_from(path, ("car", "boat"), (64, 64), in_channels=3).model.base_network.conv1.in_channels == 3
