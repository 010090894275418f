"""Networks for CTC: what a sample becomes depends on nothing but the sample, and the loss is torch's, summed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCTC, pipeline

from zoo.audio import alphabet as alphabets
from zoo.errors import ConfigError
from zoo.models import ctc

ALPHABET = alphabets.of_texts(["the quick fox"])
TINY: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [16, 16],
    "conv_kernel": [10, 4], "conv_stride": [5, 4], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
SOURCES: dict[str, Any] = {"small": {"name": "speech_encoder", "width": 16, "layers": 2, "kernel": 5, "mels": 20}} | {
    f"{family} {norm}": {"model_type": family, **TINY, **(STABLE if norm == "layer" else {})}
    for family in ctc.FAMILIES
    for norm in ("group", "layer")
}


def built(name: str, **settings: Any) -> tuple[ctc.Network, Any]:
    torch.manual_seed(0)
    source = ctc.find(SOURCES[name])
    load: dict[str, Any] = {"load": False, "dropout": 0.0, "freeze": "none", "masks": False, **settings}
    return source, source.build(ALPHABET, **load).eval()


def clips(source: ctc.Network) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [source.inputs(torch.randn(n, generator=draw).numpy()) for n in (4000, 1700, 9001, 100)]


def batch(features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=7.0), torch.tensor(
        [len(x) for x in features]
    )


@pytest.mark.parametrize("name", SOURCES)
def test_a_padded_sample_is_what_it_is_alone(name: str):
    """Whatever stands in the padding; group norms over time are those of the real frames."""
    source, network = built(name)
    features = clips(source)
    together, frames = source.logits(network, *batch(features), None)
    for i, clip in enumerate(features):
        alone, count = source.logits(network, *batch([clip]), None)
        assert count[0] == frames[i] == source.frames(len(clip)) == alone.shape[1]
        assert torch.allclose(together[i, : frames[i]], alone[0], atol=2e-6)


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "small"])
def test_alone_it_is_what_plain_transformers_makes_of_it(name: str, tmp_path: Path):
    source, network = built(name)
    source.save(network, tmp_path, ALPHABET)
    plain = AutoModelForCTC.from_pretrained(tmp_path).eval()
    for clip in clips(source):
        ours, _ = source.logits(network, *batch([clip]), None)
        assert torch.allclose(ours, plain(clip[None]).logits, atol=2e-6)


def test_a_saved_network_is_a_pipeline(tmp_path: Path):
    source, network = built("wav2vec2 group")
    source.save(network, tmp_path, ALPHABET)
    clip = torch.randn(8000, generator=torch.Generator().manual_seed(1))
    said = pipeline("automatic-speech-recognition", str(tmp_path))(clip.numpy())["text"]
    logits, _ = source.logits(network, *batch([source.inputs(clip.numpy())]), None)
    assert said == ALPHABET.decode(ALPHABET.collapse(logits[0].argmax(-1).tolist()))
    assert ctc.find(str(tmp_path)).alphabet() == ALPHABET


def test_a_saved_small_network_is_loaded_again(tmp_path: Path):
    source, network = built("small")
    source.save(network, tmp_path, ALPHABET)
    again, alphabet, loaded = ctc.load_small(tmp_path)
    assert alphabet == ALPHABET
    features = batch(clips(source))
    assert torch.equal(again.logits(loaded, *features, None)[0], source.logits(network, *features, None)[0])


@pytest.mark.parametrize("name", SOURCES)
def test_a_described_network_is_built_again(name: str):
    source, network = built(name)
    again = ctc.restore(source.describe())
    other = again.build(ALPHABET, load=False, dropout=0.0, freeze="none", masks=False)
    other.load_state_dict(network.state_dict())
    assert again.inputs == source.inputs


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "small"])
def test_networks_draw_no_masks_of_their_own_and_leave_out_no_layer(name: str):
    source, network = built(name, masks=True)
    network.train()
    features = batch(clips(source))
    assert torch.equal(source.logits(network, *features, None)[0], source.logits(network, *features, None)[0])


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "small"])
def test_frames_are_masked_sample_by_sample(name: str):
    source, network = built(name, masks=True)
    features, length = batch(clips(source)[:2])
    plain, frames = source.logits(network, features, length, None)
    masked = torch.zeros(2, int(frames.max()), dtype=torch.bool)
    masked[1, 3:6] = True
    made, _ = source.logits(network, features, length, masked)
    assert torch.allclose(made[0], plain[0], atol=2e-6)
    assert not torch.allclose(made[1, : frames[1]], plain[1, : frames[1]], atol=1e-3)


@pytest.mark.parametrize("freeze", ["feature_encoder", "encoder", "none"])
def test_what_is_frozen_of_pretrained_weights(freeze: ctc.Freeze, tmp_path: Path):
    source, network = built("hubert group")
    source.save(network, tmp_path, ALPHABET)
    loaded = ctc.find(str(tmp_path)).build(ALPHABET, load=True, dropout=0.0, freeze=freeze, masks=False)
    trained = {name.split(".")[0 if name.startswith("lm_head") else 1] for name, p in loaded.named_parameters()
               if p.requires_grad}  # fmt: skip
    assert ("feature_extractor" in trained) == (freeze == "none")
    assert ("encoder" in trained) == (freeze != "encoder")
    assert "lm_head" in trained


def test_another_alphabet_gets_a_new_head_even_if_it_has_as_many_letters(tmp_path: Path):
    source, network = built("wav2vec2 layer")
    source.save(network, tmp_path, ALPHABET)
    again = ctc.find(str(tmp_path))
    other = alphabets.of_texts(["THE QUICK FOX"])
    settings: dict[str, Any] = {"load": True, "dropout": 0.0, "freeze": "none", "masks": False}
    assert torch.equal(again.build(ALPHABET, **settings).lm_head.weight, network.lm_head.weight)
    assert not torch.equal(ctc.find(str(tmp_path)).build(other, **settings).lm_head.weight, network.lm_head.weight)


def test_the_loss_is_torchs_summed_over_samples_with_the_count_of_letters():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 20, 6, generator=draw, requires_grad=True)
    frames, lengths = torch.tensor([20, 9, 15]), torch.tensor([5, 3, 0])
    targets = torch.tensor([[1, 2, 3, 3, 5], [4, 4, 2, 99, 99], [99] * 5])
    total, count = ctc.summed_loss(logits, frames, targets, lengths, blank=0)
    alone = [
        F.ctc_loss(logits[i, : frames[i]].log_softmax(-1), targets[i, : lengths[i]], frames[i], lengths[i],
                   reduction="sum")
        for i in range(3)
    ]  # fmt: skip
    assert torch.allclose(total, torch.stack(alone).sum())
    assert count == 5 + 3 + 1


def test_a_sample_without_a_path_has_no_loss_no_gradient_and_no_targets():
    """Four letters, two of them the same, need five frames."""
    logits = torch.randn(2, 5, 4, requires_grad=True)
    targets, lengths = torch.tensor([[1, 2, 2, 3], [1, 2, 3, 1]]), torch.tensor([4, 4])
    total, count = ctc.summed_loss(logits, torch.tensor([4, 4]), targets, lengths, blank=0)
    total.backward()
    assert count == 4
    assert not logits.grad[0].any()
    assert logits.grad[1].isfinite().all()
    assert logits.grad[1].any()
    assert ctc.summed_loss(logits, torch.tensor([5, 4]), targets, lengths, blank=0)[1] == 8


def test_the_loss_is_computed_in_32_bits():
    logits = (40 * torch.randn(1, 50, 6, generator=torch.Generator().manual_seed(0))).to(torch.bfloat16)
    targets, lengths, frames = torch.tensor([[1, 2, 3]]), torch.tensor([3]), torch.tensor([50])
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = ctc.summed_loss(logits, frames, targets, lengths, blank=0)
    assert half.dtype == torch.float32
    assert torch.equal(half, ctc.summed_loss(logits.float(), frames, targets, lengths, blank=0)[0])


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ({"name": "speech_encoder", "kernel": 4}, "odd"),
        ({"name": "speech_encoder", "widht": 4}, "widht"),
        ({"name": "other"}, "speech_encoder"),
        ({"model_type": "whisper"}, "SpeechSeq2Seq"),
        ({"model_type": "gpt2"}, "wav2vec2"),
    ],
)
def test_what_is_no_network_for_ctc_is_told_in_a_line(source: Any, part: str):
    with pytest.raises(ConfigError, match=part) as error:
        ctc.find(source)
    assert "\n" not in str(error.value)
