"""The reference network: the published size and cost, streaming equals offline, no look into the future, export."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from training.complexity import count_macs  # noqa: E402
from training.network import CHUNK, LOOKAHEAD  # noqa: E402
from training.presets import EXTRACTORS  # noqa: E402
from training.tasks import ExtractorTask  # noqa: E402
from training.tfgridnet import BINS, TFGridNet, attend, stft_matrices  # noqa: E402

SAMPLES = 120 * CHUNK  # more than two contexts of the attention, and no multiple of one


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return TFGridNet().eval()


@pytest.fixture(scope="module")
def scene(network):
    torch.manual_seed(1)
    with torch.no_grad():
        conditioning = network.conditioner(F.normalize(torch.rand(2, 256)))
    return torch.randn(2, 2, SAMPLES) * 0.1, conditioning


def stream(network, mixture, conditioning):
    """Chunk by chunk, with one more chunk of zeros; the pre-roll of 64 samples is cut off."""
    state, outputs = network.initial_state(len(mixture)), []
    for chunk in F.pad(mixture, (0, CHUNK)).split(CHUNK, -1):
        output, state = network.step(chunk, conditioning, state)
        outputs.append(output)
    return torch.cat(outputs, -1)[..., LOOKAHEAD : LOOKAHEAD + mixture.shape[-1]]


def test_parameters_are_as_published(network):
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(2.04e6, rel=0.02)
    assert sum(p.numel() for p in network.conditioner.parameters()) == pytest.approx(1.61e6, rel=0.01)


def test_multiply_accumulates_are_as_published(network, scene):
    found = count_macs(network.step, scene[0][:1, :, :CHUNK], scene[1][:1], network.initial_state(1))
    assert found == pytest.approx(37.2e6, rel=0.1)
    # By hand: LSTMs as gates x (input + hidden) x hidden, both directions of the full-band one.
    linear = BINS * (2 * 64 * 64 + 64 * 64 + 2 * 64 * 24 + 2 * 64 * 64)
    block = BINS * 3 * 4 * (64 + 64) * 64 + linear + 4 * 50 * BINS * (6 + 16)
    assert found == 3 * block + 2 * BINS * 9 * 4 * 64 + 2 * 2 * 192 * 2 * BINS


def test_state_is_as_large_as_published(network):
    state = network.initial_state(1)
    assert sum(s.numel() * s.element_size() for s in state.values()) == pytest.approx(5.2e6, rel=0.02)
    # The published 15 leave out the 64 samples of input that the frames share, and the level is our own.
    assert len(state) == 15 + 2
    assert not any(s.any() for s in state.values())


@torch.no_grad()
def test_streaming_equals_offline(network, scene):
    torch.testing.assert_close(stream(network, *scene), network(*scene), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("run", [TFGridNet.__call__, stream], ids=["offline", "streaming"])
@pytest.mark.parametrize("changed", [5 * CHUNK, 5 * CHUNK + 77, 6 * CHUNK - 1])
def test_latency_is_at_most_192_samples_and_the_past_is_untouched(network, scene, changed, run):
    mixture, conditioning = scene[0][:1, :, : 12 * CHUNK], scene[1][:1]
    other = mixture.clone()
    other[..., changed] += 1.0
    moved = (run(network, mixture, conditioning) - run(network, other, conditioning)).abs().amax((0, 1))
    first = int(torch.nonzero(moved > 1e-6)[0])
    assert changed - (CHUNK + LOOKAHEAD) < first <= changed
    # The chunk that holds the change completes at its end: everything earlier than its lookahead is already played.
    assert first >= changed // CHUNK * CHUNK - LOOKAHEAD


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7, 50, 133])
def test_attention_sees_fifty_frames(frames):
    torch.manual_seed(2)
    query, key, value = (torch.randn(1, 2, *shape) for shape in ((frames, 3), (49 + frames, 3), (49 + frames, 5)))
    found = attend(query, key, value)
    for t in range(frames):
        weights = (query[:, :, t, None] @ key[:, :, t : t + 50].transpose(2, 3) / 3**0.5).softmax(-1)
        torch.testing.assert_close(found[:, :, t], (weights @ value[:, :, t : t + 50])[:, :, 0])


@torch.no_grad()
def test_speaker_and_batch(network, scene):
    mixture, conditioning = scene[0][..., : 8 * CHUNK], scene[1]
    both = network(mixture, conditioning)
    torch.testing.assert_close(both[:1], network(mixture[:1], conditioning[:1]), atol=1e-5, rtol=0)
    assert (both - network(mixture, conditioning.flip(0))).abs().max() > 1e-2


def test_analysis_and_synthesis_reconstruct():
    forward, inverse = stft_matrices()
    signal = torch.randn(30 * CHUNK)
    segments = F.pad(signal, (LOOKAHEAD, CHUNK)).unfold(0, CHUNK + LOOKAHEAD, CHUNK) @ forward @ inverse
    body = segments[:, :CHUNK].clone()
    body[1:, :LOOKAHEAD] += segments[:-1, CHUNK:]
    torch.testing.assert_close(body.flatten()[LOOKAHEAD : LOOKAHEAD + len(signal)], signal, atol=1e-5, rtol=0)


def test_every_weight_is_trained(scene):
    torch.manual_seed(0)
    network = TFGridNet()
    mixture, target = scene[0][..., : 60 * CHUNK], torch.rand(2, 2, 60 * CHUNK)
    batch = [mixture, target, F.normalize(torch.rand(2, 256)), target[:, None], torch.zeros(2)]
    ExtractorTask(network, EXTRACTORS["paper"]).loss(batch).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_exports_as_any_extractor(network, tmp_path):
    pytest.importorskip("onnx")
    from export.to_onnx import export_extractor
    from export.verify import verify_extractor

    path, _ = export_extractor(network, "paper", "space-1", tmp_path)
    assert all(difference <= 1e-4 for difference in verify_extractor(network, path, chunks=60).values())
