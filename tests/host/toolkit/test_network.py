"""A network from its layers to the chip and the cloud, on the golden model of the chip `tiny`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import lepton.device  # noqa: E402
from lepton import LeptonChip, LeptonCloud, LeptonToolkit  # noqa: E402
from lepton.results import Store  # noqa: E402
from lepton.results.keyring_files import load_keyring  # noqa: E402
from lepton.results.verify import read  # noqa: E402
from lepton.toolkit import zoo  # noqa: E402
from lepton.toolkit.data import DataError  # noqa: E402
from lepton.toolkit.layers import LayerError  # noqa: E402
from lepton.toolkit.network import ToolkitError  # noqa: E402
from lepton.toolkit.pruning import pruned  # noqa: E402
from lepton.toolkit.zoo import train_digits_features  # noqa: E402
from torch import nn  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return train_digits_features.pictures()


def network():
    torch.manual_seed(0)
    made = LeptonToolkit().load_pretrained_model("digits-features")
    made.add_conv_layer(3, 12, 3)
    made.add_pooling_layer(2, 2)
    return made.add_dense_layer(None, 10)


@pytest.fixture(scope="module")
def trained(digits):
    x, y = digits
    made = network().compile(LeptonChip("golden", "tiny"), optimizer="adam", loss="categorical_crossentropy")
    made.fit(x[:900], np.eye(10)[y[:900]], epochs=4, verbose=False)
    return made


def test_layers_are_added_and_shown():
    made = network()
    assert made.output_shape == (10,)
    text = str(made)
    assert "digits-features: input 1x8x8" in text and "Conv2d     12x8x8         336" in text
    with pytest.raises(LayerError, match="the layer takes 4 channels, but what precedes it has 3"):
        LeptonToolkit().load_pretrained_model("digits-features").add_conv_layer(4, 12, 3)
    with pytest.raises(ValueError, match="model must be one of digits-features, not 'model_name'"):
        LeptonToolkit().load_pretrained_model("model_name")
    with pytest.raises(LayerError, match="activation must be one of relu, "):
        made.add_dense_layer(None, 2, activation="mish")


def test_from_training_to_the_cloud(trained, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    x, y = digits
    in_float = trained.score(x[1500:], y[1500:])
    report = trained.optimize(prune=0.5, epochs=2, max_drop=0.05, verbose=False)
    assert report.after.predicted_cycles < 0.8 * report.before.predicted_cycles, str(report)
    assert report.after.weight_bytes < report.before.weight_bytes
    assert report.after.int8_accuracy >= report.before.int8_accuracy - 0.05 and in_float > 0.75
    assert "cycles, predicted" in str(report) and "channels to" in str(report)
    model = trained.deploy(file=tmp_path / "net.lepton")
    assert model is trained.model and (tmp_path / "net.lepton").stat().st_size > 0
    cloud = LeptonCloud(tmp_path / "store", spool=tmp_path / "spool.db")
    trained.cloud_integrate(cloud)
    count = 40
    made = trained.decision_function(x[-count:])
    assert (made.argmax(1) == trained.predict(x[-count:])).all()
    assert "80 results of run" in trained.close()
    stored = list(read(Store(tmp_path / "store"), load_keyring()))
    assert {header.origin["model"] for header, _ in stored} == {"digits-features"}
    assert sum(len(records) for _, records in stored) == 2 * count
    trained.module.eval()
    with torch.no_grad():
        real = trained.module(torch.from_numpy(x[-count:])).numpy()
    assert (made.argmax(1) == real.argmax(1)).mean() >= 0.9


def test_quantization_aware_training(digits):
    x, y = digits
    made = network().compile(LeptonChip("golden", "tiny"))
    made.fit(x[:600], y[:600], epochs=2, verbose=False)
    made.fit(x[:600], y[:600], epochs=1, quantization_aware=True, verbose=False)
    report = made.optimize(verbose=False)
    assert "quantization-aware training has fixed the layers" in report.notes[0]
    assert report.before == report.after and abs(report.after.int8_accuracy - report.after.accuracy) <= 0.07
    made.deploy()
    assert made.score(x[1500:1600], y[1500:1600]) > 0.4


def test_steps_in_the_wrong_order(digits):
    made = network()
    x, y = digits
    for call, text in ((lambda: made.fit(x, y), "fit: say first how to train"),
                       (lambda: made.optimize(), "there is no chip yet"),
                       (lambda: made.deploy(), "there is no chip yet"),
                       (lambda: made.cloud_integrate("build"), "the network is not deployed yet")):
        with pytest.raises(ToolkitError, match=text):
            call()
    made.compile(LeptonChip("golden", "tiny"))
    for call, text in ((lambda: made.optimize(), "train the network first"),
                       (lambda: made.deploy(), "train the network first"),
                       (lambda: made.quantize(), "give calibration data")):
        with pytest.raises(ToolkitError, match=text):
            call()
    for arguments, text in ((("golden",), "needs a LeptonChip, not str"),
                            ((LeptonChip("golden"), "adam", "hinge"), "loss must be one of"),
                            ((LeptonChip("golden"), "adagrad"), "optimizer must be one of adam")):
        with pytest.raises(DataError, match=text):
            made.compile(*arguments)
    with pytest.raises(LayerError, match="needs one output for each class, and two at least, not 3x8x8"):
        LeptonToolkit().load_pretrained_model("digits-features").compile(LeptonChip("golden"))


def test_channels_that_do_nothing_are_pruned_without_a_change():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 1),
                           nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 3)).eval()
    with torch.no_grad():
        for layer, dead in ((module[0], (1, 4, 5, 7)), (module[4], (0, 1, 2, 6))):
            layer.weight[list(dead)] = 0
            layer.bias[list(dead)] = 0
    smaller, notes = pruned(module, 0.5, 4)
    assert notes == ["layer 0: 8 channels to 4", "layer 4: 8 channels to 4"]
    x = torch.randn(3, 2, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(smaller.eval()(x), module(x))
    assert smaller[7].in_features == 36 and module[7].in_features == 72
    assert pruned(module, 0.2, 8)[1] == []


def test_the_card_is_that_of_the_file(tmp_path, monkeypatch):
    card = zoo.card("digits-features")
    assert zoo.module(card)(torch.zeros(1, *card.input_shape)).shape[1:] == card.output_shape
    assert 0.9 < card.figures["accuracy_of_a_linear_classifier"] < 1
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    (tmp_path / "digits-features.npz").write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the file that the card 'digits-features' describes"):
        zoo.module(card)


def test_the_script_makes_the_weights_again():
    """To the last bits: sums may have another order on other processors."""
    backbone, accuracy = train_digits_features.train()
    card = zoo.card("digits-features")
    assert accuracy == pytest.approx(card.figures["accuracy_of_a_linear_classifier"], abs=0.02)
    shipped = zoo.module(card).state_dict()
    for key, value in backbone.state_dict().items():
        assert (value - shipped[key]).abs().max() < 0.1, key


def test_a_device_that_is_given_stays_open():
    with lepton.device.open("golden", config="tiny") as device:
        chip = LeptonChip(device)
        assert chip.config.name == "tiny" and chip.device is device and "GoldenDevice" in str(chip)
        chip.close()
        assert device.memory_bytes
    with LeptonChip("golden", "small") as chip:
        assert chip.device.config.name == "small"
    with pytest.raises(Exception, match="config must be one of tiny"):
        LeptonChip(config="enormous")


def test_a_module_of_ones_own(digits):
    x, y = digits
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    made = LeptonToolkit().from_module(module, (1, 8, 8))
    assert made.output_shape == (4, 6, 6) and made.name == "Sequential"
    made.add_dense_layer(None, 10).compile(LeptonChip("golden", "tiny"))
    made.fit(x[:200], y[:200], epochs=1, verbose=False)
    made.deploy()
    assert made.decision_function(x[:3]).shape == (3, 10)
    with pytest.raises(LayerError, match=r"the module does not take an input of \(1, 2, 8, 8\)"):
        LeptonToolkit().from_module(module, (2, 8, 8))


def test_a_small_network_learns_from_a_teacher(trained, digits):
    x = digits[0]
    wrong = np.random.default_rng(0).integers(0, 10, 200)  # labels that teach nothing: what is learned is the teacher's
    student = network().compile(LeptonChip("golden", "tiny"))
    student.fit(x[:200], wrong, epochs=12, teacher=trained, teacher_share=1.0, verbose=False)
    agreed = (student.predict(x[900:1100]) == trained.module(torch.from_numpy(x[900:1100])).argmax(1).numpy()).mean()
    assert agreed > 0.6
    with pytest.raises(DataError, match="the teacher gives 3 outputs, but this network has 10; both must"):
        student.fit(x[:20], wrong[:20], teacher=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    with pytest.raises(DataError, match="teacher_share must be above 0 and at most 1, and temperature above 0, not 2"):
        student.fit(x[:20], wrong[:20], teacher=trained, teacher_share=2)


def test_widths_meet_a_target_of_cycles(digits):
    x, y = digits
    made = network().compile(LeptonChip("golden", "tiny"))
    made.fit(x[:300], y[:300], epochs=1, verbose=False)
    full = made.optimize(target_cycles=10**9)
    assert full.notes == [f"not pruned: {full.before.predicted_cycles} cycles are predicted already"]
    target = round(0.75 * full.before.predicted_cycles)
    report = made.optimize(target_cycles=target, epochs=2, verbose=False)
    assert report.after.predicted_cycles <= target and report.after.weight_bytes < report.before.weight_bytes
    assert any("channels to" in note for note in report.notes)
    left = made.optimize(target_cycles=1, verbose=False)
    assert "cycles is the least that narrower convolutions reach, not 1" in left.notes[0]
    assert left.after.predicted_cycles == report.after.predicted_cycles
    with pytest.raises(DataError, match="target_cycles must be at least 1, not 0"):
        made.optimize(target_cycles=0)
